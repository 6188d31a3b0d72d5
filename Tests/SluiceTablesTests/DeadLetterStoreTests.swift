// Proves that a group's oldest dead letters are deleted in batches, by one worker at a time, without waiting: on a real PostgreSQL.

import Postgres
import SluiceTables
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct DeadLetterStoreTests {
    @Test func theOldestRowsOfTheGroupAreDeletedInBatches() async throws {
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        let other = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        let store = DeadLetterStore(group: "g", batch: 7)
        try await connection.perform { session in
            // Row n of each group is n hours old.
            try session.execute(
                """
                INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", reason, failed_at)
                SELECT g, 't', 0, n, 'r', now() - interval '1 hour' * n
                FROM unnest(ARRAY['g', 'other']) g, generate_series(1, 50) n
                """)
            #expect(try store.count(on: session) == 50)
            #expect(try store.delete(beyond: .init(), on: session) == 0)
            #expect(try store.delete(beyond: .init(age: .seconds(40 * 3600 + 1800)), on: session) == 10)
            #expect(try store.delete(beyond: .init(rows: 40), on: session) == 0)
            #expect(try store.delete(beyond: .init(rows: 17), on: session) == 23)
            let oldest = try session.execute("SELECT max(\"offset\") FROM sluice_dead_letters WHERE consumer_group = 'g'")
            #expect(try oldest.int64(0, 0) == 17)
            #expect(try store.delete(beyond: .init(age: .seconds(16 * 3600 + 1800), rows: 15), on: session) == 2)
            #expect(try store.count(on: session) == 15)
            #expect(try DeadLetterStore(group: "other").count(on: session) == 50, "another group's rows are not ours")
        }
        // While another worker deletes, nothing.
        try await other.perform { try $0.execute("SELECT pg_advisory_lock(\(0x736c_444c), hashtext('g'))") }
        #expect(try await connection.perform { try store.delete(beyond: .init(rows: 1), on: $0) } == 0)
        // While a lane has a row, all but that.
        try await other.perform { session in
            try session.execute("SELECT pg_advisory_unlock_all()")
            try session.execute("BEGIN")
            try session.execute("UPDATE sluice_dead_letters SET attempts = 2 WHERE \"offset\" = 1 AND consumer_group = 'g'")
        }
        #expect(try await connection.perform { try store.delete(beyond: .init(age: .seconds(60)), on: $0) } == 14)
        try await other.perform { try $0.rollback() }
        #expect(try await connection.perform { try store.delete(beyond: .init(age: .milliseconds(1)), on: $0) } == 1)
        await other.close()
        await connection.close()
    }
}
