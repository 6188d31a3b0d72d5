// The promise, tested: batches leave the table, the dead letters and the change capture that one event at a time would have left.

import Foundation
import Postgres
import Records
import SluiceTables
import Synchronization
import TestSupport
import Testing

@testable import Apply

extension ServerTests {
    @Suite struct OracleTests {
        @Test(arguments: OracleCase.all) func equalsOneAtATime(_ table: OracleCase) async throws {
            var random = SeededRandom.printed("oracle, \(table.name)")
            let database = try await TestDatabase.fresh(table.ddl())
            let real = database.connection
            let oracle = try await database.connect()
            let seed = random.next()
            _ = try await oracle.perform { session in
                try session.executeScript(
                    "SET synchronous_commit = off; CREATE SCHEMA oracle; SET search_path = oracle;" + table.ddl())
            }
            let plan = try await real.perform { session in
                try WritePlan(table.shape, schema: TableInspector.inspect(table.shape, on: session))
            }
            #expect(plan.choice.strategy == table.strategy, "\(plan.choice.reasons)")
            random = SeededRandom(seed: seed)
            var states: Set<String> = []
            let sequences = ProcessInfo.processInfo.environment["SLUICE_TEST_SEQUENCES"].flatMap { Int($0) } ?? 25
            var number = 0
            // A refusal that is rare may be in none of so few sequences.
            while number < sequences || (!states.isSuperset(of: table.refusals) && number < 8 * sequences) {
                var run = OracleRun(table: table, plan: plan, seed: random.next())
                states.formUnion(try await run.compare(real, oracle, label: "seed \(seed), sequence \(number)"))
                number += 1
            }
            #expect(states.isSuperset(of: table.refusals), "the events were too tame: \(states)")
            await real.close()
            await oracle.close()
        }

        /// 60 mappings, nine sequences of events each.
        @Test func mappingsMadeAtRandomEqualOneAtATime() async throws {
            var random = SeededRandom.printed("oracle, random mappings")
            let database = try await TestDatabase.fresh("")
            let real = database.connection
            let oracle = try await database.connect()
            var (strategies, forms): ([WriteStrategy: Int], Set<OracleDocument.Form>) = ([:], [])
            for number in 0..<60 {
                let seed = random.next()
                var own = SeededRandom(seed: seed)
                let table = try OracleCase.random(number, &own)
                let ddl = try table.ddl()
                for (connection, schema) in [(real, "public"), (oracle, "oracle")] {
                    try await connection.perform { session in
                        _ = try session.executeScript(
                            """
                            SET synchronous_commit = off; CREATE SCHEMA IF NOT EXISTS \(schema); SET search_path = \(schema); \(ddl)
                            """)
                    }
                }
                let plan = try await real.perform { session in
                    try WritePlan(table.shape, schema: TableInspector.inspect(table.shape, on: session))
                }
                strategies[plan.choice.strategy, default: 0] += 1
                if let document = table.document { forms.insert(document.form) }
                for sequence in 0..<9 {
                    var run = OracleRun(table: table, plan: plan, seed: own.next())
                    let label = "mapping \(number) of seed \(seed), sequence \(sequence): \(ddl) \(table.shape)"
                    _ = try await run.compare(real, oracle, label: label)
                }
            }
            #expect(WriteStrategy.allCases.allSatisfy { strategies[$0, default: 0] > 0 }, "\(strategies)")
            #expect(forms.count == OracleDocument.Form.allCases.count)
            await real.close()
            await oracle.close()
        }
    }
}

/// One random sequence: several partitions' logs, cut into batches at random, applied by both.
struct OracleRun {
    let table: OracleCase
    private(set) var writer: TableWriter
    private var random: SeededRandom
    private var nextOffsets: [TopicPartition: Int64] = [:]

    init(table: OracleCase, plan: WritePlan, seed: UInt64) {
        self.table = table
        random = SeededRandom(seed: seed)
        var configuration = ApplyConfiguration(group: "g", outcomes: try! OutcomeTable())
        var poison = PoisonLimits()
        poison.leastRecords = 1_000_000
        configuration.leastRoundRows = [2, 4, 64][Int(random.next() % 3)]
        configuration.bisection.suspectEvents = [1, 8, 128][Int(random.next() % 3)]
        writer = TableWriter(plan: plan, configuration: configuration, poison: PoisonGuard(poison))
        // Then it writes in pieces from the start.
        if random.chance(0.5) { writer.refusals.withLock { $0.committed(events: 1_000, refusals: 100) } }
    }

    private mutating func record(_ keys: Int, _ hot: Double) -> TestRecord {
        if random.chance(table.faults) { return random.chance(0.3) ? .nothing : .fault("missing_field") }
        let key = random.chance(hot) ? 0 : Int(random.next() % UInt64(keys))
        // What decodes in mode insert_only is Creates.
        var operation = table.shape.mode == .insertOnly ? .create : Operation.allCases[Int(random.next() % 4)]
        if let document = table.document { operation = document.stated(operation) }
        var values = table.values(key, &random)
        // A tombstone, and a Delete without data, have nothing but the key.
        if operation == .delete, random.chance(0.5) {
            for column in values.indices where !table.shape.key.contains(column) && column != table.shape.version?.column {
                values[column] = .absent
            }
        }
        return .event(operation, values)
    }

    /// Applies one sequence both ways; answers the states that were refused.
    mutating func compare(
        _ real: PostgresConnection, _ oracle: PostgresConnection, label: String
    ) async throws -> Set<String> {
        let reset = table.reset
        try await oracle.perform { _ = try $0.executeScript(reset) }
        try await real.perform {
            _ = try $0.executeScript(
                reset + "DELETE FROM sluice_offsets; DELETE FROM sluice_dead_letters; DELETE FROM sluice_tombstones;")
        }
        let sources = [TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)]
        var claims = try await real.perform { session in
            try OffsetStore(group: "g").claim(sources.map { ($0, 0) }, member: "m", on: session)
        }
        let keys = Int.random(in: 2...16, using: &random)
        let hot = [0, 0.2, 0.6][Int(random.next() % 3)]
        var expected: [String] = []
        var states: Set<String> = []
        var deleted: [String: Int] = [:]
        for _ in 0..<Int.random(in: 2...5, using: &random) {
            if !table.changes.isEmpty, random.chance(0.7) { try await change(real, oracle) }
            var batches: [ChangeBatch] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let source = sources[Int(random.next() % 3)]
                let start = nextOffsets[source, default: 0]
                let records = (0..<Int.random(in: 1...table.longestBatch, using: &random)).map { _ in record(keys, hot) }
                let batch =
                    table.document?.batch(source, from: start, records, &random)
                    ?? changeBatch(source, from: start, records, shape: table.shape)
                nextOffsets[source] = batch.records.nextOffset
                batches.append(batch)
                let shape = table.shape
                let before = deleted
                let hasLimits = table.hasLimits
                let (refusals, after) = try await oracle.perform { session in
                    var model = OneAtATime(shape: shape, session: session, deleted: before)
                    if hasLimits { try model.learnLimits() }
                    let refusals = try records.map { record -> String? in
                        switch record {
                        case .nothing: return nil
                        case .fault: return "decode:missing_field"
                        case .event(let operation, let values):
                            if hasLimits, operation != .delete, try model.isBeyondLimits(values) { return "decode:out_of_range" }
                            return try model.apply(operation, values)
                        }
                    }
                    return (refusals, model.deleted)
                }
                deleted = after
                for (index, refusal) in refusals.enumerated() {
                    guard let refusal else { continue }
                    states.insert(refusal)
                    expected.append("\(source) \(start + Int64(index) * 2) \(refusal)")
                }
            }
            try await apply(batches, &claims, real, label)
        }
        for query in table.queries {
            let left = try await rows(query, real)
            let right = try await rows(query, oracle)
            #expect(left == right, "\(label): \(query)")
        }
        let deadLetters = try await rows(
            """
            SELECT topic || '[' || partition || '] ' || "offset" || ' ' || coalesce(sqlstate, reason) FROM sluice_dead_letters
            """, real)
        #expect(deadLetters.sorted() == expected.sorted(), "\(label): dead letters")
        return states
    }

    /// Executes one of the changes on both, or on none: what is refused depends on rows that are the same.
    private mutating func change(_ real: PostgresConnection, _ oracle: PostgresConnection) async throws {
        let sql = table.changes[Int(random.next() % UInt64(table.changes.count))]
        for connection in [oracle, real] {
            do {
                try await connection.perform { _ = try $0.executeScript(sql) }
            } catch let error as PostgresError where connection === oracle && !error.isConnectionLost {
                return
            }
        }
    }

    /// Applies batches as the pipeline would: again after a retry, without waiting for all constraints, or for one after the other, and
    /// with another plan where the table has changed.
    private mutating func apply(
        _ batches: [ChangeBatch], _ claims: inout [PartitionClaim], _ real: PostgresConnection, _ label: String
    ) async throws {
        var transaction = try writer.prepare(batches, claims: claims)
        var final = random.chance(0.3) ? FinalConstraints.all : .none
        while true {
            let (writer, attempt, constraints) = (self.writer, transaction, final)
            let outcome = try await real.perform { writer.execute(attempt, on: $0, final: constraints, now: 0) }
            switch outcome {
            case .applied(let report):
                #expect(report.records == batches.reduce(0) { $0 + $1.records.count })
                for advance in transaction.advances {
                    claims = claims.map { claim in
                        claim.source == advance.source
                            ? PartitionClaim(source: claim.source, epoch: claim.epoch, nextOffset: advance.next) : claim
                    }
                }
                writer.recycle(transaction)
                return
            case .schemaChanged where !table.changes.isEmpty:
                let plan = try await real.perform { try WritePlan.checked(writer.plan.shape, on: $0) }
                self.writer = TableWriter(plan: plan, configuration: writer.configuration, poison: writer.poison)
                transaction = try self.writer.prepare(batches, claims: claims)
            case .retry(.constraint, let error), .retry(.stillReferenced, let error):
                guard case .named(let names) = final, names.count < 10 else { fallthrough }
                final = random.chance(0.5) ? .all : .named(names.union([error.constraint ?? ""]))
            default:
                Issue.record("\(label): \(outcome)")
                throw CancellationError()
            }
        }
    }

    private func rows(_ query: String, _ connection: PostgresConnection) async throws -> [String] {
        try await connection.perform { session in
            let result = try session.execute(query)
            return try (0..<result.rowCount).map { try result.text($0, 0) }
        }
    }
}
