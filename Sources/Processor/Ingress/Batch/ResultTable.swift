// Owns the one-byte codes of a batch's results, and the text of each.

import Decode
import HTTPServer
import Kafka
import Platform

/// The result of an event in one byte, and the text of each code.
enum ResultTable {
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

    /// By code.
    private static let problems: [ProblemDetails?] =
        [nil, nil, nil, nil]
        + [
            ProblemDetails(status: 413, detail: "The event has more bytes than an event may have (http.max_event_bytes)."),
            ProblemDetails(status: 413, detail: "The event costs more than a rate limit ever allows."), KafkaAnswers.uncertain,
        ] + KafkaError.Code.allCases.map { KafkaAnswers.problem($0) } + KafkaError.refusals.map { KafkaAnswers.refused($0) }
        + DecodeReason.allCases.map { .invalidEvent(reason: $0.rawValue, detail: "The event does not match the mapping.") }
    /// The text of each code, with a comma before it; empty where the batch has its own.
    static let texts: [[UInt8]] = problems.enumerated().map { code, problem in
        code == Int(sent) ? Array(#",{"status":200}"#.utf8) : problem.map(text) ?? []
    }

    /// One result, with a comma before it.
    static func text(_ problem: ProblemDetails) -> [UInt8] { [UInt8(ascii: ",")] + problem.result.utf8 }

    static func tooLarge(_ eventBytes: Int) -> ProblemDetails {
        ProblemDetails(status: 413, detail: "An event may have at most \(eventBytes) bytes (http.max_event_bytes).")
    }

    /// The problem of a code; `nil`: the event was sent, or its batch keeps the problem.
    static func problem(_ code: UInt8) -> ProblemDetails? { problems[Int(code)] }

    static func code(of error: KafkaError) -> UInt8 {
        guard !error.mayBePersisted, let index = KafkaError.Code.allCases.firstIndex(of: error.code) else {
            return uncertain
        }
        if error.code == .refused, let refusal = KafkaError.refusals.firstIndex(of: error.name) {
            return UInt8(firstRefusal + refusal)
        }
        return UInt8(firstKafka + index)
    }

    /// The code of a decoder's reason, for events whose own problem is not kept.
    static func code(ofReason reason: String) -> UInt8 {
        UInt8(firstDecode + (DecodeReason.allCases.firstIndex { $0.rawValue == reason } ?? 0))
    }
}
