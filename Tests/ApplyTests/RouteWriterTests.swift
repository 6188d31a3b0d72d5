// Proves that a transaction of several tables does what one event at a time would have done, and whose fault a refused row is.

import Postgres
import Records
import SluiceTables
import Synchronization
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

private func shape(_ name: String, mode: WriteMode = .upsert) -> TableShape {
    TableShape(
        name: name, columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "name", type: .text)],
        key: mode == .append ? [] : [0], mode: mode)
}

private func event(_ operation: Operation, _ id: Int, _ name: String = "n") -> TestRecord {
    .event(operation, [.int(Int32(id)), .text(name)])
}

/// Three tables that are written by the three strategies, and a lane that writes them together.
private struct Route {
    static let shapes = [shape("plain"), shape("checked"), shape("unique_names")]
    static let ddl = """
        CREATE TABLE plain (id int PRIMARY KEY, name text);
        CREATE TABLE checked (id int PRIMARY KEY, name text CHECK (name <> 'bad'));
        CREATE TABLE unique_names (id int PRIMARY KEY, name text UNIQUE);
        """
    let database: TestDatabase
    let shapes: [TableShape]
    let writers: [TableWriter]
    let writer: RouteWriter
    let claims: [PartitionClaim]

    init(_ database: TestDatabase, _ shapes: [TableShape] = Self.shapes, poison: PoisonLimits = PoisonLimits()) async throws {
        var writers: [TableWriter] = []
        for shape in shapes {
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.mapping = "mapping of \(shape.name)"
            configuration.leastRoundRows = 4
            let made = try await database.writer(shape, configuration: configuration)
            writers.append(TableWriter(plan: made.plan, configuration: configuration, poison: PoisonGuard(poison)))
        }
        self.database = database
        self.shapes = shapes
        self.writers = writers
        writer = RouteWriter(writers, name: "route", poison: PoisonGuard(poison))
        claims = try await database.claim(p0, p1)
    }

    func batch(of source: TopicPartition = p0, from start: Int64 = 0, _ records: (Int?, TestRecord)...) -> ChangeBatch {
        routedBatch(source, from: start, records.map { (part: $0.0, record: $0.1) }, shapes: shapes)
    }

    func execute(_ batches: ChangeBatch..., now: Double = 0) async throws -> ApplyOutcome {
        let prepared = try writer.prepare(batches.map { BatchSlice($0) }, claims: claims)
        defer { writer.recycle(prepared) }
        return try await database.connection.perform { [writer] in writer.execute(prepared, on: $0, now: now) }
    }

    /// Writes batches as a lane does.
    /// - Returns: the answer, with the number of transactions.
    func apply(
        _ machine: inout LaneMachine, _ batches: [ChangeBatch], expected: [TopicPartition: Int64] = [:]
    ) async throws -> (result: ApplyResult, transactions: Int) {
        let parts = Dictionary(grouping: batches, by: \.records.source).sorted { $0.key < $1.key }.map { source, batches in
            PartitionBatches(
                source: source, generation: 1, epoch: claims.first { $0.source == source }?.epoch ?? 0,
                expected: expected[source] ?? 0, batches: batches)
        }
        var transactions = 0
        var action = machine.batchesArrived(parts, at: 1)
        while true {
            switch action {
            case .answer(let result): return (result, transactions)
            case .write(let slices, let claims, let final, let checksVersion):
                let prepared = try writer.prepare(slices, claims: claims)
                let outcome = try await database.connection.perform { [writer] in
                    writer.execute(prepared, on: $0, final: final, checksVersion: checksVersion, now: 0)
                }
                writer.recycle(prepared)
                transactions += 1
                action = machine.executed(outcome, of: prepared.advances, at: 1)
            case .settle, .inspect:
                Issue.record("\(action)")
                return (.applied(AppliedCounts()), transactions)
            }
        }
    }

    func rows(_ table: String) async throws -> [String] {
        try await database.rows("SELECT id || ' ' || name FROM \(table) ORDER BY id, name")
    }
}

private let deadLetters = """
    SELECT partition || ' ' || "offset" || ' ' || coalesce(sqlstate, reason) || ' ' || mapping || ' '
      || coalesce(table_name, 'none')
    FROM sluice_dead_letters ORDER BY partition, "offset"
    """

extension ServerTests {
    @Suite struct RouteWriterTests {
        @Test func theTablesAreWrittenInOneTransaction() async throws {
            let route = try await Route(try await TestDatabase.fresh(Route.ddl))
            #expect(route.writers.map(\.plan.strategy) == [.coalesce, .rounds, .sequential])
            let first = route.batch(
                (0, event(.upsert, 1)), (1, event(.upsert, 1, "x")), (2, event(.create, 1)), (0, event(.upsert, 1, "y")),
                (nil, .nothing), (1, .fault("missing_field")), (2, .nothing))
            let outcome = try await route.execute(first, route.batch(of: p1, (2, event(.create, 2, "b"))))
            let report = try #require(outcome.report, "\(outcome)")
            #expect(report.records == 8 && report.skipped == 1 && report.superseded == 1)
            #expect(report.deadLetters == ["decode:no_route": 1, "decode:missing_field": 1])
            #expect(report.parts.map(\.events) == [2, 1, 2] && report.parts.map(\.applied) == [1, 1, 2])
            #expect(report.applied == 4)
            #expect(try await route.rows("plain") == ["1 y"])
            #expect(try await route.rows("checked") == ["1 x"])
            #expect(try await route.rows("unique_names") == ["1 n", "2 b"])
            #expect(
                try await route.database.rows(deadLetters) == [
                    "0 8 decode:no_route route none", "0 10 decode:missing_field mapping of checked checked",
                ])
            #expect(
                try await route.database.rows("SELECT next_offset::text FROM sluice_offsets ORDER BY partition") == ["13", "1"])
        }

        @Test func whatIsOneMappingsIsItsOwnTransaction() async throws {
            let route = try await Route(try await TestDatabase.fresh(Route.ddl))
            // Skipped records change nothing of it, and a refused row is found by its own writer.
            let outcome = try await route.execute(
                route.batch((1, event(.upsert, 1)), (0, .nothing), (1, event(.upsert, 2, "bad")), (1, event(.upsert, 3))))
            let report = try #require(outcome.report, "\(outcome)")
            #expect(report.isReplayed && report.deadLetters == ["sql:check": 1] && report.skipped == 1 && report.records == 4)
            #expect(report.parts.map(\.applied) == [0, 2, 0] && report.parts.map(\.skipped) == [0, 0, 0])
            #expect(try await route.rows("checked") == ["1 n", "3 n"])
            #expect(try await route.database.rows(deadLetters) == ["0 4 23514 mapping of checked checked"])
            // All of it is skipped.
            var claims = route.claims
            claims[0].nextOffset = 7
            let prepared = try route.writer.prepare(
                [BatchSlice(route.batch(from: 8, (0, .nothing), (2, .nothing)))], claims: claims)
            let skipped = try await route.database.connection.perform { [writer = route.writer] in
                writer.execute(prepared, on: $0, now: 0)
            }
            #expect(skipped.report?.skipped == 2 && skipped.report?.records == 2, "\(skipped)")
        }

        @Test func aRefusedRowIsItsMappingsDeadLetter() async throws {
            let route = try await Route(try await TestDatabase.fresh(Route.ddl))
            let batch = route.batch(
                (0, event(.upsert, 1)), (1, event(.upsert, 1)), (1, event(.upsert, 2, "bad")), (2, event(.create, 1)),
                (0, event(.upsert, 2)), (nil, .nothing), (2, event(.create, 2)), (0, event(.delete, 1)))
            #expect(try await route.execute(batch).word == "refused")
            #expect(try await route.rows("plain") == [], "nothing was written")
            var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 0)
            let (result, transactions) = try await route.apply(&machine, [batch])
            guard case .applied(let counts) = result else { throw PostgresError(.server, "\(result)") }
            #expect(counts.applied == 5 && counts.deadLetters == ["sql:check": 1, "sql:unique": 1, "decode:no_route": 1])
            #expect(counts.parts.map(\.applied) == [3, 1, 1])
            #expect(transactions < 20, "\(transactions)")
            #expect(try await route.rows("plain") == ["2 n"])
            #expect(try await route.rows("checked") == ["1 n"])
            #expect(try await route.rows("unique_names") == ["1 n"])
            #expect(
                try await route.database.rows(deadLetters) == [
                    "0 4 23514 mapping of checked checked", "0 10 decode:no_route route none",
                    "0 12 23505 mapping of unique_names unique_names",
                ])
        }

        /// Also where a table saves locks, as after too few of them.
        @Test(arguments: [false, true]) func equalsOneAtATime(_ savesLocks: Bool) async throws {
            var random = SeededRandom.printed("route, \(savesLocks)")
            let database = try await TestDatabase.fresh(Route.ddl)
            let route = try await Route(database)
            if savesLocks {
                let backend = try await database.connection.perform { $0.backendPID }
                for writer in route.writers { writer.lockSaver.withLock { $0 = backend } }
            }
            let oracle = try await database.connect()
            _ = try await oracle.perform { session in
                try session.executeScript(
                    "SET synchronous_commit = off; CREATE SCHEMA oracle; SET search_path = oracle;" + Route.ddl)
            }
            var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 0)
            var next: [TopicPartition: Int64] = [:]
            var expected: [String] = []
            for round in 0..<40 {
                let before = next
                var batches: [ChangeBatch] = []
                // Partitions in the order in which a transaction has them.
                for source in [p0, p1] where random.chance(0.8) {
                    for _ in 0..<Int.random(in: 1...2, using: &random) {
                        let records = (0..<Int.random(in: 1...30, using: &random)).map { _ -> (part: Int?, record: TestRecord) in
                            if random.chance(0.03) { return (nil, .nothing) }
                            let part = Int(random.next() % 3)
                            if random.chance(0.03) { return (part, random.chance(0.5) ? .nothing : .fault("missing_field")) }
                            let operation = Operation.allCases[Int(random.next() % 4)]
                            let name = part == 1 && random.chance(round % 4 == 0 ? 0.1 : 0) ? "bad" : "n\(random.next() % 40)"
                            return (part, event(operation, Int(random.next() % 12), name))
                        }
                        let start = next[source, default: 0]
                        let batch = routedBatch(source, from: start, records, shapes: Route.shapes)
                        batches.append(batch)
                        next[source] = batch.records.nextOffset
                        expected += try await oracle.perform { session in
                            try records.enumerated().compactMap { index, routed -> String? in
                                let place = "\(source.partition) \(start + Int64(index) * 2)"
                                guard let part = routed.part else { return "\(place) decode:no_route route none" }
                                let shape = Route.shapes[part]
                                let names = "mapping of \(shape.name) \(shape.name)"
                                switch routed.record {
                                case .nothing: return nil
                                case .fault: return "\(place) decode:missing_field \(names)"
                                case .event(let operation, let values):
                                    var model = OneAtATime(shape: shape, session: session)
                                    let refusal = try model.apply(operation, values)
                                    return refusal.map { "\(place) \($0) \(names)" }
                                }
                            }
                        }
                    }
                }
                if batches.isEmpty { continue }
                let (result, _) = try await route.apply(&machine, batches, expected: before)
                guard case .applied(let counts) = result else { throw PostgresError(.server, "\(result)") }
                let records = batches.reduce(0) { $0 + $1.records.count }
                let dead = counts.deadLetters.values.reduce(0, +)
                #expect(counts.applied + counts.superseded + counts.skipped + dead == records, "each record is counted once")
                let routeFaults = counts.deadLetters["decode:no_route"] ?? 0
                #expect(counts.parts.reduce(0) { $0 + $1.applied + $1.superseded } == counts.applied + counts.superseded)
                #expect(counts.parts.reduce(0) { $0 + $1.deadLetters.values.reduce(0, +) } == dead - routeFaults)
            }
            for table in Route.shapes.map(\.name) {
                let query = "SELECT id || ' ' || coalesce(name, '-') FROM \(table) ORDER BY id"
                let wanted = try await oracle.perform { session in
                    let result = try session.execute(query)
                    return try (0..<result.rowCount).map { try result.text($0, 0) }
                }
                #expect(try await database.rows(query) == wanted, "\(table)")
            }
            #expect(try await database.rows(deadLetters).sorted() == expected.sorted())
            #expect(
                expected.contains { $0.contains("23514") } && expected.contains { $0.contains("23505") },
                "the events were too tame")
            await oracle.close()
        }

        /// Statements are in the order of the tables. Where that is not the log's, the halves are.
        @Test func aForeignKeyBetweenTheTables() async throws {
            let shapes = [shape("parents"), shape("children")]
            let route = try await Route(
                try await TestDatabase.fresh(
                    "CREATE TABLE parents (id int PRIMARY KEY, name text);"
                        + "CREATE TABLE children (id int PRIMARY KEY REFERENCES parents, name text);"), shapes)
            let made = route.batch((0, event(.create, 1)), (1, event(.create, 1)), (0, event(.create, 2)), (1, event(.create, 2)))
            #expect(try await route.execute(made).word == "applied")
            let removed = route.batch(from: 8, (1, event(.delete, 1)), (0, event(.delete, 1)), (1, event(.update, 2, "x")))
            var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 1_000_000_000)
            let (result, transactions) = try await route.apply(&machine, [removed], expected: [p0: 7])
            guard case .applied(let counts) = result else { throw PostgresError(.server, "\(result)") }
            #expect(counts.applied == 3 && counts.deadLetters.isEmpty && transactions == 3, "\(transactions)")
            #expect(try await route.rows("parents") == ["2 n"])
            #expect(try await route.rows("children") == ["2 x"])
            // An order without its account waits for it, and nothing before it does.
            let orphan = route.batch(from: 14, (0, event(.create, 3)), (1, event(.create, 9)), (0, event(.create, 4)))
            let (waiting, _) = try await route.apply(&machine, [orphan], expected: [p0: 13])
            guard case .appliedInPart(_, let partitions) = waiting else { throw PostgresError(.server, "\(waiting)") }
            #expect(partitions.map(\.source) == [p0])
            #expect(try await route.rows("parents") == ["2 n", "3 n"])
        }

        @Test func aChangeOfAnyOfTheTablesIsSeen() async throws {
            for table in ["plain", "unique_names"] {
                let route = try await Route(try await TestDatabase.fresh(Route.ddl))
                try await route.database.script("ALTER TABLE \(table) ADD COLUMN later int DEFAULT 7 CHECK (later > 0)")
                let batch = route.batch((0, event(.upsert, 1)), (1, event(.upsert, 1)), (2, event(.upsert, 1)))
                #expect(try await route.execute(batch).word == "schema changed", "\(table)")
                #expect(try await route.rows("checked") == [])
                // Of a table that the transaction does not write nothing is asked.
                let others = route.batch((1, event(.upsert, 1)), (table == "plain" ? 2 : 0, event(.upsert, 1)))
                #expect(try await route.execute(others).word == "applied", "\(table)")
            }
        }

        /// Of a table of which the transaction writes no row, but refuses records.
        @Test func aLimitThatWasLiftedCostsNoRecord() async throws {
            var limits = PoisonLimits()
            limits.leastRecords = 20
            for count in [1, 40] {
                let route = try await Route(
                    try await TestDatabase.fresh(Route.ddl + "ALTER TABLE checked ALTER name TYPE varchar(3);"), poison: limits)
                let records = (0..<2 * count).map { (part: Optional($0 % 2), record: event(.upsert, $0, "four")) }
                let batch = routedBatch(p0, from: 0, records, shapes: route.shapes)
                // By the limit that is in force.
                let word = count == 1 ? "applied" : "stopped"
                let prepared = try route.writer.prepare([BatchSlice(batch)], claims: route.claims)
                try await route.database.script("ALTER TABLE checked ALTER name TYPE varchar(4)")
                let outcome = try await route.database.connection.perform { [writer = route.writer] in
                    writer.execute(prepared, on: $0, now: 0)
                }
                #expect(outcome.word == "schema changed", "\(outcome)")
                #expect(try await route.rows("plain") == [])
                #expect(try await route.database.deadLetterCount() == 0)
                try await route.database.script("ALTER TABLE checked ALTER name TYPE varchar(3)")
                let current = try await Route(route.database, poison: limits)
                #expect(try await current.execute(batch).word == word)
            }
        }

        /// All records of one mapping are bad, which are half of all, and so not too many: the mapping's own guard counts them.
        @Test func aPoisonedMappingStopsThePartition() async throws {
            var limits = PoisonLimits()
            limits.leastRecords = 20
            let route = try await Route(try await TestDatabase.fresh(Route.ddl), poison: limits)
            func batch(_ bad: TestRecord, route isRoute: Bool = false) -> ChangeBatch {
                let records = (0..<120).map { index -> (part: Int?, record: TestRecord) in
                    index % 4 == 0 ? (isRoute ? nil : 1, bad) : (index % 2, index % 2 == 1 ? .nothing : event(.upsert, index))
                }
                return routedBatch(p0, from: 0, records, shapes: route.shapes)
            }
            let outcome = try await route.execute(batch(.fault("missing_field")))
            guard case .stopped([p0], let reason) = outcome else { throw PostgresError(.server, "\(outcome)") }
            #expect(reason.kind == .poison && "\(reason)".contains("decode:missing_field"), "\(reason)")
            #expect(try await route.rows("plain") == [])
            #expect(try await route.database.deadLetterCount() == 0)
            // Where the route has no mapping for a record it counts among all of them: 30 of 60 are not more than half.
            #expect(try await route.execute(batch(.nothing, route: true)).word == "applied")
            let unrouted = routedBatch(
                p0, from: 240, (0..<30).map { _ in (part: nil, record: .nothing) }, shapes: route.shapes)
            var claims = route.claims
            claims[0].nextOffset = 239
            let prepared = try route.writer.prepare([BatchSlice(unrouted)], claims: claims)
            let later = try await route.database.connection.perform { [writer = route.writer] in
                writer.execute(prepared, on: $0, now: 0)
            }
            #expect(later.stopped == [p0], "\(later)")
        }

        @Test func aFencedPartitionWritesNothing() async throws {
            let route = try await Route(try await TestDatabase.fresh(Route.ddl))
            _ = try await route.database.claim(p1, member: "other")
            let batches = [
                route.batch((0, event(.upsert, 1)), (1, event(.upsert, 1))),
                route.batch(of: p1, (2, event(.upsert, 1)), (nil, .nothing)),
            ]
            #expect(try await route.execute(batches[0], batches[1]).fenced == [p1])
            #expect(try await route.rows("plain") == [])
            #expect(try await route.database.deadLetterCount() == 0)
        }
    }
}
