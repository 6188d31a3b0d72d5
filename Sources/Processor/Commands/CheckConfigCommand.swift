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
        let topics = try await metadata.topics(configuration.topics, timeout: .seconds(5))
        var partitions: [TopicPartition] = []
        var (faults, sentences): ([String], [String]) = ([], [])
        for (name, answer) in topics.sorted(by: { $0.key < $1.key }) {
            do throws(KafkaError) {
                let count = try answer.get()
                partitions += (0..<count).map { TopicPartition(name, Int32($0)) }
                sentences.append("topic \(name) has \(count) partitions")
                let conflict = configuration.routes.conflict(over: name, names: configuration.mappings.map(\.name))
                if let conflict { faults.append(conflict) }
            } catch {
                faults.append(error.description)
            }
        }
        if !faults.isEmpty { throw CommandError(faults.joined(separator: "; ")) }
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
        if !pending.isEmpty { return "pending migrations: \(pending.joined(separator: ", "))" }
        let shapes = configuration.mappings.map { ($0.table, configuration.otherTables(than: $0)) }
        // All tables before the first fault is thrown: an operator mends them together.
        let plans = try await connection.performLast { session in
            try shapes.map { shape, others in
                do {
                    return Result<WritePlan, CommandError>.success(
                        try WritePlan.checked(shape, apartFrom: others, on: session))
                } catch let error as ApplyError {
                    return .failure(CommandError(error.description))
                } catch let error as PostgresError where !error.isConnectionLost {
                    return .failure(CommandError("table \(shape.name): \(error)"))
                }
            }
        }
        var faults: [String] = []
        var sentences: [String] = []
        for ((shape, _), plan) in zip(shapes, plans) {
            do throws(CommandError) {
                let plan = try plan.get()
                logger.warn(of: plan)
                let reasons = plan.choice.reasons.isEmpty ? "" : " (\(plan.choice.reasons.joined(separator: "; ")))"
                sentences.append("table \(shape.name) is written by \(plan.choice.strategy.rawValue)\(reasons)")
            } catch {
                faults.append(error.description)
            }
        }
        if !faults.isEmpty { throw CommandError(faults.joined(separator: "; ")) }
        return "schema up to date; \(sentences.joined(separator: "; "))"
    }
}
