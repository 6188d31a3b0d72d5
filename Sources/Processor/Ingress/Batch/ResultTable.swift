// Owns the one-byte codes of a batch's results, and the text of each.

import Decode
import HTTPServer
import Kafka

/// The result of an event in one byte, and the text of each code. Immutable.
final class ResultTable: Sendable {
    /// Not known yet.
    static let pending: UInt8 = 0
    static let sent: UInt8 = 1
    /// The problem of all events of a batch from the first refused one on.
    static let refused: UInt8 = 2
    /// A problem of this event alone, which ``BatchResults`` keeps.
    static let noted: UInt8 = 3
    static let tooLarge: UInt8 = 4
    static let impossible: UInt8 = 5
    static let uncertain: UInt8 = 6
    private static let firstKafka = 7
    private static let firstRefusal = firstKafka + KafkaError.Code.allCases.count
    private static let firstDecode = firstRefusal + KafkaError.refusals.count
    static let codes = firstDecode + DecodeReason.allCases.count

    /// The text of each code, with a comma before it; empty where the batch has its own.
    let texts: [[UInt8]]
    /// By code.
    private let problems: [ProblemDetails?]

    init() {
        problems =
            [nil, nil, nil, nil]
            + [
                ProblemDetails(status: 413, detail: "The event has more bytes than an event may have (http.max_event_bytes)."),
                ProblemDetails(status: 413, detail: "The event costs more than a rate limit ever allows."),
                KafkaAnswers.uncertain,
            ] + KafkaError.Code.allCases.map { KafkaAnswers.problem($0) }
            + KafkaError.refusals.map { KafkaAnswers.refused($0) }
            + DecodeReason.allCases.map {
                .invalidEvent(reason: $0.rawValue, detail: "The event does not match the mapping.")
            }
        var texts = problems.map { $0.map(Self.text) ?? [] }
        texts[Int(Self.sent)] = Array(#",{"status":200}"#.utf8)
        self.texts = texts
    }

    /// One result, with a comma before it.
    static func text(_ problem: ProblemDetails) -> [UInt8] { [UInt8(ascii: ",")] + problem.result.utf8 }

    static func tooLarge(_ eventBytes: Int) -> ProblemDetails {
        ProblemDetails(status: 413, detail: "An event may have at most \(eventBytes) bytes (http.max_event_bytes).")
    }

    /// The problem of a code; `nil`: the event was sent, or its batch keeps the problem.
    func problem(_ code: UInt8) -> ProblemDetails? { problems[Int(code)] }

    func code(of error: KafkaError) -> UInt8 {
        guard !error.mayBePersisted, let index = KafkaError.Code.allCases.firstIndex(of: error.code) else {
            return Self.uncertain
        }
        if error.code == .refused, let refusal = KafkaError.refusals.firstIndex(of: error.name) {
            return UInt8(Self.firstRefusal + refusal)
        }
        return UInt8(Self.firstKafka + index)
    }

    /// The code of a decoder's reason, for events whose own problem is not kept.
    func code(ofReason reason: String) -> UInt8 {
        UInt8(Self.firstDecode + (DecodeReason.allCases.firstIndex { $0.rawValue == reason } ?? 0))
    }
}
