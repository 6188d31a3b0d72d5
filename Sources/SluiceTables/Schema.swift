// Brings a database's schema up to date, or says which migrations it lacks.

public import Postgres
public import Telemetry

/// The schema that the migration files of a directory describe. Each call connects, does its work and disconnects.
public enum Schema {
    /// Applies the pending migrations. Returns their file names.
    /// - Parameter applied: is told each migration once it is durable.
    public static func migrate(
        _ directory: String, _ configuration: PostgresConfiguration, log: @escaping LogHandler,
        applied: @escaping @Sendable (Migration) -> Void
    ) async throws -> [String] {
        let migrations = try Migrations.load(directory: directory)
        return try await withConnection(configuration, log) { session in
            try MigrationRunner(applied: applied).apply(session, migrations).map(\.file)
        }
    }

    /// The file names of the pending migrations.
    public static func pending(
        _ directory: String, _ configuration: PostgresConfiguration, log: @escaping LogHandler
    ) async throws -> [String] {
        let migrations = try Migrations.load(directory: directory)
        return try await withConnection(configuration, log) { session in
            try MigrationRunner().pending(session, migrations).map(\.file)
        }
    }

    private static func withConnection<R: Sendable>(
        _ configuration: PostgresConfiguration, _ log: @escaping LogHandler,
        _ body: @Sendable @escaping (PostgresSession) throws -> R
    ) async throws -> R {
        let connection = try await PostgresConnection.connect(configuration, log: log)
        let result: Result<R, any Error>
        do { result = .success(try await connection.perform(body)) } catch { result = .failure(error) }
        await connection.close()
        return try result.get()
    }
}
