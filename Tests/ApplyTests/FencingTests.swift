// Who may write: claims, zombies, replays and answers that were lost.

import Postgres
import Records
import Testing

@testable import Apply
@testable import SluiceTables

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

extension ServerTests {
    @Suite struct FencingTests {
        private func database() async throws -> TestDatabase { try await TestDatabase.fresh(TestDatabase.migration("0001")) }

        private func batch(_ source: TopicPartition, _ ids: ClosedRange<Int>, name: String = "n") -> ChangeBatch {
            changeBatch(source, from: 0, ids.map { message(.upsert, $0, name) }, shape: messagesShape)
        }

        @Test func aClaimRaisesTheEpochAndKeepsTheOffset() async throws {
            let database = try await database()
            let first = try await database.claim(p0, p1)
            #expect(first.map(\.epoch) == [1, 1])
            let writer = try await database.writer(messagesShape)
            #expect(try await database.apply(writer, [batch(p1, 1...3)], first).report?.rows == 3)
            let again = try await database.connection.perform { session in
                try OffsetStore(group: "g").claim([(p1, 77), (p0, 77), (TopicPartition("u", 0), 77)], member: "n", on: session)
            }
            let sorted = again.sorted { $0.source < $1.source }
            #expect(sorted.map(\.nextOffset) == [0, 5, 77])
            #expect(sorted.map(\.epoch) == [2, 2, 1])
            let stored = try await database.connection.perform { try OffsetStore(group: "g").read([p0, p1], on: $0) }
            #expect(stored.map(\.member) == ["n", "n"])
            try await database.connection.perform { session in
                try OffsetStore(group: "g").move([(p1, from: 5, to: 2)], member: "operator", on: session)
            }
            let reset = try await database.connection.perform { try OffsetStore(group: "g").read([p1], on: $0) }
            #expect(reset == [StoredOffset(source: p1, epoch: 3, nextOffset: 2, member: "operator")])
            #expect(try await database.apply(writer, [batch(p1, 4...6)], sorted).fenced == [p1])
        }

        /// With each transaction the record before the next offset is remembered, as long as nobody moves the offset.
        @Test func theRecordAppliedLastIsRemembered() async throws {
            let database = try await database()
            let claims = try await database.claim(p0, p1)
            #expect(claims.allSatisfy { $0.lastApplied == nil })
            let writer = try await database.writer(messagesShape)
            func reclaimed() async throws -> [PartitionClaim] {
                try await database.claim(p0, p1).sorted { $0.source < $1.source }
            }
            func fingerprint(_ batch: ChangeBatch, _ record: Int) -> Int64 {
                batch.records.fingerprint(of: batch.records.records[record])
            }
            let (a, b) = (batch(p0, 1...5), batch(p0, 6...8))
            // Of several batches the last one, and of a part its last record.
            let half = BatchSlice(b, records: 0..<2)
            let transaction = try writer.prepare([BatchSlice(a), half], claims: claims)
            #expect(transaction.advances.map(\.lastApplied) == [fingerprint(b, 1)])
            _ = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            var now = try await reclaimed()
            #expect(now.map(\.lastApplied) == [fingerprint(b, 1), nil])
            let stored = try await database.connection.perform { try OffsetStore(group: "g").read([p0, p1], on: $0) }
            #expect(stored.map(\.lastApplied) == [fingerprint(b, 1), nil])

            // An operator has moved the offset, or a worker of an older version, which knows nothing of the record.
            let before = now[0].nextOffset
            _ = try await database.rows("UPDATE sluice_offsets SET next_offset = next_offset - 1 RETURNING 'x'")
            #expect(try await reclaimed().map(\.lastApplied) == [nil, nil])
            _ = try await database.rows("UPDATE sluice_offsets SET next_offset = next_offset + 1 RETURNING 'x'")
            now = try await reclaimed()
            #expect(now.map(\.lastApplied) == [fingerprint(b, 1), nil])
            _ = try await database.rows(
                """
                SELECT sluice_advance('g', ARRAY['t'], ARRAY[0], ARRAY[\(now[0].epoch)]::bigint[], ARRAY[\(before)]::bigint[],
                  ARRAY[\(before + 1)]::bigint[])::text
                """)
            now = try await reclaimed()
            #expect(now[0].nextOffset == before + 1 && now[0].lastApplied == nil)

            // A decision to start elsewhere, or at the same place without the record.
            _ = try await database.rows(
                "UPDATE sluice_offsets SET last_offset = next_offset - 1 WHERE partition = 0 RETURNING 'x'")
            #expect(try await reclaimed()[0].lastApplied != nil)
            try await database.connection.perform { session in
                try OffsetStore(group: "g").move([(p0, from: before + 1, to: before + 1)], member: "m", on: session)
            }
            #expect(try await reclaimed()[0].lastApplied == nil)
        }

        @Test func aPartitionThatMovedMeanwhileIsNotMovedBack() async throws {
            let database = try await database()
            let claims = try await database.claim(p0, p1)
            let writer = try await database.writer(messagesShape)
            // Somebody has read 0 for both; then an owner commits p1, and only then is the decision carried out.
            #expect(try await database.apply(writer, [batch(p1, 1...3)], claims).report?.rows == 3)
            try await database.connection.perform { session in
                try OffsetStore(group: "g").move([(p0, from: 0, to: 2), (p1, from: 0, to: 2)], member: "late", on: session)
            }
            let stored = try await database.connection.perform { try OffsetStore(group: "g").read([p0, p1], on: $0) }
            #expect(stored[0] == StoredOffset(source: p0, epoch: 2, nextOffset: 2, member: "late"))
            #expect(stored[1].nextOffset == claims[1].nextOffset + 5, "what was committed would be applied twice")
            #expect(stored[1].epoch == 1)
        }

        @Test func aZombieWritesNothing() async throws {
            let database = try await database()
            let writer = try await database.writer(messagesShape)
            let old = try await database.claim(p0, p1)
            let new = try await database.claim(p0, member: "other")
            let outcome = try await database.apply(writer, [batch(p0, 1...5), batch(p1, 6...9)], old)
            #expect(outcome.fenced == [p0])
            #expect(try await database.rows("SELECT message_id::text FROM messages") == [])
            #expect(try await database.apply(writer, [batch(p1, 6...9)], old).report?.rows == 4)
            #expect(try await database.apply(writer, [batch(p0, 1...5)], new).report?.rows == 5)
        }

        /// The successor's claim is not committed yet while the zombie comes: it waits for the row, then finds itself fenced.
        @Test func aZombieThatWaitedWritesNothing() async throws {
            let database = try await database()
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let successor = try await database.connect()
            _ = try await successor.perform { try $0.executeScript("BEGIN; UPDATE sluice_offsets SET epoch = epoch + 1") }
            let zombie = try await database.connect()
            let transaction = try writer.prepare([batch(p0, 1...5)], claims: claims)
            async let outcome = zombie.perform { writer.execute(transaction, on: $0, now: 0) }
            try await database.wait(
                until: "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = \(zombie.backendPID)")
            try await successor.perform { try $0.commit() }
            #expect(try await outcome.fenced == [p0])
            #expect(try await database.rows("SELECT message_id::text FROM messages") == [])
        }

        /// An owner that stands still inside of a transaction holds its row; the claimer ends it, and nobody else.
        @Test func aStalledOwnerIsEnded() async throws {
            let database = try await database()
            let owner = try await database.connect()
            let bystander = try await database.connect()
            _ = try await owner.perform { try OffsetStore(group: "g").claim([(p0, 0)], member: "old", on: $0) }
            _ = try await owner.perform { try $0.executeScript("BEGIN; UPDATE sluice_offsets SET next_offset = 10") }
            let claims = try await database.connection.perform { session in
                var store = OffsetStore(group: "g")
                store.lockTimeout = .milliseconds(100)
                return try store.claim([(p0, 0)], member: "new", on: session)
            }
            #expect(claims == [PartitionClaim(source: p0, epoch: 2, nextOffset: 0)])
            await #expect(throws: PostgresError.self) { try await owner.perform { _ = try $0.execute("SELECT 1") } }
            try await bystander.perform { _ = try $0.execute("SELECT 1") }
        }

        /// A holder that is not the recorded one is left alone, and the claim says why it failed.
        @Test func aStrangerIsNotEnded() async throws {
            let database = try await database()
            _ = try await database.claim(p0)
            let stranger = try await database.connect()
            _ = try await stranger.perform { try $0.executeScript("BEGIN; UPDATE sluice_offsets SET next_offset = 10") }
            let error = await #expect(throws: PostgresError.self) {
                try await database.connection.perform { session in
                    var store = OffsetStore(group: "g")
                    store.lockTimeout = .milliseconds(50)
                    _ = try store.claim([(p0, 0)], member: "new", on: session)
                }
            }
            #expect(error?.sqlState == .lockNotAvailable)
            try await stranger.perform { try $0.commit() }
        }

        @Test func theSameTransactionTwiceIsAppliedOnce() async throws {
            let database = try await database()
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let transaction = try writer.prepare([batch(p0, 1...5)], claims: claims)
            let first = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(first.report?.wasAlreadyApplied == false)
            try await database.script("UPDATE messages SET name = 'changed since'")
            let second = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(second.report?.wasAlreadyApplied == true)
            #expect(try await database.rows("SELECT DISTINCT name FROM messages") == ["changed since"])
            let state = try await database.connection.perform { try writer.settle(transaction.advances, on: $0) }
            #expect(state == [p0: .committed])
            _ = try await database.claim(p0)
            #expect(try await database.connection.perform { try writer.settle(transaction.advances, on: $0) } == [p0: .fenced])
        }

        /// The session is ended in the middle of the transaction: nobody knows, the table is asked, the events are applied again.
        @Test func aLostAnswerIsResolved() async throws {
            let database = try await TestDatabase.fresh(
                TestDatabase.migration("0001") + """
                    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      IF NEW.name = 'slow' AND current_setting('application_name') = 'victim' THEN PERFORM pg_sleep(60); END IF;
                      RETURN NULL; END $$;
                    CREATE TRIGGER slow AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION slow();
                    """)
            let writer = try await database.writer(messagesShape)
            let victim = try await database.connect { $0.applicationName = "victim" }
            let claims = try await victim.perform { try OffsetStore(group: "g").claim([(p0, 0)], member: "m", on: $0) }
            let transaction = try writer.prepare([batch(p0, 1...5, name: "slow")], claims: claims)
            async let outcome = victim.perform { writer.execute(transaction, on: $0, now: 0) }
            try await database.wait(until: "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = \(victim.backendPID)")
            // As after a broken network: the client is gone, the server's side is still in the middle of it and holds the row.
            victim.abandon()
            #expect(try await outcome.isLost)
            let again = try await database.connect()
            #expect(try await again.perform { try writer.settle(transaction.advances, on: $0) } == [p0: .notCommitted])
            // It has been ended; its entry goes a moment after its locks.
            try await database.wait(until: "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = \(victim.backendPID)")
            #expect(try await again.perform { writer.execute(transaction, on: $0, now: 0) }.report?.rows == 5)
            #expect(try await again.perform { try writer.settle(transaction.advances, on: $0) } == [p0: .committed])
        }

        @Test func aTerminatedSessionIsLostNotRefused() async throws {
            let database = try await database()
            let writer = try await database.writer(messagesShape)
            let claims = try await database.claim(p0)
            let victim = try await database.connect()
            let blocker = try await database.connect()
            _ = try await blocker.perform { try $0.executeScript("BEGIN; LOCK messages") }
            let transaction = try writer.prepare([batch(p0, 1...5)], claims: claims)
            async let outcome = victim.perform { writer.execute(transaction, on: $0, now: 0) }
            try await database.wait(
                until: "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = \(victim.backendPID)")
            try await database.script("SELECT pg_terminate_backend(\(victim.backendPID))")
            #expect(try await outcome.isLost)
            try await blocker.perform { try $0.rollback() }
            #expect(try await database.deadLetterCount() == 0)
            #expect(
                try await database.connection.perform { try writer.settle(transaction.advances, on: $0) } == [p0: .notCommitted])
        }
    }
}
