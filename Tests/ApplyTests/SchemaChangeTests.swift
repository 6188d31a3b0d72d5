// A table that is changed while it is written: no transaction is committed by a plan that was made without the change.

import Postgres
import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)

extension ServerTests {
    @Suite struct SchemaChangeTests {
        private let messages =
            "CREATE TABLE messages (message_id int PRIMARY KEY, name text CHECK (name <> 'bad'), message text, "
            + "last_updated date DEFAULT current_date);"

        private func batch(_ records: TestRecord...) -> ChangeBatch {
            changeBatch(p0, from: 0, records, shape: messagesShape)
        }

        /// Nothing of the transaction was written, and the session can go on.
        private func expectNothing(in database: TestDatabase) async throws {
            #expect(try await database.rows("SELECT next_offset::text FROM sluice_offsets") == ["0"])
            #expect(try await database.rows("SELECT message_id::text FROM messages") == [])
            #expect(try await database.deadLetterCount() == 0)
        }

        @Test func aReplayIsCheckedAtItsEnd() async throws {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let batch = batch(message(.upsert, 1), message(.upsert, 2, "bad"), message(.upsert, 3))
            try await database.script("CREATE UNIQUE INDEX ON messages (message)")
            let outcome = try await database.apply(writer, [batch], claims)
            #expect(outcome.word == "schema changed", "\(outcome)")
            try await expectNothing(in: database)
            // What the events 1 and 3 have in common is refused by the new index.
            let again = try await database.apply(try await database.writer(messagesShape), [batch], claims)
            #expect(again.report?.deadLetters == ["sql:check": 1, "sql:unique": 1], "\(again)")
        }

        /// What was found to be mostly bad was found by a plan that the table does not fit any more: nothing stops, and nothing is counted.
        @Test func aPoisonedPartitionDoesNotStopByAnOldPlan() async throws {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            var claims = try await database.claim(p0)
            func batch(_ count: Int, bad: Int, _ name: String) -> ChangeBatch {
                let records = (0..<count).map { $0 < bad ? message(.upsert, $0, name) : message(.upsert, $0) }
                return changeBatch(p0, from: claims[0].nextOffset, records, shape: messagesShape)
            }
            // Too few to stop for: they count from here on.
            let first = try await database.apply(writer, [batch(800, bad: 400, "bad")], claims)
            #expect(first.report?.deadLetters == ["sql:check": 400])
            claims[0].nextOffset = 1_599
            try await database.script("ALTER TABLE messages ADD CONSTRAINT later CHECK (name <> 'new')")
            let outcome = try await database.apply(writer, [batch(1_200, bad: 800, "new")], claims)
            #expect(outcome.word == "schema changed", "\(outcome)")
            #expect(try await database.rows("SELECT next_offset::text FROM sluice_offsets") == ["1599"])
            #expect(try await database.deadLetterCount() == 400)
            try await database.script("ALTER TABLE messages DROP CONSTRAINT later")
            let plan = try await database.writer(messagesShape).plan
            let current = TableWriter(plan: plan, configuration: writer.configuration, poison: writer.poison)
            // It was not stopped: a claim does not begin its count anew.
            writer.poison.forget(p0)
            #expect(try await database.apply(current, [batch(300, bad: 300, "bad")], claims).stopped == [p0])
            #expect(try await database.apply(current, [batch(1_200, bad: 800, "new")], claims).word == "applied")
        }

        /// The transaction waits for the lock of the change. Its first snapshot is from before: that of the check must not be.
        @Test(arguments: ["read committed", "repeatable read"]) func aChangeThatWasWaitedForIsSeen(_ isolation: String)
            async throws
        {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let other = try await database.connect()
            _ = try await other.perform { try $0.executeScript("BEGIN; CREATE UNIQUE INDEX ON messages (name)") }
            try await database.script("SET default_transaction_isolation = '\(isolation)'")
            let transaction = try writer.prepare([batch(message(.upsert, 1))], claims: claims)
            async let outcome = database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            let watch = try await database.connect()
            while try await watch.perform({
                try $0.execute("SELECT FROM pg_locks WHERE NOT granted AND relation = 'messages'::regclass").rowCount == 0
            }) {
                try await Task.sleep(for: .milliseconds(5))
            }
            try await other.perform { try $0.commit() }
            let word = try await outcome.word
            #expect(word == "schema changed")
            try await expectNothing(in: database)
        }

        /// A change that comes after the row statements waits for COMMIT, so the check cannot miss it.
        @Test func aChangeWaitsForTheTransaction() async throws {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            let other = try await database.connect()
            for ddl in [
                "CREATE UNIQUE INDEX ON messages (name)", "ALTER TABLE messages ALTER name TYPE varchar(3)",
                "ALTER TABLE messages ADD CHECK (name <> '') NOT VALID", "ALTER TABLE messages ENABLE ROW LEVEL SECURITY",
                "CREATE TRIGGER x AFTER INSERT ON messages EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "CREATE RULE w AS ON UPDATE TO messages DO ALSO NOTHING", "ALTER TABLE messages RENAME TO former",
                "CREATE TABLE o (id int REFERENCES messages)",
            ] {
                // An event that changes no row locks the table as well.
                try await database.script("BEGIN; DELETE FROM messages WHERE message_id = 1")
                let error = await #expect(throws: PostgresError.self) {
                    try await other.perform { _ = try $0.executeScript("SET lock_timeout = '20ms'; \(ddl)") }
                }
                #expect(error?.sqlState == .lockNotAvailable, "\(ddl)")
                try await database.script("ROLLBACK")
            }
            // This one commits its first part and then waits: the index is in the catalog, and so is seen.
            try await database.script("BEGIN; DELETE FROM messages WHERE message_id = 1")
            async let index: Void = other.perform {
                _ = try $0.executeScript("CREATE UNIQUE INDEX CONCURRENTLY c ON messages (name)")
            }
            try await database.wait(until: "SELECT true FROM pg_index WHERE indexrelid = to_regclass('c')")
            #expect(try await database.connection.perform { try !writer.plan.isCurrent(on: $0) })
            try await database.script("COMMIT")
            try await index
        }

        /// No row statement, no plan: what cannot be decoded is written whatever has become of the table.
        @Test func faultsNeedNoTable() async throws {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            try await database.script("DROP TABLE messages")
            let outcome = try await database.apply(writer, [batch(.fault("missing_field"), .nothing)], claims)
            #expect(outcome.report?.deadLetters == ["decode:missing_field": 1], "\(outcome)")
        }

        /// Such an error would stop the partition.
        @Test(arguments: [
            "ALTER TABLE messages RENAME message TO text", "DROP TABLE messages",
            "CREATE RULE w AS ON INSERT TO messages DO ALSO NOTHING",
        ])
        func anErrorOfTheStatementsMayComeOfAChange(_ ddl: String) async throws {
            let database = try await TestDatabase.fresh(messages)
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            try await database.script(ddl)
            let outcome = try await database.apply(writer, [batch(message(.upsert, 1))], claims)
            #expect(outcome.word == "schema changed", "\(outcome)")
        }

        @Test func aSpuriousChangeKeepsTheStrategy() async throws {
            let database = try await TestDatabase.fresh(messages)
            let shape = messagesShape
            let plan = try await database.writer(shape).plan
            let (kept, fresh) = try await database.connection.perform { session in
                let kept = try WritePlan.checked(shape, unlessChanged: plan, on: session)
                try session.executeScript("ALTER TABLE messages ALTER name SET STATISTICS 7")
                return (kept, try WritePlan.checked(shape, unlessChanged: plan, on: session))
            }
            #expect(kept === plan)
            #expect(fresh !== plan && fresh.choice == plan.choice && fresh.schema.version != plan.schema.version)
        }
    }
}
