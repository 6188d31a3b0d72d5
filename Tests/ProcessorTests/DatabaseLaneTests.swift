// Proves that a lane settles what is unknown, waits for what may come, and says what cannot be helped: on a real PostgreSQL.

import Apply
import Decode
import Foundation
import Pipeline
import Postgres
import Records
import Settings
import SluiceTables
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// A database with a lane into it, and one claimed partition.
struct LaneWorld {
    static let source = TopicPartition("messages", 0)
    let uri: String
    let plan: TablePlan
    let plans: TablePlans
    let lane: DatabaseLane
    let claim: PartitionClaim
    let decoder: Decoder

    /// - Parameter mapping: the text of a mapping; `nil`: the example's.
    init(constraintTimeout: Duration = .zero, prepare sql: String = "SELECT 1", mapping text: String? = nil) async throws {
        uri = try await TestPostgres.database(migrated: true)
        var settings = PostgresSettings()
        settings.uri = uri
        let file =
            if let text {
                try YAML.parse(text: text, file: "test.yaml")
            } else {
                try YAML.load(path: "\(TestPostgres.checkout.path)/examples/messages/mapping.yaml")
            }
        let mapping = try Mapping.compile([file])[0]
        decoder = Decoder(mapping: mapping)
        let apply = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
        plan = TablePlan(shape: mapping.table, configuration: apply, poison: PoisonLimits(), logger: .silent)
        plans = TablePlans([plan], routes: TopicRoutes([mapping.topics]))
        lane = try DatabaseLane(
            configuration: settings.connection(name: "lane test"), plans: plans, apply: apply,
            constraintTimeout: constraintTimeout, logger: .silent)
        _ = try await lane.session { try $0.executeScript(sql) }
        try await plan.claimed(on: lane)
        claim = try await Self.claim(lane)
    }

    static func claim(_ lane: DatabaseLane) async throws -> PartitionClaim {
        try await lane.session { session in
            try OffsetStore(group: "g").claim([(source, start: 0)], member: "test", on: session)[0]
        }
    }

    func work(_ ids: Range<Int>) -> [PartitionBatches] {
        work(ids.map { .init("Upsert", $0, "n") }, from: ids.lowerBound)
    }

    /// An event, as short as a test may write it.
    struct Event {
        let json: String
        init(_ action: String, _ id: Int, _ name: String) {
            json = #"{"action":"\#(action)","message_id":\#(id),"data":{"name":"\#(name)","message":"m"}}"#
        }
    }

    /// One batch with these events, from an offset on.
    func work(_ events: [Event], from offset: Int) -> [PartitionBatches] {
        let batch = RecordBatch(source: Self.source, generation: 1)
        for (index, event) in events.enumerated() {
            Array(event.json.utf8).withUnsafeBytes {
                batch.append(offset: Int64(offset + index), timestamp: 1, key: nil, value: $0)
            }
        }
        return [
            PartitionBatches(
                source: Self.source, generation: 1, epoch: claim.epoch, expected: Int64(offset),
                batches: [decoder.decode(batch)])
        ]
    }

    func count(_ table: String) async throws -> Int64 {
        try await scalar("SELECT count(*) FROM \(table)")
    }

    func scalar(_ sql: String) async throws -> Int64 {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        let value = try await connection.perform { try $0.execute(sql).int64(0, 0) }
        await connection.close()
        return value
    }
}

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct DatabaseLaneTests {
    private func applied(_ result: ApplyResult) -> AppliedCounts? {
        if case .applied(let counts) = result { counts } else { nil }
    }

    @Test func appliesAndGoesOn() async throws {
        let world = try await LaneWorld()
        #expect(applied(try await world.lane.apply(world.work(0..<10), attempt: 0))?.applied == 10)
        #expect(applied(try await world.lane.apply(world.work(10..<15), attempt: 0))?.applied == 5)
        #expect(try await world.count("messages") == 15)
        #expect(try await world.scalar("SELECT next_offset FROM sluice_offsets") == 15)
        await world.lane.close()
    }

    /// libpq keeps the memory of the largest command for the life of a connection.
    @Test func afterALargeRecordTheLaneHasAnotherConnectionWithTheSameClaims() async throws {
        let world = try await LaneWorld()
        func backend() async throws -> Int32 { try await world.lane.session { $0.backendPID } }
        func claimedBackend() async throws -> Int64 { try await world.scalar("SELECT backend_pid::int8 FROM sluice_offsets") }
        let first = try await backend()
        #expect(applied(try await world.lane.apply(world.work(0..<10), attempt: 0))?.applied == 10)
        #expect(try await backend() == first, "a small transaction has replaced the connection")
        let large = LaneWorld.Event("Upsert", 10, String(repeating: "x", count: 5 << 20))
        #expect(applied(try await world.lane.apply(world.work([large], from: 10), attempt: 0))?.applied == 1)
        let second = try await backend()
        #expect(second != first)
        #expect(try await claimedBackend() == Int64(second))
        #expect(try await world.lane.session { $0.largestCommand } < 1 << 20)
        #expect(applied(try await world.lane.apply(world.work(11..<20), attempt: 0))?.applied == 9)
        #expect(try await backend() == second)
        func formerBackends() async throws -> Int64 {
            try await world.scalar("SELECT count(*) FROM pg_stat_activity WHERE pid = \(first)")
        }
        for _ in 0..<600 where try await formerBackends() > 0 { try await Task.sleep(for: .milliseconds(50)) }
        #expect(try await formerBackends() == 0)
        await world.lane.close()
    }

    @Test func aLostConnectionIsSettledAndNothingIsWrittenTwice() async throws {
        let world = try await LaneWorld()
        for round in 0..<4 {
            _ = try await world.scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lane test' AND datname = current_database()"
            )
            var attempts = 0
            while true {
                let result = try await world.lane.apply(world.work(round * 5..<(round + 1) * 5), attempt: attempts)
                if applied(result) != nil { break }
                guard case .retry(_, isOutage: true) = result else {
                    Issue.record("a lost connection is an outage, not \(result)")
                    return
                }
                attempts += 1
                try #require(attempts < 20)
            }
        }
        #expect(try await world.count("messages") == 20)
        #expect(try await world.count("messages_cdc") == 20)
        await world.lane.close()
    }

    @Test func somebodyElsesClaimFencesTheLane() async throws {
        let world = try await LaneWorld()
        _ = try await LaneWorld.claim(world.lane)
        guard case .fenced([LaneWorld.source]) = try await world.lane.apply(world.work(0..<3), attempt: 0) else {
            Issue.record("an older epoch must be fenced")
            return
        }
        #expect(try await world.count("messages") == 0)
        await world.lane.close()
    }

    private static let parents = """
        CREATE TABLE parents(id int PRIMARY KEY); INSERT INTO parents SELECT g FROM generate_series(0, 9) g WHERE g <> 4;
        ALTER TABLE messages ADD FOREIGN KEY (message_id) REFERENCES parents(id)
        """

    @Test func aMissingParentIsWaitedFor() async throws {
        let world = try await LaneWorld(constraintTimeout: .seconds(60), prepare: Self.parents)
        guard case .appliedInPart(let before, _) = try await world.lane.apply(world.work(0..<10), attempt: 0) else {
            Issue.record("a parent may be on its way")
            return
        }
        #expect(before.applied == 4)
        #expect(try await world.count("messages") == 4)
        _ = try await world.lane.session { try $0.executeScript("INSERT INTO parents VALUES (4)") }
        #expect(applied(try await world.lane.apply(world.work(0..<10), attempt: 1))?.deadLetters == [:])
        #expect(try await world.count("messages") == 10)
        await world.lane.close()
    }

    /// Another partition, or another program, removes the row that has the value; the row that was written first is not lost.
    @Test func aTakenUniqueValueIsWaitedFor() async throws {
        let world = try await LaneWorld(
            constraintTimeout: .seconds(60), prepare: "CREATE UNIQUE INDEX names ON messages (name)")
        #expect(applied(try await world.lane.apply(world.work(0..<1), attempt: 0))?.applied == 1)
        guard case .appliedInPart(_, let waiting) = try await world.lane.apply(world.work(1..<2), attempt: 0) else {
            Issue.record("the value may be set free")
            return
        }
        #expect(waiting.first?.reason.contains("at offset 1: another row has its value") == true, "\(waiting)")
        _ = try await world.lane.session { try $0.executeScript("DELETE FROM messages") }
        #expect(applied(try await world.lane.apply(world.work(1..<2), attempt: 1))?.applied == 1)
        #expect(try await world.scalar("SELECT message_id FROM messages") == 1)
        #expect(try await world.count("sluice_dead_letters") == 0)
        await world.lane.close()
    }

    /// The deadline is that of the record, also while a busy lane, or a claim, keeps it from being tried; it is tried once more after it.
    @Test func aRecordThatIsTriedLateHasWaitedMeanwhile() async throws {
        let world = try await LaneWorld(constraintTimeout: .seconds(2), prepare: Self.parents)
        guard case .appliedInPart = try await world.lane.apply(world.work(0..<10), attempt: 0) else {
            Issue.record("a parent may be on its way")
            return
        }
        try await Task.sleep(for: .milliseconds(2_300))
        #expect(applied(try await world.lane.apply(world.work(0..<6), attempt: 0))?.deadLetters == ["sql:foreign_key": 1])
        #expect(try await world.scalar("SELECT \"offset\" FROM sluice_dead_letters") == 4)
        await world.lane.close()
    }

    @Test func aParentThatDoesNotComeMakesOneDeadLetter() async throws {
        let world = try await LaneWorld(constraintTimeout: .zero, prepare: Self.parents)
        let counts = applied(try await world.lane.apply(world.work(0..<10), attempt: 0))
        #expect(counts?.applied == 9)
        #expect(counts?.deadLetters == ["sql:foreign_key": 1])
        #expect(try await world.scalar("SELECT \"offset\" FROM sluice_dead_letters") == 4)
        await world.lane.close()
    }

    @Test func aBatchThatTakesTooLongIsHalved() async throws {
        let slow = """
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN IF (SELECT count(*) FROM fresh) > 3 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON messages REFERENCING NEW TABLE AS fresh
              FOR EACH STATEMENT EXECUTE FUNCTION slow();
            SET statement_timeout = '300ms'
            """
        let world = try await LaneWorld(prepare: slow)
        let counts = applied(try await world.lane.apply(world.work(0..<10), attempt: 0))
        #expect(counts?.applied == 10)
        #expect(try await world.count("messages") == 10)
        await world.lane.close()
    }

    @Test func aServerThatIsNotThereIsAnOutage() async throws {
        let world = try await LaneWorld()
        var settings = PostgresSettings()
        settings.uri = "postgres://127.0.0.1:1/nothing"
        let lane = try DatabaseLane(
            configuration: settings.connection(name: "lane test"), plans: world.plans, apply: world.plan.configuration,
            constraintTimeout: .zero, logger: .silent)
        guard case .retry(_, isOutage: true) = try await lane.apply(world.work(0..<1), attempt: 0) else {
            Issue.record("a refused connection is an outage")
            return
        }
        await world.lane.close()
    }
}
