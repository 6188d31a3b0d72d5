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
        let checks: [(String, StaticString, @Sendable (Configuration, Logger) async throws -> String?)] = [
            ("Kafka", "The check of Kafka failed.", kafka), ("PostgreSQL", "The check of PostgreSQL failed.", postgres),
        ]
        for (name, failure, check) in checks {
            do {
                if let sentence = try await check(configuration, logger) {
                    print("# \(name): \(sentence)")
                } else {
                    failed.append(name)
                }
            } catch {
                logger.error(failure, ["message": "\(error)"])
                failed.append(name)
            }
        }
        guard failed.isEmpty else { throw CommandError("failed checks: \(failed.joined(separator: ", "))") }
    }

    /// A fault of one mapping, at its line.
    private static func report(_ mapping: Mapping, _ path: [String], _ sentence: String, _ logger: Logger) {
        logger.error(
            "A mapping does not fit the servers.",
            ["mapping": "\(mapping.file):\(mapping.line(of: path))", "message": sentence])
    }

    /// - Returns: what was found; `nil` where faults were logged.
    @Sendable private static func kafka(_ configuration: Configuration, _ logger: Logger) async throws -> String? {
        let kafka = configuration.settings.kafka
        let metadata = try KafkaMetadata.start(kafka.client { _, _ in }, groupID: kafka.groupID)
        let topics = try await metadata.topics(configuration.topics, suggests: true, timeout: .seconds(5)).sorted {
            $0.key < $1.key
        }
        let routes = configuration.routes
        var partitions: [TopicPartition] = []
        var sentences: [String] = []
        var isFaulty = false
        func fault(_ topic: String, _ mappings: [Mapping], _ sentence: String) {
            isFaulty = true
            for mapping in mappings { report(mapping, ["topics", topic], sentence, logger) }
        }
        for (name, answer) in topics {
            switch answer {
            case .success(let count):
                partitions += (0..<count).map { TopicPartition(name, Int32($0)) }
                sentences.append("topic \(name) has \(count) partitions")
            case .failure(let error):
                let naming = configuration.mappings.filter { $0.topics.contains(name) }
                // The others match it by an expression.
                fault(
                    name, naming.isEmpty ? routes.readers(of: name).map { configuration.mappings[$0] } : naming, error.description
                )
            }
            if let sentence = routes.conflict(over: name, names: configuration.mappings.map(\.name)) {
                fault(name, [configuration.mappings[routes.readers(of: name)[0]]], sentence)
            }
        }
        var troubles: [String] = []
        do {
            _ = try configuration.settings.memoryBudget.prefetchShare(partitions: partitions.count, properties: kafka.properties)
        } catch {
            troubles.append("\(error)")
        }
        if let trouble = try await metadata.leaderTrouble(of: partitions, timeout: .seconds(5)) {
            troubles.append(trouble.sentence)
        }
        if !troubles.isEmpty { throw CommandError(troubles.joined(separator: "; ")) }
        return isFaulty ? nil : sentences.joined(separator: ", ")
    }

    /// - Returns: what was found; `nil` where faults were logged.
    @Sendable private static func postgres(_ configuration: Configuration, _ logger: Logger) async throws -> String? {
        let settings = configuration.settings
        let pending = try await Schema.pending(settings.postgres, logger: logger)
        let state = pending.isEmpty ? "schema up to date" : "pending migrations: \(pending.joined(separator: ", "))"
        // What the user's own migrations are to make cannot be checked before.
        guard pending.allSatisfy(Schema.isOwn) else {
            return state + "; tables are checked once they are applied (sluice migrate)"
        }
        let connection = try await PostgresConnection.connect(settings.postgres.connection(name: "sluice check-config"))
        let shapes = configuration.mappings.map { ($0.table, configuration.otherTables(than: $0)) }
        // All tables before the first fault is thrown: an operator mends them together.
        let plans = try await connection.performLast { session in
            try shapes.map { shape, others -> Result<WritePlan, any Error> in
                do {
                    return .success(
                        try WritePlan.checked(shape, apartFrom: others, on: session, hasOwnTables: pending.isEmpty))
                } catch let error as ApplyError {
                    return .failure(error)
                } catch let error as PostgresError where !error.isConnectionLost {
                    return .failure(error)
                }
            }
        }
        var sentences: [String] = []
        var isFaulty = false
        for (mapping, plan) in zip(configuration.mappings, plans) {
            var faults: [TableFault] = []
            do {
                let plan = try plan.get()
                logger.warn(of: plan)
                let reasons = plan.choice.reasons.isEmpty ? "" : " (\(plan.choice.reasons.joined(separator: "; ")))"
                sentences.append("table \(plan.shape.name) is written by \(plan.choice.strategy.rawValue)\(reasons)")
            } catch let error as ApplyError {
                faults = error.faults.isEmpty ? [TableFault(["table"], error.description)] : error.faults
            } catch {
                faults = [TableFault(["table"], "\(error)")]
            }
            for fault in faults {
                isFaulty = true
                report(mapping, fault.path, "table \(mapping.tableName): \(fault.sentence)", logger)
            }
        }
        return isFaulty ? nil : ([state] + sentences).joined(separator: "; ")
    }
}
