// The steps before work can begin: each waits for a server that is away, and fails for what only a person can mend.

import Kafka
import Postgres
import Telemetry

enum StartUp {
    /// Waits until Kafka knows every topic. Answers how many partitions they have together.
    /// - Throws: `CommandError` where a topic is missing or must not be read.
    static func topics(_ names: [String], _ metadata: KafkaMetadata, _ logger: Logger) async throws -> Int {
        var patience = Patience(logger)
        while true {
            do throws(KafkaError) {
                let topics = try await metadata.topics(names, timeout: .seconds(5))
                var partitions = 0
                for name in names {
                    switch topics[name] {
                    case .success(let count)?: partitions += count
                    case .failure(let error)?: throw error
                    case nil: throw KafkaError(.unknownTopic, "Kafka says nothing about the topic \(name)")
                    }
                }
                return partitions
            } catch {
                guard error.isRetriable || error.code == .brokerUnreachable || error.code == .timedOut else {
                    throw CommandError("Kafka: \(error)")
                }
                try await patience.wait("Kafka", error.description)
            }
        }
    }

    /// Waits for PostgreSQL and brings its schema up to date, or checks that it is.
    /// - Throws: `CommandError` where a migration is missing or wrong, or the server refuses us.
    static func schema(_ settings: PostgresSettings, _ logger: Logger) async throws {
        var patience = Patience(logger)
        while true {
            do {
                if settings.migrate {
                    _ = try await Schema.migrate(settings, logger: logger)
                    return
                }
                let pending = try await Schema.pending(settings, logger: logger)
                guard pending.isEmpty else {
                    throw CommandError(
                        "The database lacks \(pending.joined(separator: ", ")), and postgres.migrate is false. Run: sluice migrate"
                    )
                }
                return
            } catch let error as PostgresError {
                guard error.isRetriable else { throw CommandError("PostgreSQL: \(error)") }
                try await patience.wait("PostgreSQL", error.description)
            } catch let error as MigrationError {
                guard error.isRetriable else { throw CommandError(error.description) }
                try await patience.wait("PostgreSQL", error.description)
            }
        }
    }

    /// Waits between tries, longer each time, and says so at each.
    private struct Patience {
        private let logger: Logger
        private var seconds = 0.25

        init(_ logger: Logger) { self.logger = logger }

        mutating func wait(_ server: String, _ reason: String) async throws {
            logger.warning("A server cannot be used yet.", ["server": server, "error": reason, "retry_in_s": seconds])
            try await Task.sleep(for: .seconds(seconds))
            seconds = Swift.min(5, seconds * 2)
        }
    }
}
