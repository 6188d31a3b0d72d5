// Owns `sluice check-config`: prints the configuration in force, and checks it against the servers.

import Apply
import Decode
import Kafka
import Postgres
import Records
import Settings
import SluiceTables
import Telemetry

enum CheckConfigCommand {
    /// Prints the configuration in force. With `connects`, checks the servers and logs each check that fails.
    /// - Throws: `CommandError` where a check failed.
    static func run(_ configuration: Configuration, connects: Bool, logger: Logger) async throws {
        if configuration.files.path == nil { print("# \(Configuration.missingFile)") }
        print(configuration.effective.yaml, terminator: "")
        logger.warn(of: configuration.settings.kafka)
        logger.warn(of: configuration.settings.http)
        guard connects else { return }
        var failed: [String] = []
        do {
            print("# Kafka: \(try await kafka(configuration))")
        } catch {
            logger.error("The check of Kafka failed.", ["error": "\(error)"])
            failed.append("Kafka")
        }
        do {
            print("# PostgreSQL: \(try await postgres(configuration, logger))")
        } catch {
            logger.error("The check of PostgreSQL failed.", ["error": "\(error)"])
            failed.append("PostgreSQL")
        }
        guard failed.isEmpty else { throw CommandError("failed checks: \(failed.joined(separator: ", "))") }
    }

    private static func kafka(_ configuration: Configuration) async throws -> String {
        let kafka = configuration.settings.kafka
        let metadata = try KafkaMetadata.start(kafka.client { _, _ in }, groupID: kafka.groupID)
        let topics = try await metadata.topics(configuration.mapping.topics, timeout: .seconds(5))
        var partitions: [TopicPartition] = []
        let sentences = try configuration.mapping.topics.map { name in
            guard let answer = topics[name] else { throw CommandError("Kafka does not mention the topic \(name)") }
            let count = try answer.get()
            partitions += (0..<count).map { TopicPartition(name, Int32($0)) }
            return "topic \(name) has \(count) partitions"
        }
        _ = try configuration.settings.memoryBudget.prefetchShare(partitions: partitions.count, properties: kafka.properties)
        if let trouble = try await metadata.leaderTrouble(of: partitions, timeout: .seconds(5)) {
            throw CommandError(trouble.sentence)
        }
        return sentences.joined(separator: ", ")
    }

    private static func postgres(_ configuration: Configuration, _ logger: Logger) async throws -> String {
        let settings = configuration.settings
        let pending = try await Schema.pending(settings.postgres, logger: logger)
        let connection = try await PostgresConnection.connect(settings.postgres.connection(name: "sluice check-config"))
        let shape = configuration.mapping.table
        let plan: WritePlan
        do {
            plan = try await connection.performLast { try WritePlan.checked(shape, on: $0) }
        } catch  where !pending.isEmpty {
            return "pending migrations: \(pending.joined(separator: ", "))"
        }
        logger.warn(of: plan)
        let state = pending.isEmpty ? "schema up to date" : "pending migrations: \(pending.joined(separator: ", "))"
        let reasons = plan.choice.reasons.isEmpty ? "" : " (\(plan.choice.reasons.joined(separator: "; ")))"
        return "\(state); table \(shape.name) is written by \(plan.choice.strategy.rawValue)\(reasons)"
    }
}
