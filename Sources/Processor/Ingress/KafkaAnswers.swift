// Owns the table of what POST /send answers to each error of Kafka.

import HTTPServer
import Kafka

/// The answers of `POST /send` to delivery reports. `docs/ingress.md` shows the table.
enum KafkaAnswers {
    static let sent = HTTPResponse.text(200, "Message sent!\n").prepared()

    /// For errors after which the broker may hold the record, whatever their code is.
    static let uncertain = ProblemDetails.unavailable(
        "The broker did not acknowledge the event in time. It may have been written all the same: sending it again may write "
            + "it twice.", possiblyPersisted: true)

    /// The answer to an event that was not acknowledged.
    static func problem(_ error: KafkaError) -> ProblemDetails {
        if error.mayBePersisted { return uncertain }
        return error.code == .refused ? refused(error.name) : problem(error.code)
    }

    /// The answer to an event that the broker will never take.
    /// - Parameter name: Kafka's name of the error.
    static func refused(_ name: String) -> ProblemDetails {
        .failed(name, "The broker refuses the event, and would refuse it again.")
    }

    /// 503 where trying again can help, 500 where it cannot, 413 for a record that is too large.
    static func problem(_ code: KafkaError.Code) -> ProblemDetails {
        switch code {
        case .queueFull: .unavailable("Too many events wait for the broker. Nothing was written.")
        case .brokerUnreachable: .unavailable("No Kafka broker can be reached. Nothing was written.")
        case .timedOut: .unavailable("The broker did not acknowledge the event in time. Nothing was written.")
        case .closed: .unavailable("The server is stopping. Nothing was written.")
        case .batchTooLarge:
            .unavailable("The broker refused the event together with others as too large. Nothing was written.")
        case .groupChanged, .fatal, .fenced, .other: .unavailable("Kafka did not take the event. Nothing was written.")
        case .refused: refused(code.rawValue)
        case .recordTooLarge:
            ProblemDetails(status: 413, detail: "The event is larger than the broker takes (message.max.bytes).")
        case .unknownTopic: .failed("unknown_topic", "The topic does not exist; create it or correct the mapping.")
        case .notAuthorized: .failed("not_authorized", "The server is not allowed to write to the topic; check its ACLs.")
        case .authentication: .failed("authentication", "Kafka refuses the server's credentials; check kafka.properties.")
        case .configuration, .offsetOutOfRange: .failed("configuration", "The server's Kafka settings are wrong.")
        }
    }
}
