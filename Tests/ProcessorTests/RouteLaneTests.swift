// Proves what a lane does with a routed topic: from records to the rows of several tables, on a real PostgreSQL.

import Apply
import Decode
import Pipeline
import Postgres
import Records
import Settings
import SluiceTables
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// A lane with a route of two tables, and one claimed partition of the topic.
private struct RouteLane {
    static let source = TopicPartition("shop", 0)
    let uri: String
    let plans: TablePlans
    let lane: DatabaseLane
    let claim: PartitionClaim
    let decoder: StageDecoder

    init(poison: PoisonLimits = PoisonLimits()) async throws {
        uri = try await TestPostgres.database(migrated: true)
        var settings = PostgresSettings()
        settings.uri = uri
        let texts = [
            "accounts": "topics: [shop]\ntable: accounts\nkey: [id]\nenvelope: upsert\ncolumns: {id: {path: /id, type: int4}}",
            "orders": "topics: [shop, own]\ntable: orders\nkey: [id]\nenvelope: upsert\n"
                + "columns: {id: {path: /id, type: int4}, name: {path: /name, type: text}}",
        ]
        let nodes = try ["accounts", "orders"].map { try YAML.parse(text: texts[$0]!, file: "\($0).yaml") }
        let mappings = try Mapping.compile(nodes, routed: ["accounts.yaml", "orders.yaml"])
        let routes = TopicRoutes(mappings.map(\.topics), routed: [0, 1])
        decoder = StageDecoder(
            mappings, routes: routes,
            route: Route(
                by: "/type", tables: [(value: "account", mapping: 0), (value: "order", mapping: 1)], otherwise: .deadLetter))
        var apply = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
        plans = TablePlans(
            mappings.map { mapping in
                apply.mapping = mapping.name
                return TablePlan(shape: mapping.table, configuration: apply, poison: poison, logger: .silent)
            }, routes: routes, poison: poison)
        lane = try DatabaseLane(
            configuration: settings.connection(name: "lane test"), plans: plans, apply: apply, constraintTimeout: .zero,
            logger: .silent)
        _ = try await lane.session {
            try $0.executeScript(
                "CREATE TABLE accounts (id int4 PRIMARY KEY);"
                    + "CREATE TABLE orders (id int4 PRIMARY KEY, name text CHECK (name <> 'bad'))"
            )
        }
        for plan in plans.all { try await plan.claimed(on: lane) }
        claim = try await lane.session { session in
            try OffsetStore(group: "g").claim([(Self.source, start: 0)], member: "test", on: session)[0]
        }
    }

    struct DecoderIsNotReady: Error {}

    func apply(_ events: [String], from offset: Int) async throws -> ApplyResult {
        let batch = RecordBatch(source: Self.source, generation: 1)
        for (index, event) in events.enumerated() {
            Array(event.utf8).withUnsafeBytes {
                batch.append(offset: Int64(offset + index), timestamp: 1, key: nil, value: $0)
            }
        }
        guard case .decoded(let changes) = decoder.decode(batch) else { throw DecoderIsNotReady() }
        return try await lane.apply(
            [
                PartitionBatches(
                    source: Self.source, generation: 1, epoch: claim.epoch, expected: Int64(offset), batches: [changes])
            ], attempt: 0)
    }

    func applied(_ events: [String], from offset: Int) async throws -> AppliedCounts {
        let result = try await apply(events, from: offset)
        guard case .applied(let counts) = result else { throw PostgresError(.server, "\(result)") }
        return counts
    }

    func rows(_ sql: String) async throws -> [String] {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        return try await connection.performLast { session in
            let result = try session.execute(sql)
            return try (0..<result.rowCount).map { try result.text($0, 0) }
        }
    }
}

private func account(_ id: Int) -> String { #"{"type":"account","id":\#(id)}"# }
private func order(_ id: Int, _ name: String = "n") -> String { #"{"type":"order","id":\#(id),"name":"\#(name)"}"# }

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct RouteLaneTests {
    @Test func aTopicFillsTwoTables() async throws {
        let world = try await RouteLane()
        let lane = world.lane
        #expect(lane.table(of: RouteLane.source) == 2 && lane.table(of: TopicPartition("own", 0)) == 1)
        let counts = try await world.applied(
            [account(1), order(1), account(2), order(2, "bad"), #"{"type":"refund"}"#, order(3), #"{"type":"order","id":"x"}"#],
            from: 0)
        #expect(counts.applied == 4 && counts.parts.map(\.applied) == [2, 2])
        #expect(counts.deadLetters == ["sql:check": 1, "decode:no_route": 1, "decode:wrong_type": 1])
        #expect(try await world.rows("SELECT id::text FROM accounts ORDER BY id") == ["1", "2"])
        #expect(try await world.rows("SELECT id::text FROM orders ORDER BY id") == ["1", "3"])
        #expect(
            try await world.rows("SELECT \"offset\" || ' ' || mapping FROM sluice_dead_letters ORDER BY \"offset\"")
                == ["3 orders", "4 route", "6 orders"])
        #expect(try await world.rows("SELECT next_offset::text FROM sluice_offsets") == ["7"])
        await lane.close()
    }

    /// Whichever of the tables was changed, the same records are written by its new plan.
    @Test func aChangedTableIsReadAgain() async throws {
        let world = try await RouteLane()
        #expect(try await world.applied([account(1), order(1)], from: 0).applied == 2)
        var offset = 2
        for table in ["accounts", "orders"] {
            let before = world.plans.all.map(\.current)
            _ = try await world.lane.session { try $0.executeScript("ALTER TABLE \(table) ADD COLUMN later text DEFAULT 'x'") }
            #expect(try await world.applied([account(offset), order(offset)], from: offset).applied == 2)
            for (plan, former) in zip(world.plans.all, before) {
                #expect((plan.current !== former) == (plan.table == table), "\(plan.table) after a change of \(table)")
            }
            offset += 2
        }
        #expect(try await world.rows("SELECT count(*)::text FROM orders") == ["3"])
        await world.lane.close()
    }

    @Test func aTableThatIsGoneStopsThePartition() async throws {
        let world = try await RouteLane()
        _ = try await world.lane.session { try $0.executeScript("DROP TABLE orders") }
        guard case .stopped([RouteLane.source], let reason) = try await world.apply([account(1), order(1)], from: 0) else {
            Issue.record("it is not stopped")
            return
        }
        #expect(reason.kind == .schema && reason.description.contains("orders"), "\(reason)")
        #expect(try await world.rows("SELECT id::text FROM accounts") == [], "nothing was written")
        await world.lane.close()
    }

    /// A claim begins the counts of a stopped partition anew: those of every mapping, and the route's.
    @Test(arguments: [#"{"type":"order"}"#, #"{"type":"refund"}"#]) func aPoisonedPartitionGoesOnAfterAClaim(_ bad: String)
        async throws
    {
        var limits = PoisonLimits()
        limits.leastRecords = 20
        let world = try await RouteLane(poison: limits)
        let few = Array(repeating: bad, count: 19)
        #expect(try await world.applied(few, from: 0).deadLetters.values.reduce(0, +) == 19)
        guard case .stopped([RouteLane.source], let reason) = try await world.apply([account(1), bad], from: 19) else {
            Issue.record("it is not stopped")
            return
        }
        #expect(reason.kind == .poison)
        world.lane.reset([RouteLane.source])
        #expect(try await world.applied([account(1), bad], from: 19).applied == 1)
        await world.lane.close()
    }
}
