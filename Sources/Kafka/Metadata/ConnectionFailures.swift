// Remembers why a client could not connect last: librdkafka says so in its log only.

internal import Platform
internal import Synchronization
internal import Telemetry

/// The last failed connection of a client. `rd_kafka_metadata` and its like only return "Broker transport failure", or time out.
final class ConnectionFailures: Sendable {
    /// librdkafka logs a failure that repeats every 30 seconds (`rd_kafka_broker_set_error`).
    private static let longestAge: UInt64 = 60_000_000_000
    /// Milliseconds in one state after which a connection that is closed was in use.
    private static let shortestUse = 5_000

    private let last = Mutex<(reason: String, at: UInt64)?>(nil)

    /// Passes log lines on and takes the reasons out of them.
    /// - Parameter logsCloses: false: connections that a broker closed are not passed on, as librdkafka does without `log.connection.close`.
    ///   That property also hides why a listener of another protocol closes them, so it is on for this client.
    func watching(_ log: @escaping LogHandler, logsCloses: Bool) -> LogHandler {
        { [self] level, line in
            if let reason = Self.reason(in: line) { last.withLock { $0 = (reason, MonotonicClock.nanoseconds()) } }
            if logsCloses || !Self.isClose(line) { log(level, line) }
        }
    }

    /// The error of a query that no broker answered, with the reason.
    func explain(_ error: KafkaError) -> KafkaError {
        guard error.code == .brokerUnreachable || error.code == .timedOut, let last = last.withLock({ $0 }),
            MonotonicClock.nanoseconds() - last.at < Self.longestAge
        else { return error }
        let message = error.message.replacing(TopicHandle.remedy, with: "")
        return KafkaError(
            code: error.code, kafkaCode: error.kafkaCode, message: "\(message); the last connection failed: \(last.reason)",
            isRetriable: error.isRetriable, mayBePersisted: error.mayBePersisted)
    }

    /// The broker and the reason in librdkafka's line `FAIL: [thrd:NAME]: BROKER: REASON (after 1ms in state …)`; `nil` in other lines.
    static func reason(in line: String) -> String? {
        let isFailure = line.hasPrefix("FAIL: ") || line.hasPrefix("ERROR: ")
        guard isFailure, !line.hasSuffix("brokers are down"), let name = line.firstRange(of: "]: ") else { return nil }
        var reason = line[name.upperBound...]
        if let time = reason.ranges(of: " (after ").last {
            let age = Int(reason[time.upperBound...].prefix { $0.isASCII && $0.isNumber }) ?? 0
            // A connection that was in use: its broker has stopped, or it was idle. A listener of SASL closes others at once.
            if isClose(line), age >= shortestUse { return nil }
            reason = reason[..<time.lowerBound]
        }
        let hint = hints.first { hint in hint.texts.contains { reason.contains($0) } }
        return reason + (hint.map { ": \($0.means)" } ?? "")
    }

    /// Whether a line says that a broker closed a connection.
    private static func isClose(_ line: String) -> Bool {
        line.contains(": Disconnected") && !line.contains("failed: Disconnected")
    }

    /// What the texts of OpenSSL and of the operating system usually mean here.
    private static let hints: [(texts: [String], means: String)] = [
        (
            ["alert bad certificate", "alert certificate required", "alert handshake failure"],
            "the broker asks for a client certificate; set ssl.certificate.location and ssl.key.location"
        ),
        (
            ["alert certificate unknown", "alert certificate expired", "alert unknown ca"],
            "the broker refuses the client certificate; it may have expired, or its issuer is not in the broker's trust store"
        ),
        (
            ["unexpected eof while reading", "wrong version number", "PLAINTEXT broker listener"],
            "the listener may not be one of TLS; compare security.protocol"
        ),
        // Kafka closes a connection whose first bytes are not those of the listener's protocol.
        (
            ["Send failed: Broken pipe", "Connection reset by peer", "Disconnected: connection closed by peer"],
            "the broker closes the connection; compare security.protocol with that of the listener"
        ),
    ]
}
