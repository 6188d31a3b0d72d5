// Brings a database's schema up to date, or says which migrations it lacks.

public import Postgres
public import Telemetry

/// Sluice's own tables, and after them what the migration files of a directory describe; an empty name is no directory, and then
/// `sluice_migrations` is not read. Each call connects, does its work and disconnects.
public enum Schema {
    /// Applies the pending migrations, Sluice's own first. Returns their names.
    /// - Parameter applied: is told each migration once it is durable.
    public static func migrate(
        _ directory: String, _ configuration: PostgresConfiguration, log: @escaping LogHandler,
        applied: @escaping @Sendable (Migration) -> Void
    ) async throws -> [String] {
        let sets = try sets(directory)
        return try await PostgresConnection.connect(configuration, log: log).performLast { session in
            try MigrationRunner(applied: applied).apply(session, sets).map(\.file)
        }
    }

    /// The names of the pending migrations, Sluice's own first.
    public static func pending(
        _ directory: String, _ configuration: PostgresConfiguration, log: @escaping LogHandler
    ) async throws -> [String] {
        let sets = try sets(directory)
        return try await PostgresConnection.connect(configuration, log: log).performLast { session in
            try MigrationRunner().pending(session, sets).map(\.file)
        }
    }

    /// Whether a migration of this name is Sluice's own.
    public static func isOwn(_ name: String) -> Bool { OwnSchema.migrations.migrations.contains { $0.file == name } }

    private static func sets(_ directory: String) throws(MigrationError) -> [MigrationSet] {
        guard !directory.isEmpty else { return [OwnSchema.migrations] }
        let files = try Migrations.load(directory: directory, retired: OwnSchema.formerFiles)
        return [OwnSchema.migrations, .files(files, retired: OwnSchema.formerFiles)]
    }
}
