// Proves that a running lane notices what is added to its table before it commits anything: on a real PostgreSQL.

import Apply
import Pipeline
import Postgres
import Records
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct SchemaChangeTests {
    /// The table without its capture, so that it is coalesced.
    private static let plain = "DROP TABLE messages_cdc; DROP FUNCTION messages_capture CASCADE;"

    /// A lane that has written row 1 by coalescing before the table is changed.
    private func world(_ prepare: String = plain) async throws -> LaneWorld {
        let world = try await LaneWorld(prepare: prepare)
        #expect(world.plan.current?.choice.strategy == .coalesce)
        _ = try await apply(world, [.init("Create", 1, "a")], from: 0)
        return world
    }

    private func apply(_ world: LaneWorld, _ events: [LaneWorld.Event], from offset: Int) async throws -> AppliedCounts {
        let result = try await world.lane.apply(world.work(events, from: offset), attempt: 0)
        guard case .applied(let counts) = result else {
            Issue.record("\(result)")
            throw CancellationError()
        }
        #expect(try await world.scalar("SELECT next_offset FROM sluice_offsets") == Int64(offset + events.count))
        return counts
    }

    /// Changes the table in a session that is not the lane's.
    private func change(_ world: LaneWorld, _ sql: String) async throws {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: world.uri))
        try await connection.perform { _ = try $0.executeScript(sql) }
        await connection.close()
    }

    @Test func aUniqueIndex() async throws {
        let world = try await world()
        try await change(world, "CREATE UNIQUE INDEX ON messages (name)")
        // Coalesced, the Delete goes first, and nothing refuses the Create.
        let counts = try await apply(world, [.init("Create", 2, "a"), .init("Delete", 1, "")], from: 1)
        #expect(counts.deadLetters == ["sql:unique": 1] && counts.applied == 1)
        #expect(try await world.count("messages") == 0)
        #expect(world.plan.current?.choice.strategy == .sequential)
        await world.lane.close()
    }

    private static let audit = """
        CREATE TABLE audit (id int, n text);
        CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO audit VALUES (NEW.message_id, NEW.name); RETURN NULL; END $$;
        """

    @Test func aRowTrigger() async throws {
        let world = try await world()
        try await change(
            world, Self.audit + "CREATE TRIGGER audit AFTER INSERT OR UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION audit()")
        _ = try await apply(world, ["a", "b", "c"].map { .init("Upsert", 3, $0) }, from: 1)
        #expect(try await world.count("audit WHERE id = 3") == 3)
        await world.lane.close()
    }

    @Test func aLength() async throws {
        let world = try await world()
        try await change(world, "ALTER TABLE messages ALTER name TYPE varchar(3)")
        let counts = try await apply(world, [.init("Upsert", 4, "long"), .init("Upsert", 4, "ok")], from: 1)
        #expect(counts.deadLetters == ["decode:out_of_range": 1])
        #expect(try await world.count("messages WHERE message_id = 4 AND name = 'ok'") == 1)
        #expect(try await world.count("sluice_dead_letters WHERE detail LIKE 'column name takes 3 characters%'") == 1)
        await world.lane.close()
    }

    @Test func anotherTableOfTheName() async throws {
        let world = try await world()
        try await change(
            world,
            """
            CREATE TABLE next (LIKE messages INCLUDING ALL, UNIQUE (name));
            ALTER TABLE messages RENAME TO former; ALTER TABLE next RENAME TO messages; INSERT INTO messages VALUES (1, 'a', 'm')
            """)
        let counts = try await apply(world, [.init("Create", 2, "a"), .init("Delete", 1, "")], from: 1)
        #expect(counts.deadLetters == ["sql:unique": 1])
        #expect(try await world.count("messages") == 0)
        #expect(try await world.count("former") == 1)
        await world.lane.close()
    }

    @Test func aPartitionWithATriggerOfItsOwn() async throws {
        let world = try await world(
            Self.plain + Self.audit + """
                DROP TABLE messages;
                CREATE TABLE messages (message_id int PRIMARY KEY, name text, message text, last_updated date DEFAULT current_date)
                  PARTITION BY RANGE (message_id);
                CREATE TABLE low PARTITION OF messages FOR VALUES FROM (0) TO (10);
                CREATE TABLE high (LIKE messages INCLUDING ALL);
                CREATE TRIGGER audit AFTER INSERT OR UPDATE ON high FOR EACH ROW EXECUTE FUNCTION audit();
                """)
        try await change(world, "ALTER TABLE messages ATTACH PARTITION high FOR VALUES FROM (10) TO (20)")
        _ = try await apply(world, ["a", "b", "c"].map { .init("Upsert", 11, $0) }, from: 1)
        #expect(try await world.count("audit") == 3)
        await world.lane.close()
    }

    /// PostgreSQL refuses the statements of the old plan, and those of a new one work.
    @Test func aRuleDoesNotStopThePartition() async throws {
        let world = try await world()
        try await change(
            world,
            "CREATE TABLE log (id int); CREATE RULE r AS ON INSERT TO messages DO ALSO INSERT INTO log VALUES (NEW.message_id)")
        #expect(try await apply(world, [.init("Upsert", 2, "b")], from: 1).applied == 1)
        #expect(try await world.count("messages") == 2)
        #expect(try await world.count("log") == 1)
        await world.lane.close()
    }

    @Test func aChangeThatDoesNotFitStopsAndIsReadAgainAtTheClaim() async throws {
        let world = try await world()
        try await change(world, "ALTER TABLE messages RENAME message TO text")
        let work = world.work([.init("Upsert", 2, "b")], from: 1)
        guard case .stopped([LaneWorld.source], let reason) = try await world.lane.apply(work, attempt: 0) else {
            Issue.record("the column is missing")
            return
        }
        #expect(reason.kind == .schema && reason.description.contains("column message does not exist"), "\(reason)")
        await #expect(throws: ApplyError.self) { try await world.plan.claimed(on: world.lane) }
        try await change(world, "ALTER TABLE messages RENAME text TO message")
        try await world.plan.claimed(on: world.lane)
        _ = try await apply(world, [.init("Upsert", 2, "b")], from: 1)
        await world.lane.close()
    }

    /// As extensions do that make partitions when rows come for them. It would be undone with each attempt that is refused for it.
    @Test func aTransactionThatChangesItsTableIsCommitted() async throws {
        let world = try await world()
        try await change(
            world,
            """
            CREATE FUNCTION chunk() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN CREATE TABLE IF NOT EXISTS chunk () INHERITS (messages); RETURN NULL; END $$;
            CREATE TRIGGER chunk AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION chunk();
            """)
        // The first attempt finds the trigger, the second is of the transaction's own change.
        let work = world.work([.init("Upsert", 2, "b")], from: 1)
        guard case .retry(_, isOutage: false) = try await world.lane.apply(work, attempt: 0) else {
            Issue.record("two changes in a row are waited for")
            return
        }
        _ = try await apply(world, [.init("Upsert", 2, "b")], from: 1)
        _ = try await apply(world, [.init("Upsert", 3, "c")], from: 2)
        #expect(try await world.count("messages") == 3)
        #expect(world.plan.current?.choice.strategy == .sequential, "it has a child now")
        await world.lane.close()
    }

    /// Lanes adopt a plan that another one has made.
    @Test func theOtherLanesFollow() async throws {
        let world = try await world()
        var settings = PostgresSettings()
        settings.uri = world.uri
        let other = try DatabaseLane(
            configuration: settings.connection(name: "other lane"), plans: world.plans, apply: world.plan.configuration,
            constraintTimeout: .zero, logger: .silent)
        try await change(world, "CREATE UNIQUE INDEX ON messages (name)")
        let counts = try await apply(world, [.init("Upsert", 2, "a")], from: 1)
        #expect(counts.deadLetters == ["sql:unique": 1])
        let plan = try #require(world.plan.current)
        #expect(try await other.session { try plan.isCurrent(on: $0) })
        try await world.plan.changed(on: other)
        #expect(world.plan.current === plan, "it is current, and not made again")
        await world.lane.close()
        await other.close()
    }

    /// Waiting partitions are claimed several times a second: that must not plan all statements each time. Privileges change without the
    /// schema.
    @Test func claimsAskForPrivilegesUnlessTheyHaveJustDone() async throws {
        let role = "sluice_test_\(UInt32.random(in: 0...999_999_999))"
        let world = try await world(
            Self.plain + """
                CREATE ROLE \(role); GRANT SELECT, INSERT, UPDATE, DELETE ON messages, sluice_offsets, sluice_dead_letters TO \(role);
                SET ROLE \(role)
                """)
        try await change(world, "REVOKE UPDATE ON messages FROM \(role)")
        try await world.plan.claimed(on: world.lane)
        guard
            case .stopped(_, let reason) = try await world.lane.apply(world.work([.init("Upsert", 1, "b")], from: 1), attempt: 0)
        else {
            Issue.record("the lane may not update")
            return
        }
        #expect(reason.kind == .schema && reason.description.contains("permission denied"), "\(reason)")
        await #expect(throws: ApplyError.self, "after a stop it is asked again") { try await world.plan.claimed(on: world.lane) }
        try await change(world, "GRANT UPDATE ON messages TO \(role)")
        try await world.plan.claimed(on: world.lane)
        #expect(try await apply(world, [.init("Upsert", 1, "b")], from: 1).applied == 1)
        await world.lane.close()
        try await change(world, "DROP OWNED BY \(role); DROP ROLE \(role)")
    }
}
