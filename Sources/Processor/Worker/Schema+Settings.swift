// Calls the schema's migrations with the settings of the program.

import Postgres
import SluiceTables
import Telemetry

extension Schema {
    /// Applies what is pending. Returns the names of the files that were applied.
    static func migrate(_ settings: PostgresSettings, logger: Logger) async throws -> [String] {
        try await migrate(settings.migrations, connection(settings), log: logger.postgres) { migration in
            logger.info("Migration applied.", ["file": migration.file])
        }
    }

    /// The names of the files that are pending.
    static func pending(_ settings: PostgresSettings, logger: Logger) async throws -> [String] {
        try await pending(settings.migrations, connection(settings), log: logger.postgres)
    }

    private static func connection(_ settings: PostgresSettings) -> PostgresConfiguration {
        settings.connection(name: "sluice migrations")
    }
}
