// The steps of the start that need a server: each retries while the server is unreachable, and fails for errors that a retry cannot mend.

import Kafka
import Postgres
import SluiceTables
import Telemetry

enum StartUp {
    /// Waits until Kafka answers for the topics and one of them exists. An expression stands for the topics that match.
    /// - Parameters:
    ///   - needed: a topic that must exist before anything is done.
    ///   - waitsForTopics: a topic that does not exist is waited for, too.
    ///   - waiting: called with the reason of each wait.
    /// - Returns: the number of partitions of the topics that exist, and those that do not, with a sentence each.
    /// - Throws: `CommandError` where a topic does not exist and is not waited for, or access to one is denied.
    static func topics(
        _ names: [String], needed: String? = nil, _ metadata: KafkaMetadata, waitsForTopics: Bool, _ logger: Logger,
        waiting: (_ reason: String) -> Void = { _ in }
    ) async throws -> (partitions: Int, missing: [String: String]) {
        var retry = RetryWait(logger)
        while true {
            var (partitions, missing): (Int, [String: String]) = (0, [:])
            do throws(KafkaError) {
                for (name, answer) in try await metadata.topics(names, suggests: true, timeout: .seconds(5)) {
                    switch answer {
                    case .success(let count): partitions += count
                    case .failure(let error) where waitsForTopics && error.code == .unknownTopic:
                        missing[name] = error.description
                    case .failure(let error): throw error
                    }
                }
            } catch {
                guard error.isRetriable || error.code == .brokerUnreachable || error.code == .timedOut else {
                    throw CommandError("Kafka: \(error)")
                }
                waiting(error.description)
                try await retry.wait(RetryWait.unavailable, "Kafka", error.description)
                continue
            }
            let reasons = missing.values.sorted()
            if missing.isEmpty || (partitions > 0 && needed.map { missing[$0] == nil } != false) {
                for reason in reasons { logger.warning(RetryWait.missing, ["server": "Kafka", "message": reason]) }
                return (partitions, missing)
            }
            waiting(reasons.joined(separator: "; "))
            try await retry.wait(RetryWait.missing, "Kafka", reasons.joined(separator: "; "))
        }
    }

    /// Waits until topics exist.
    /// - Parameters:
    ///   - missing: those that do not, with a sentence each.
    ///   - update: called with those that are left, at first and after each answer.
    static func missingTopics(
        _ missing: [String: String], _ metadata: KafkaMetadata, every interval: Duration = .seconds(5),
        update: (_ missing: [String: String]) -> Void
    ) async throws {
        var missing = missing
        update(missing)
        while !missing.isEmpty {
            try await Task.sleep(for: interval)
            do throws(KafkaError) {
                let answers = try await metadata.topics(Array(missing.keys), timeout: .seconds(5))
                // What is not answered for is an expression that matches by now.
                missing = missing.reduce(into: [:]) { left, topic in
                    guard case .failure(let error)? = answers[topic.key] else { return }
                    left[topic.key] = error.code == .unknownTopic ? topic.value : error.description
                }
                update(missing)
            } catch {
                // Brokers that do not answer are told of elsewhere, and are asked again.
                continue
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
        static let missing: StaticString = "Topic does not exist; waiting for it."

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
