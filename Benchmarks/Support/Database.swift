// A database that the benchmark creates on the given server.

import Postgres
import SluiceTables

/// A database that is created for every run and dropped at the end. Nothing else on the server is changed.
struct BenchDatabase: Sendable {
    let server: String
    let name: String

    /// The connection string of the database itself. In libpq's strings the last word on a parameter counts.
    var uri: String {
        if server.hasPrefix("postgres://") || server.hasPrefix("postgresql://") {
            return server + (server.contains("?") ? "&" : "?") + "dbname=\(name)"
        }
        return server + " dbname=\(name)"
    }

    /// Makes the database, empty, with nothing left to be flushed by the server from what was before.
    func renew() async throws {
        try await Self.withSession(server) { session in
            try session.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
            try session.execute("CREATE DATABASE \(name)")
            try session.execute("CHECKPOINT")
        }
    }

    func drop() async throws {
        try await Self.withSession(server) { try $0.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)") }
    }

    /// Runs `body` on a connection of its own to the database.
    func withSession<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        try await Self.withSession(uri, body)
    }

    static func connect(_ uri: String) async throws -> PostgresConnection {
        var configuration = PostgresConfiguration(uri: uri)
        configuration.applicationName = "sluice-bench"
        // Making a database copies files, and a checkpoint of a busy server takes its time.
        configuration.statementTimeout = .seconds(300)
        return try await PostgresConnection.connect(configuration)
    }

    @discardableResult
    private static func withSession<R: Sendable>(
        _ uri: String, _ body: @Sendable @escaping (PostgresSession) throws -> R
    ) async throws -> R {
        let connection = try await connect(uri)
        let result: Result<R, any Error>
        do { result = .success(try await connection.perform(body)) } catch { result = .failure(error) }
        await connection.close()
        return try result.get()
    }

    /// The table that the worker writes, in the state of the example's migrations, by default without the triggers of change capture.
    func migrate(capturesChanges: Bool = false) async throws {
        let migrations = try Migrations.load(directory: "examples/messages/migrations")
        try await withSession { session in
            try MigrationRunner().apply(session, [OwnSchema.migrations, .files(migrations)])
            if capturesChanges { return }
            for verb in ["insert", "update", "delete"] {
                try session.execute("DROP TRIGGER messages_capture_\(verb) ON messages")
            }
        }
    }
}
