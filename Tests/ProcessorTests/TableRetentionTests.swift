// Proves that a worker counts its group's dead letters, and deletes these and tombstones beyond the limits in force: on a real
// PostgreSQL.

import Postgres
import SluiceTables
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct TableRetentionTests {
    @Test func changedLimitsHoldFromTheNextTimeOn() async throws {
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        _ = try await connection.perform { session in
            try session.execute(
                """
                INSERT INTO sluice_dead_letters (consumer_group, topic, partition, "offset", reason, failed_at)
                SELECT 'g', 't', 0, n, 'r', now() - interval '1 hour' * n FROM generate_series(1, 9) n
                """)
        }
        var settings = PostgresSettings()
        settings.uri = uri
        let rows = MetricsRegistry().gauge("sluice_dead_letter_rows", help: "Rows.")
        let retention = TableRetention(
            group: "g", tombstones: TombstoneStore(tables: []), SluiceSettings(),
            configuration: settings.connection(name: "test"), interval: .milliseconds(20),
            rows: rows, logger: .silent)
        let running = Task { try await retention.run() }
        #expect(await eventually { rows.value == 9 })
        var limits = SluiceSettings()
        limits.deadLetters.keepRows = 6
        retention.update(limits)
        #expect(await eventually { rows.value == 6 })
        limits.deadLetters.keepFor = .seconds(2 * 3600 + 60)
        retention.update(limits)
        #expect(await eventually { rows.value == 2 })
        // A table that is missing for a while is not the end.
        _ = try await connection.perform { try $0.executeScript("ALTER TABLE sluice_dead_letters RENAME TO away") }
        try await Task.sleep(for: .milliseconds(100))
        _ = try await connection.perform { session in
            try session.executeScript("DELETE FROM away; ALTER TABLE away RENAME TO sluice_dead_letters")
        }
        #expect(await eventually { rows.value == 0 })
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        await connection.close()
    }

    /// Those of the tables of the worker's own mappings; how long others keep theirs is theirs to say.
    @Test func tombstonesGoAfterTheirTime() async throws {
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        _ = try await connection.perform { session in
            try session.executeScript(
                """
                CREATE TABLE "Two words" (id int PRIMARY KEY);
                INSERT INTO sluice_tombstones (relation, key, version, deleted_at)
                SELECT relation, int4send(n), n, now() - interval '1 day' * n
                FROM unnest(ARRAY['public.messages', 'public."Two words"', 'public.other']) relation, generate_series(1, 9) n
                """)
        }
        var settings = PostgresSettings()
        settings.uri = uri
        let retention = TableRetention(
            group: "g", tombstones: TombstoneStore(tables: [("public", "messages"), (nil, "Two words"), (nil, "gone")]),
            SluiceSettings(), configuration: settings.connection(name: "test"), interval: .milliseconds(20),
            rows: MetricsRegistry().gauge("sluice_dead_letter_rows", help: "Rows."), logger: .silent)
        let running = Task { try await retention.run() }
        func left() async throws -> String {
            try await connection.perform { session in
                let sql = """
                    SELECT string_agg(n::text, ' ' ORDER BY relation) FROM
                    (SELECT relation, count(*) AS n FROM sluice_tombstones GROUP BY 1) AS r
                    """
                return try session.execute(sql).text(0, 0)
            }
        }
        func waits(for wanted: String) async throws {
            let deadline = ContinuousClock.now + .seconds(10)
            while try await left() != wanted, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
            #expect(try await left() == wanted)
        }
        // By default seven days; the seventh row is a moment older.
        try await waits(for: "6 6 9")
        var limits = SluiceSettings()
        limits.tombstones.keepFor = .seconds(2 * 86_400 + 60)
        retention.update(limits)
        try await waits(for: "2 2 9")
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        await connection.close()
    }
}
