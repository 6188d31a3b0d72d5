// Owns the one-byte codes of results, and how each is written.

import Decode
import HTTPServer
import Kafka

/// What became of an event, in one byte, and the text each code stands for. Immutable.
final class ResultTable: Sendable {
    /// Not known yet.
    static let pending: UInt8 = 0
    static let sent: UInt8 = 1
    /// The answer that one batch gives to all events from some point on.
    static let refused: UInt8 = 2
    /// An answer of this event alone, kept beside the codes.
    static let noted: UInt8 = 3
    static let tooLarge: UInt8 = 4
    static let impossible: UInt8 = 5
    static let uncertain: UInt8 = 6
    private static let firstKafka = 7
    private static let firstDecode = firstKafka + KafkaError.Code.allCases.count
    static let codes = firstDecode + DecodeReason.allCases.count

    /// One text a code, each with a comma before it; empty where the batch has its own.
    let texts: [[UInt8]]
    private let answers: [EventAnswer?]
    private let kafka: [KafkaError.Code: UInt8]
    private let reasons: [String: UInt8]

    init() {
        var answers = [EventAnswer?](repeating: nil, count: Self.codes)
        answers[Int(Self.tooLarge)] = EventAnswer(
            status: 413, detail: "The event has more bytes than an event may have (http.max_event_bytes).")
        answers[Int(Self.impossible)] = EventAnswer(status: 413, detail: "The event costs more than a limit ever allows.")
        answers[Int(Self.uncertain)] = KafkaAnswers.uncertain
        var kafka: [KafkaError.Code: UInt8] = [:]
        for (index, code) in KafkaError.Code.allCases.enumerated() {
            kafka[code] = UInt8(Self.firstKafka + index)
            answers[Self.firstKafka + index] = KafkaAnswers.answer(to: code)
        }
        var reasons: [String: UInt8] = [:]
        for (index, reason) in DecodeReason.allCases.enumerated() {
            reasons[reason.rawValue] = UInt8(Self.firstDecode + index)
            answers[Self.firstDecode + index] = .bad(
                reason: reason.rawValue, detail: "The event is not what the mapping asks for.")
        }
        var texts = answers.map { $0.map(Self.text) ?? [] }
        texts[Int(Self.sent)] = Array(#",{"status":200}"#.utf8)
        self.answers = answers
        self.texts = texts
        self.kafka = kafka
        self.reasons = reasons
    }

    /// One result, with a comma before it.
    static func text(_ answer: EventAnswer) -> [UInt8] { [UInt8(ascii: ",")] + answer.result.utf8 }

    static func tooLarge(_ eventBytes: Int) -> EventAnswer {
        EventAnswer(status: 413, detail: "An event may have at most \(eventBytes) bytes (http.max_event_bytes).")
    }

    /// The answer a code stands for; `nil`: the event was sent, or its batch has an answer of its own.
    func answer(_ code: UInt8) -> EventAnswer? { answers[Int(code)] }

    func code(of error: KafkaError) -> UInt8 {
        error.mayBePersisted ? Self.uncertain : kafka[error.code] ?? Self.uncertain
    }

    /// The code of a decoder's reason, for events whose own sentence is not kept.
    func code(ofReason reason: String) -> UInt8 { reasons[reason] ?? UInt8(Self.firstDecode) }
}
