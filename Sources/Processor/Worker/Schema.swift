// Brings the database's schema up to date, or says what is missing.

import Postgres
import Telemetry

enum Schema {
    /// Applies what is pending. Answers the names of what was applied.
    static func migrate(_ settings: PostgresSettings, logger: Logger) async throws -> [String] {
        let migrations = try Migrations.load(directory: settings.migrations)
        return try await withConnection(settings, logger) { session in
            try MigrationRunner(log: logger.postgres).apply(session, migrations).map(\.file)
        }
    }

    /// The names of what is pending.
    static func pending(_ settings: PostgresSettings, logger: Logger) async throws -> [String] {
        let migrations = try Migrations.load(directory: settings.migrations)
        return try await withConnection(settings, logger) { session in
            try MigrationRunner(log: logger.postgres).pending(session, migrations).map(\.file)
        }
    }

    private static func withConnection<R: Sendable>(
        _ settings: PostgresSettings, _ logger: Logger, _ body: @Sendable @escaping (PostgresSession) throws -> R
    ) async throws -> R {
        let connection = try await PostgresConnection.connect(
            settings.connection(name: "sluice migrations"), log: logger.postgres)
        let result: Result<R, any Error>
        do { result = .success(try await connection.perform(body)) } catch { result = .failure(error) }
        await connection.close()
        return try result.get()
    }
}
