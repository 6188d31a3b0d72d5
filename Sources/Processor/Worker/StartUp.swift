// The steps of the start that need a server: each retries while the server is unreachable, and fails for errors that a retry cannot mend.

import Kafka
import Postgres
import SluiceTables
import Telemetry

enum StartUp {
    /// Waits until Kafka answers for every topic, and for at least one of each expression. Returns the number of their partitions.
    /// - Parameters:
    ///   - waitsForTopics: a topic that does not exist is waited for, too.
    ///   - waiting: called with the reason of each wait.
    /// - Throws: `CommandError` where a topic does not exist or access to it is denied.
    static func topics(
        _ names: [String], _ metadata: KafkaMetadata, waitsForTopics: Bool, _ logger: Logger,
        waiting: (_ reason: String) -> Void = { _ in }
    ) async throws -> Int {
        var retry = RetryWait(logger)
        while true {
            do throws(KafkaError) {
                let topics = try await metadata.topics(names, timeout: .seconds(5))
                var partitions = 0
                for count in topics.values { partitions += try count.get() }
                return partitions
            } catch {
                let isMissing = waitsForTopics && error.code == .unknownTopic
                guard isMissing || error.isRetriable || error.code == .brokerUnreachable || error.code == .timedOut else {
                    throw CommandError("Kafka: \(error)")
                }
                waiting(error.description)
                try await retry.wait(
                    isMissing ? "Topic does not exist; waiting for it." : RetryWait.unavailable, "Kafka", error.description)
            }
        }
    }

    /// Waits for PostgreSQL and applies pending migrations, or checks that none is pending.
    /// - Throws: `CommandError` where a migration is missing or fails, or the server refuses the connection.
    static func schema(_ settings: PostgresSettings, _ logger: Logger) async throws {
        var retry = RetryWait(logger)
        while true {
            do {
                if settings.migrate {
                    _ = try await Schema.migrate(settings, logger: logger)
                    return
                }
                let pending = try await Schema.pending(settings, logger: logger)
                guard pending.isEmpty else {
                    throw CommandError(
                        "pending migrations: \(pending.joined(separator: ", ")); postgres.migrate is false, so run: sluice migrate"
                    )
                }
                return
            } catch let error as PostgresError {
                // Wrong credentials are an outage later, when they may be rotated, but a mistake as long as they have never worked.
                if error.sqlState?.hasClass("28") == true {
                    throw CommandError("PostgreSQL: \(error); correct postgres.uri or the server's pg_hba.conf, then start again")
                }
                guard error.isRetriable else { throw CommandError("PostgreSQL: \(error)") }
                try await retry.wait(RetryWait.unavailable, "PostgreSQL", error.description)
            } catch let error as MigrationError {
                guard error.isRetriable else { throw CommandError(error.description) }
                try await retry.wait(RetryWait.unavailable, "PostgreSQL", error.description)
            }
        }
    }

    /// Waits between attempts, longer each time up to five seconds, and logs each wait.
    private struct RetryWait {
        static let unavailable: StaticString = "Server not available; retrying."

        private let logger: Logger
        private var seconds = 0.25

        init(_ logger: Logger) { self.logger = logger }

        mutating func wait(_ sentence: StaticString, _ server: String, _ reason: String) async throws {
            logger.warning(sentence, ["server": server, "message": reason, "retry_in_s": seconds])
            try await Task.sleep(for: .seconds(seconds))
            seconds = Swift.min(5, seconds * 2)
        }
    }
}
