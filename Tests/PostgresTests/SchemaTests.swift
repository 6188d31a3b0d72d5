// What the project's own SQL promises: capture in event order, and a fence that nothing gets past.

import Postgres
import TestSupport
import Testing

@Suite("Schema", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct SchemaTests {
    private let captured = """
        SELECT message_id || ' ' || operation_type || ' ' || coalesce(name_before, '-') || ' ' || coalesce(message_before, '-')
            || ' ' || coalesce(name_after, '-') || ' ' || coalesce(message_after, '-')
        FROM messages_cdc ORDER BY message_id, cdc_id
        """

    private func lines(_ session: PostgresSession, _ sql: String) throws -> [String] {
        let rows = try session.execute(sql)
        return try (0..<rows.rowCount).map { try rows.text($0, 0) }
    }

    @Test("Every change is captured once, in the order of its key, an update that changes nothing included")
    func capture() async throws {
        let connection = try await connect(try await TestPostgres.database(migrated: true))
        let captured = captured
        let found = try await connection.perform { session in
            try session.execute("INSERT INTO messages (message_id, name, message) VALUES (1, 'a', 'x'), (2, 'b', 'y')")
            try session.execute("INSERT INTO messages VALUES (1, 'a', 'z') ON CONFLICT DO NOTHING")
            try session.execute(
                """
                INSERT INTO messages (message_id, name, message) VALUES (1, 'a2', 'x2'), (3, 'c', 'w')
                ON CONFLICT (message_id) DO UPDATE SET name = EXCLUDED.name, message = EXCLUDED.message
                """)
            try session.execute("UPDATE messages SET name = name WHERE message_id = 2")
            try session.execute("UPDATE messages SET name = 'q' WHERE message_id = 99")
            try session.execute("DELETE FROM messages WHERE message_id IN (1, 99)")
            return try lines(session, captured)
        }
        #expect(
            found == [
                "1 INSERT - - a x", "1 UPDATE a x a2 x2", "1 DELETE a2 x2 - -", "2 INSERT - - b y", "2 UPDATE b y b y",
                "3 INSERT - - c w",
            ])
        await connection.close()
    }

    @Test("A statement that changes keys loses nothing")
    func keyChange() async throws {
        let connection = try await connect(try await TestPostgres.database(migrated: true))
        let captured = captured
        let found = try await connection.perform { session in
            try session.execute("INSERT INTO messages (message_id, name, message) VALUES (1, 'a', 'x'), (2, 'b', 'y')")
            try session.execute("TRUNCATE messages_cdc")
            try session.execute("UPDATE messages SET message_id = message_id + 1 WHERE message_id = 2")
            try session.execute("UPDATE messages SET message_id = message_id + 1 WHERE message_id = 1")
            return try lines(session, captured)
        }
        #expect(found == ["1 DELETE a x - -", "2 DELETE b y - -", "2 INSERT - - a x", "3 INSERT - - b y"])
        await connection.close()
    }

    @Test("A large update in a session whose plans were made for a small one is not a nested loop")
    func plan() async throws {
        let connection = try await connect(try await TestPostgres.database(migrated: true))
        try await connection.perform { session in
            try session.execute("INSERT INTO messages SELECT i, 'n', 'm' FROM generate_series(1, 20000) i")
            for key in 1...6 { try session.execute("UPDATE messages SET name = 'o' WHERE message_id = \(key)") }
            // As a nested loop this takes half a minute (20,000 × 20,000 comparisons), else a quarter of a second.
            try session.execute("SET statement_timeout = '8s'")
            try session.execute("UPDATE messages SET name = 'p'")
            let updates = try session.execute("SELECT count(*) FROM messages_cdc WHERE operation_type = 'UPDATE'").int64(0, 0)
            #expect(updates == 20_006)
        }
        await connection.close()
    }

    // MARK: The fence

    /// Two partitions at offset 10, epoch 3.
    private func fencedDatabase() async throws -> String {
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await connect(uri)
        try await connection.perform { session in
            try session.execute(
                """
                INSERT INTO sluice_offsets (consumer_group, topic, partition, next_offset, epoch, member)
                SELECT g, 't', p, 10, 3, 'm' FROM unnest(ARRAY['g', 'other']) g, generate_series(0, 2) p
                """)
        }
        await connection.close()
        return uri
    }

    private func advance(_ partitions: String, epochs: String, expected: String, next: String) -> String {
        "SELECT sluice_advance('g', (SELECT array_agg('t'::text) FROM unnest(ARRAY[\(partitions)])), ARRAY[\(partitions)], "
            + "ARRAY[\(epochs)]::bigint[], ARRAY[\(expected)]::bigint[], ARRAY[\(next)]::bigint[])"
    }

    private let offsets = "SELECT consumer_group || partition || ':' || next_offset FROM sluice_offsets ORDER BY 1"

    @Test("Partitions advance together, each from where it is expected")
    func advances() async throws {
        let connection = try await connect(try await fencedDatabase())
        let statement = advance("2, 0", epochs: "3, 3", expected: "10, 10", next: "25, 12")
        let offsets = offsets
        let found = try await connection.perform { session in
            try session.execute(statement)
            return try lines(session, offsets)
        }
        #expect(found == ["g0:12", "g1:10", "g2:25", "other0:10", "other1:10", "other2:10"])
        await connection.close()
    }

    @Test("A wrong epoch, a replay, an unknown partition, one named twice and uneven arrays are SL001 and move nothing")
    func fences() async throws {
        let connection = try await connect(try await fencedDatabase())
        let statements = [
            advance("0, 1", epochs: "3, 2", expected: "10, 10", next: "11, 11"),
            advance("0, 1", epochs: "3, 3", expected: "10, 9", next: "11, 11"),
            advance("0, 7", epochs: "3, 3", expected: "10, 10", next: "11, 11"),
            advance("0, 0", epochs: "3, 3", expected: "10, 10", next: "11, 12"),
            advance("0, 1", epochs: "3", expected: "10, 10", next: "11, 11"),
        ]
        let offsets = offsets
        try await connection.perform { session in
            let before = try lines(session, offsets)
            for statement in statements {
                let error = try #require(postgresError { try session.execute(statement) })
                #expect(error.sqlState == .fenced && error.message.contains("1 of 2"), "\(statement)")
            }
            #expect(try lines(session, offsets) == before)
        }
        await connection.close()
    }

    @Test("In a pipelined transaction the fence undoes the rows beside it")
    func undoes() async throws {
        let connection = try await connect(try await fencedDatabase())
        let stale = advance("0", epochs: "2", expected: "10", next: "11")
        try await connection.perform { session in
            let error = postgresError {
                try session.pipeline { pipeline in
                    try pipeline.execute("BEGIN")
                    try pipeline.execute("INSERT INTO messages (message_id, name, message) VALUES (1, 'a', 'x')")
                    try pipeline.execute(stale)
                    try pipeline.execute("COMMIT")
                }
            }
            #expect(error?.sqlState == .fenced && error?.commandIndex == 2)
            try session.rollback()
            #expect(try session.execute("SELECT count(*) FROM messages").int64(0, 0) == 0)
        }
        await connection.close()
    }

    @Test("A zombie that waits for the row's lock while it is fenced writes nothing")
    func zombie() async throws {
        let uri = try await fencedDatabase()
        let (owner, zombie, observer) = (try await connect(uri), try await connect(uri), try await connect(uri))
        try await owner.perform { session in
            try session.execute("BEGIN")
            try session.execute("UPDATE sluice_offsets SET epoch = 4 WHERE consumer_group = 'g' AND partition = 0")
        }
        let stale = advance("0, 1", epochs: "3, 3", expected: "10, 10", next: "11, 11")
        let late = Task { await postgresError { try await zombie.perform { try $0.execute(stale) } } }
        #expect(try await waitUntilBlocked(zombie.backendPID, seenBy: observer))
        try await owner.perform { try $0.commit() }
        #expect(await late.value?.sqlState == .fenced)
        let offsets = offsets
        let found = try await observer.perform { try lines($0, offsets) }
        #expect(found.prefix(3) == ["g0:10", "g1:10", "g2:10"])
        for connection in [owner, zombie, observer] { await connection.close() }
    }

    @Test("Overlapping callers that name their partitions in opposite order do not dead-lock")
    func lockOrder() async throws {
        let uri = try await fencedDatabase()
        let up = advance("0, 1, 2", epochs: "3, 3, 3", expected: "10, 10, 10", next: "10, 10, 10")
        let down = advance("2, 1, 0", epochs: "3, 3, 3", expected: "10, 10, 10", next: "10, 10, 10")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for statement in [up, down] {
                group.addTask {
                    let connection = try await connect(uri)
                    try await connection.perform { session in
                        for _ in 0..<300 { try session.execute(statement) }
                    }
                    await connection.close()
                }
            }
            try await group.waitForAll()
        }
    }
}
