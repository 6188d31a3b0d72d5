// Owns the table of what POST /send answers to each kind of Kafka trouble.

import HTTPServer
import Kafka

/// The answers of `POST /send`, made once.
struct KafkaAnswers: Sendable {
    let sent = HTTPResponse.text(200, "Message sent!\n").prepared()
    private let byCode: [KafkaError.Code: HTTPResponse]
    private let uncertain: HTTPResponse

    init() {
        var table: [KafkaError.Code: HTTPResponse] = [:]
        for code in KafkaError.Code.allCases { table[code] = Self.answer(to: code).prepared() }
        byCode = table
        uncertain = Self.unavailable(
            "The broker did not acknowledge the event in time. It may have been written all the same: sending it again may write "
                + "it twice.", mayBePersisted: true
        ).prepared()
    }

    /// The answer to a record that was not acknowledged.
    func answer(to error: KafkaError) -> HTTPResponse {
        error.mayBePersisted ? uncertain : byCode[error.code] ?? uncertain
    }

    /// 503 where a retry can help, 500 where it cannot, 413 for what is too large.
    private static func answer(to code: KafkaError.Code) -> HTTPResponse {
        switch code {
        case .queueFull: unavailable("Too many events wait for the broker. Nothing was written.")
        case .brokerUnreachable: unavailable("No Kafka broker can be reached. Nothing was written.")
        case .timedOut: unavailable("The broker did not acknowledge the event in time. Nothing was written.")
        case .closed: unavailable("The server is stopping. Nothing was written.")
        case .groupChanged, .fatal, .fenced, .other: unavailable("Kafka did not take the event. Nothing was written.")
        case .recordTooLarge:
            .problem(status: 413, title: "Content Too Large", detail: "The event is larger than the broker takes.")
        case .unknownTopic: failed("unknown_topic", "The topic does not exist; create it or correct the mapping.")
        case .notAuthorized: failed("not_authorized", "The server is not allowed to write to the topic.")
        case .authentication: failed("authentication", "Kafka refuses the server's credentials.")
        case .configuration, .offsetOutOfRange: failed("configuration", "The server's Kafka settings are wrong.")
        }
    }

    /// 503: a retry can help. Whether it could write the event twice is there for machines, too.
    static func unavailable(_ detail: String, mayBePersisted: Bool = false) -> HTTPResponse {
        .problem(
            status: 503, title: "Service Unavailable", detail: detail, extra: [persisted(mayBePersisted)],
            headers: [("Retry-After", "1")])
    }

    private static func persisted(_ isPossible: Bool) -> JSONValue.Member { .init("possibly_persisted", .bool(isPossible)) }

    private static func failed(_ code: String, _ detail: String) -> HTTPResponse {
        .problem(
            status: 500, title: "Internal Server Error", detail: detail, extra: [.init("code", .string(code)), persisted(false)])
    }
}
