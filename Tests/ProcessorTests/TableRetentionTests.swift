// Proves that a worker counts its group's dead letters, and deletes those beyond the limits in force: on a real PostgreSQL.

import Postgres
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct DeadLetterRetentionTests {
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
        let retention = DeadLetterRetention(
            group: "g", DeadLetterSettings(), configuration: settings.connection(name: "test"), interval: .milliseconds(20),
            rows: rows, logger: .silent)
        let running = Task { try await retention.run() }
        #expect(await eventually { rows.value == 9 })
        var limits = DeadLetterSettings()
        limits.keepRows = 6
        retention.update(limits)
        #expect(await eventually { rows.value == 6 })
        limits.keepFor = .seconds(2 * 3600 + 60)
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
}
