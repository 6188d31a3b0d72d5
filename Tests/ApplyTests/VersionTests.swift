// Proves that of two events the newer one stays, in whatever order they come and from however many lanes: on a real PostgreSQL.

import Foundation
import Postgres
import Records
import SluiceTables
import Synchronization
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

/// `t(id, at, a)` with the version `at`.
private func shape(
    _ strategy: WriteChoice.Strategy = .auto, deletes: Bool = false, type: ColumnType = .int4
) -> TableShape {
    TableShape(
        name: "t",
        columns: [
            ColumnShape(name: "id", type: type), ColumnShape(name: "at", type: .int4), ColumnShape(name: "a", type: .text),
        ], key: [0], write: WriteChoice(strategy), deletion: deletes ? [("gone", .now)] : [], version: RowVersion(column: 1))
}

private let table = "CREATE TABLE t (id int PRIMARY KEY, at int, a text, gone timestamptz);"

private func upsert(_ id: Int, _ version: Int, _ text: String = "x") -> TestRecord {
    .event(.upsert, [.int(Int32(id)), .int(Int32(version)), .text(text)])
}

private func delete(_ id: Int, _ version: Int) -> TestRecord {
    .event(.delete, [.int(Int32(id)), .int(Int32(version)), .absent])
}

@Suite struct VersionMachineTests {
    private func newest(_ keepsFirst: Bool, _ events: [(Records.Operation, Int64)]) -> NewestEvent? {
        var machine = VersionMachine(keepsFirst: keepsFirst)
        for (position, event) in events.enumerated() { machine.read(event.0, version: event.1, at: position) }
        let newest = machine.finish()
        #expect(machine.finish() == nil, "the machine is ready for the next run")
        return newest
    }

    @Test func theNewestEventDecides() {
        #expect(newest(false, [(.upsert, 3), (.create, 5), (.update, 4)]) == NewestEvent(position: 1, removal: nil))
        #expect(newest(false, [(.delete, 3), (.upsert, 5)]) == NewestEvent(position: 1, removal: 0))
        #expect(newest(false, [(.upsert, 5), (.delete, 3)]) == NewestEvent(position: 0, removal: nil))
        #expect(newest(false, [(.delete, 3), (.delete, -9), (.upsert, 5), (.delete, 7)]) == NewestEvent(position: 3, removal: 3))
    }

    @Test func ofEqualOnesTheFirstOrTheLast() {
        let events: [(Records.Operation, Int64)] = [(.upsert, 5), (.delete, 5), (.upsert, 5)]
        #expect(newest(true, events) == NewestEvent(position: 0, removal: nil))
        #expect(newest(false, events) == NewestEvent(position: 2, removal: 1))
    }
}

extension ServerTests {
    @Suite(.timeLimit(.minutes(3))) struct VersionTests {
        /// One transaction of one partition, on a connection of its own.
        private struct Lane: Sendable {
            let writer: TableWriter
            let connection: PostgresConnection
            let source: TopicPartition
            let claim: PartitionClaim

            init(_ database: TestDatabase, _ writer: TableWriter, _ source: TopicPartition) async throws {
                self.writer = writer
                self.source = source
                connection = try await database.connect()
                claim = try await database.claim(source)[0]
            }

            func write(_ records: [TestRecord]) async throws -> ApplyOutcome {
                let batch = changeBatch(source, from: 0, records, shape: writer.plan.shape)
                let transaction = try writer.prepare([batch], claims: [claim])
                return try await connection.perform { writer.execute(transaction, on: $0, now: 0) }
            }
        }

        /// Without the check a race leaves another table: so the test has forced it.
        private static let noCheck = """
            CREATE OR REPLACE FUNCTION sluice_require_versions(conflicts bigint) RETURNS void LANGUAGE sql AS 'SELECT';
            """

        /// Waits until so many sessions of the database wait for a lock.
        private func waits(_ database: TestDatabase, _ number: Int) async throws {
            try await database.wait(
                until: """
                    SELECT count(*) = \(number) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'
                    """)
        }

        /// Two transactions, of which both have written before either may check, in both orders.
        private func race(
            _ strategy: WriteChoice.Strategy, deletes: Bool, _ initial: String, isChecked: Bool, _ first: TestRecord,
            _ second: TestRecord
        ) async throws -> [String] {
            let database = try await TestDatabase.fresh(table + initial + (isChecked ? "" : Self.noCheck))
            let writer = try await database.writer(shape(strategy, deletes: deletes))
            let guarding = try #require(writer.plan.versionGuard)
            #expect(guarding.lockAlone.sql.contains("hashtext"))
            let (one, other) = (try await Lane(database, writer, p0), try await Lane(database, writer, p1))
            let blocker = try await database.connect()
            _ = try await blocker.perform { session in
                try session.execute("BEGIN")
                return try session.execute(guarding.lockAlone.sql)
            }
            async let left = one.write([first])
            try await waits(database, 1)
            async let right = other.write([second])
            try await waits(database, 2)
            _ = try await blocker.perform { try $0.execute("COMMIT") }
            let outcomes = try await [left, right]
            for outcome in outcomes { #expect(outcome.report?.records == 1, "\(outcome)") }
            let rows = try await database.rows("SELECT concat_ws(' ', id, at, a) FROM t WHERE gone IS NULL ORDER BY id")
            for connection in [blocker, one.connection, other.connection, database.connection] { await connection.close() }
            return rows
        }

        /// Its first event finds no row to update, waits to insert it, and the row of another lane comes; its second one updates that.
        @Test(arguments: [WriteChoice.Strategy.rounds, .sequential])
        func noneOfSeveralEventsOfAKeyIsLost(_ strategy: WriteChoice.Strategy) async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, at int, a int, b int);")
            let shape = TableShape(
                name: "t",
                columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "at", type: .int4)]
                    + ["a", "b"].map { ColumnShape(name: $0, type: .int4, isOptional: true) }, key: [0],
                write: WriteChoice(strategy), version: RowVersion(column: 1))
            let writer = try await database.writer(shape)
            let (one, other) = (try await Lane(database, writer, p0), try await Lane(database, writer, p1))
            let blocker = try await database.connect()
            let lock = try #require(writer.plan.versionGuard).lockAlone.sql
            _ = try await blocker.perform { session in
                try session.execute("BEGIN")
                return try session.execute(lock)
            }
            async let left = one.write([.event(.upsert, [.int(1), .int(5), .int(5), .int(5)])])
            try await waits(database, 1)
            async let right = other.write([
                .event(.upsert, [.int(1), .int(7), .int(7), .absent]), .event(.upsert, [.int(1), .int(8), .absent, .int(8)]),
            ])
            try await waits(database, 2)
            _ = try await blocker.perform { try $0.execute("COMMIT") }
            let outcomes = try await [left, right]
            #expect(outcomes.compactMap { $0.report?.records } == [1, 2], "\(outcomes)")
            #expect(try await database.rows("SELECT concat_ws(' ', id, at, a, b) FROM t") == ["1 8 7 8"])
            for connection in [blocker, one.connection, other.connection, database.connection] { await connection.close() }
        }

        /// Each deletes the row that the other writes.
        @Test func transactionsThatWaitForEachOtherAreWrittenOneAfterTheOther() async throws {
            let database = try await TestDatabase.fresh(table + "INSERT INTO t VALUES (1, 1, 'old'), (9, 1, 'old');")
            let writers = (try await database.writer(shape()), try await database.writer(shape()))
            let (one, other) = (try await Lane(database, writers.0, p0), try await Lane(database, writers.1, p1))
            let blocker = try await database.connect()
            _ = try await blocker.perform { try $0.executeScript("BEGIN; SELECT FROM t WHERE id = 9 FOR UPDATE") }
            async let left = one.write([delete(9, 5), upsert(1, 5)])
            try await waits(database, 1)
            async let right = other.write([delete(1, 6), upsert(9, 6)])
            try await waits(database, 2)
            _ = try await blocker.perform { try $0.execute("COMMIT") }
            let outcomes = try await [left, right]
            #expect(outcomes.compactMap { $0.report?.records } == [2, 2], "\(outcomes)")
            #expect(try await database.rows("SELECT concat_ws(' ', id, at, a) FROM t") == ["9 6 x"])
            // The one that was rolled back expects more of them.
            let alone = [writers.0, writers.1].map { $0.aloneFor.withLock { $0 } }
            #expect(alone.max() ?? 0 > 0 && alone.min() == 0, "\(alone)")
            for connection in [blocker, one.connection, other.connection, database.connection] { await connection.close() }
        }

        @Test(arguments: [WriteChoice.Strategy.auto, .rounds, .sequential], [false, true])
        func anUpsertThatWaitedForANewerDelete(_ strategy: WriteChoice.Strategy, isChecked: Bool) async throws {
            let rows = try await race(
                strategy, deletes: false, "INSERT INTO t VALUES (1, 1, 'old');", isChecked: isChecked, delete(1, 5), upsert(1, 3))
            #expect(rows == (isChecked ? [] : strategy == .sequential ? [] : ["1 3 x"]))
        }

        @Test(arguments: [WriteChoice.Strategy.auto, .rounds, .sequential], [false, true])
        func aDeleteThatDidNotSeeTheUpsert(_ strategy: WriteChoice.Strategy, isChecked: Bool) async throws {
            for deletes in [false, true] {
                let rows = try await race(
                    strategy, deletes: deletes, "", isChecked: isChecked, upsert(1, 3), delete(1, 5))
                #expect(rows == (isChecked ? [] : ["1 3 x"]))
            }
        }

        @Test(arguments: [WriteChoice.Strategy.auto, .rounds, .sequential], [false, true])
        func anUpsertThatDidNotSeeTheDelete(_ strategy: WriteChoice.Strategy, isChecked: Bool) async throws {
            let rows = try await race(strategy, deletes: false, "", isChecked: isChecked, delete(1, 5), upsert(1, 3))
            #expect(rows == (isChecked ? [] : ["1 3 x"]))
        }

        /// The row comes between the look-up and the INSERT.
        @Test(arguments: [WriteChoice.Strategy.auto, .sequential], [false, true])
        func anUpdateAndInsertLoseNoEvent(_ strategy: WriteChoice.Strategy, isChecked: Bool) async throws {
            // A column that an INSERT needs: the row is looked up first.
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, at int, a text, number serial);" + (isChecked ? "" : Self.noCheck))
            let writer = try await database.writer(shape(strategy))
            #expect(writer.plan.insertsLookUp)
            let lane = try await Lane(database, writer, p0)
            let other = try await database.connect()
            _ = try await other.perform { session in
                try session.execute("BEGIN")
                return try session.execute("INSERT INTO t VALUES (1, 3, 'older')")
            }
            async let outcome = lane.write([upsert(1, 5, "newer"), upsert(2, 1)])
            try await waits(database, 1)
            _ = try await other.perform { try $0.execute("COMMIT") }
            #expect(try await outcome.report?.records == 2)
            let rows = try await database.rows("SELECT concat_ws(' ', id, at, a) FROM t ORDER BY id")
            #expect(rows == [isChecked ? "1 5 newer" : "1 3 older", "2 1 x"])
            await other.close()
            await lane.connection.close()
            await database.connection.close()
        }

        /// What the check takes for a race is none: alone, the transaction is not checked.
        @Test func aTriggerThatSkipsRowsIsNoRace() async throws {
            let database = try await TestDatabase.fresh(
                table + """
                    CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      IF TG_OP = 'DELETE' THEN RETURN NULL; END IF;
                      IF NEW.id = 7 THEN RETURN NULL; END IF; RETURN NEW; END $$;
                    CREATE TRIGGER skip BEFORE INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION skip();
                    INSERT INTO t VALUES (1, 1, 'old');
                    """)
            let lane = try await Lane(database, try await database.writer(shape()), p0)
            let outcome = try await lane.write([upsert(7, 1), upsert(8, 1), delete(1, 9)])
            #expect(outcome.report?.events == 3, "\(outcome)")
            #expect(try await database.rows("SELECT concat_ws(' ', id, at) FROM t ORDER BY id") == ["1 1", "8 1"])
            await lane.connection.close()
            await database.connection.close()
        }

        /// A refused event is not missed by the check, and its neighbours are written.
        @Test(arguments: [WriteChoice.Strategy.rounds, .sequential])
        func refusedEventsAreDeadLetters(_ strategy: WriteChoice.Strategy) async throws {
            let database = try await TestDatabase.fresh(table + "ALTER TABLE t ADD CHECK (a <> 'bad');")
            let lane = try await Lane(database, try await database.writer(shape(strategy)), p0)
            let outcome = try await lane.write([upsert(1, 3, "bad"), upsert(1, 2, "good"), upsert(2, 1), delete(3, 4)])
            #expect(outcome.report?.deadLetters.values.reduce(0, +) == 1, "\(outcome)")
            #expect(try await database.rows("SELECT concat_ws(' ', id, at, a) FROM t ORDER BY id") == ["1 2 good", "2 1 x"])
            #expect(try await database.rows("SELECT concat_ws(' ', relation, version) FROM sluice_tombstones") == ["public.t 4"])
            await lane.connection.close()
            await database.connection.close()
        }

        /// The key of a tombstone does not depend on how wide the mapping's integers are.
        @Test func aTombstoneOutlivesAWiderKey() async throws {
            let database = try await TestDatabase.fresh(table)
            let narrow = try await Lane(database, try await database.writer(shape()), p0)
            _ = try await narrow.write([delete(-4, 5)])
            try await database.script("ALTER TABLE t ALTER id TYPE int8")
            let writer = try await database.writer(shape(type: .int8))
            let wide = try await Lane(database, writer, p1)
            let key = TestValue.value(literal: "-4", bytes: withUnsafeBytes(of: Int64(-4).bigEndian) { Array($0) })
            let outcome = try await wide.write([
                .event(.upsert, [key, .int(4), .text("older")])
            ])
            #expect(outcome.report?.events == 1)
            #expect(try await database.rows("SELECT id::text FROM t") == [])
            #expect(try await database.rows("SELECT encode(key, 'hex') FROM sluice_tombstones") == ["00000008fffffffffffffffc"])
            await narrow.connection.close()
            await wide.connection.close()
            await database.connection.close()
        }

        /// An entry of the tombstones' index is longer than one of the table's own. docs/mapping.md has these numbers.
        @Test(arguments: [WriteChoice.Strategy.auto, .rounds, .sequential], [false, true])
        func aDeleteWhoseTombstoneIsTooLongIsADeadLetter(_ strategy: WriteChoice.Strategy, deletes: Bool) async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id text PRIMARY KEY, at int, a text, gone timestamptz);")
            let writer = try await database.writer(shape(strategy, deletes: deletes, type: .text))
            let (lane, next) = (try await Lane(database, writer, p0), try await Lane(database, writer, p1))
            // Keys of these do not become shorter by compression.
            var random = SeededRandom(seed: 1)
            let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
            func key(_ length: Int) -> TestValue {
                .text(String((0..<length).map { _ in letters.randomElement(using: &random) ?? "-" }))
            }
            let limit = 2_684 - "public.t".utf8.count
            let (longest, tooLong, longestOfTable) = (key(limit), key(limit + 1), key(2_692))
            let keys = [longest, tooLong, longestOfTable, .text("short"), key(2_693)]
            let upserts = try await lane.write(keys.map { .event(.upsert, [$0, .int(1), .text("x")]) })
            #expect(upserts.report?.deadLetters == ["sql:limit": 1], "\(upserts)")
            let deleted = try await next.write(keys.dropLast().map { .event(.delete, [$0, .int(2), .absent]) })
            #expect(deleted.report?.deadLetters == ["sql:limit": 2], "\(deleted)")
            #expect(
                try await database.rows("SELECT length(id)::text FROM t WHERE gone IS NULL ORDER BY 1")
                    == ["\(limit + 1)", "2692"])
            #expect(try await database.rows("SELECT count(*)::text FROM sluice_tombstones") == ["2"])
            let reasons = try await database.rows(
                "SELECT concat_ws(' ', sqlstate, detail) FROM sluice_dead_letters WHERE partition = 1")
            let sentence = #"54000 index row size 2712 exceeds btree version 4 maximum 2704 for index "sluice_tombstones_pkey""#
            #expect(reasons.contains { $0.hasPrefix(sentence) }, "\(reasons)")
            await lane.connection.close()
            await next.connection.close()
            await database.connection.close()
        }

        @Test func theColumnMustKeepTheVersion() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, at text, a text, gone timestamptz);")
            let sentence = "column at, the version, does not keep every int4 as it is; give both the same type"
            let error = await #expect(throws: ApplyError.self) { _ = try await database.writer(shape()) }
            #expect(error?.description.contains(sentence) == true)
            try await database.script(
                "ALTER TABLE t DROP at; ALTER TABLE t ADD at int8; CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING")
            let other = await #expect(throws: ApplyError.self) { _ = try await database.writer(shape()) }
            #expect(other?.description.contains("version needs a table without rules") == true)
            await database.connection.close()
        }

        @Test func whatIsMissingOnTheTombstonesIsSaid() async throws {
            let database = try await TestDatabase.fresh(table)
            let role = "few_\(UInt32.random(in: 0 ..< .max))"
            try await database.script("CREATE ROLE \(role); GRANT SELECT, INSERT, UPDATE, DELETE ON t TO \(role)")
            let plan = try await database.writer(shape()).plan
            let error = await #expect(throws: ApplyError.self) {
                try await database.connection.perform { session in
                    try session.execute("SET ROLE \(role)")
                    try plan.check(on: session)
                }
            }
            #expect(error?.description.contains("permission denied for table sluice_tombstones") == true)
            try await database.script("RESET ROLE; DROP OWNED BY \(role); DROP ROLE \(role)")
            await database.connection.close()
        }
    }
}
