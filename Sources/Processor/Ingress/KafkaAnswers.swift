// Owns the table of what POST /send answers to each kind of Kafka trouble.

import HTTPServer
import Kafka

/// The answers of `POST /send`, made once. `docs/ingress.md` shows the table.
struct KafkaAnswers: Sendable {
    let sent = HTTPResponse.text(200, "Message sent!\n").prepared()
    private let byCode: [KafkaError.Code: HTTPResponse]
    private let uncertain: HTTPResponse

    init() {
        var table: [KafkaError.Code: HTTPResponse] = [:]
        for code in KafkaError.Code.allCases { table[code] = Self.answer(to: code).response.prepared() }
        byCode = table
        uncertain = Self.uncertain.response.prepared()
    }

    /// The answer to a record that was not acknowledged.
    func answer(to error: KafkaError) -> HTTPResponse {
        error.mayBePersisted ? uncertain : byCode[error.code] ?? uncertain
    }

    /// The broker may have the record, whatever the error is.
    static let uncertain = EventAnswer.unavailable(
        "The broker did not acknowledge the event in time. It may have been written all the same: sending it again may write "
            + "it twice.", mayBePersisted: true)

    /// What one event among many is answered.
    static func eventAnswer(to error: KafkaError) -> EventAnswer { error.mayBePersisted ? uncertain : answer(to: error.code) }

    /// 503 where a retry can help, 500 where it cannot, 413 for what is too large.
    static func answer(to code: KafkaError.Code) -> EventAnswer {
        switch code {
        case .queueFull: .unavailable("Too many events wait for the broker. Nothing was written.")
        case .brokerUnreachable: .unavailable("No Kafka broker can be reached. Nothing was written.")
        case .timedOut: .unavailable("The broker did not acknowledge the event in time. Nothing was written.")
        case .closed: .unavailable("The server is stopping. Nothing was written.")
        case .groupChanged, .fatal, .fenced, .other: .unavailable("Kafka did not take the event. Nothing was written.")
        case .recordTooLarge: EventAnswer(status: 413, detail: "The event is larger than the broker takes.")
        case .unknownTopic: .failed("unknown_topic", "The topic does not exist; create it or correct the mapping.")
        case .notAuthorized: .failed("not_authorized", "The server is not allowed to write to the topic.")
        case .authentication: .failed("authentication", "Kafka refuses the server's credentials.")
        case .configuration, .offsetOutOfRange: .failed("configuration", "The server's Kafka settings are wrong.")
        }
    }

    /// 503: a retry can help.
    static func unavailable(_ detail: String, mayBePersisted: Bool = false) -> HTTPResponse {
        EventAnswer.unavailable(detail, mayBePersisted: mayBePersisted).response
    }
}
