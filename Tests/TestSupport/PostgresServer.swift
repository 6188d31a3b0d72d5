// The PostgreSQL server of the tests: the one the environment names, or a private one.

public import Foundation
internal import Glibc
public import Postgres
internal import SluiceTables
internal import Synchronization

/// The server of this test process, found or started at first use.
///
/// `SLUICE_TEST_POSTGRES_URI` names one (its role must be allowed to create databases); without it `scripts/private-postgres` starts
/// one under `.sluice/` of the checkout, which ends with the process.
public actor TestPostgres {
    /// The server of this process.
    public static let shared = TestPostgres()

    /// Why there is no server.
    public struct Unavailable: Error, CustomStringConvertible {
        /// One sentence.
        public let description: String
    }

    /// The checkout these tests were built from.
    public static let checkout = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The migrations of the example that the shipped configuration runs.
    public static var migrations: String { checkout.appendingPathComponent("examples/messages/migrations").path }

    /// What a worker with the shipped configuration applies: Sluice's own tables, and those of the example.
    public static func migrationSets() throws -> [MigrationSet] {
        [OwnSchema.migrations, .files(try Migrations.load(directory: migrations))]
    }

    /// Whether there is a server, for `@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable })`. Prints the reason, once.
    public static var isAvailable: Bool {
        get async {
            do {
                _ = try await shared.serverURI()
                return true
            } catch {
                return false
            }
        }
    }

    /// The server's own database, for tests that leave nothing behind but temporary tables.
    public static func uri() async throws -> String { try await shared.serverURI() }

    /// Makes a database of its own for one test, with ``migrationSets()`` applied if asked for, and returns its URI.
    /// - Parameter options: of CREATE DATABASE.
    public static func database(migrated: Bool = false, options: String = "") async throws -> String {
        let server = try await shared.serverURI()
        let name = "test_" + UUID().uuidString.prefix(13).lowercased().replacingOccurrences(of: "-", with: "_")
        if await !shared.isPrivate { made.withLock { $0.append(name) } }
        let admin = try await PostgresConnection.connect(PostgresConfiguration(uri: server))
        try await admin.perform { session in
            try session.execute("CREATE DATABASE \(name) \(options)")
        }
        await admin.close()
        guard var parts = URLComponents(string: server) else {
            throw Unavailable(description: "SLUICE_TEST_POSTGRES_URI must be a postgres:// URI")
        }
        parts.path = "/" + name
        let uri = parts.string ?? server
        if migrated {
            let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
            try await connection.perform { session in
                try MigrationRunner().apply(session, migrationSets())
            }
            await connection.close()
        }
        return uri
    }

    private var server: Task<String, any Error>?
    /// The server ends with this process, and its databases with it.
    private var isPrivate: Bool { Self.named == nil }

    private static var named: String? {
        ProcessInfo.processInfo.environment["SLUICE_TEST_POSTGRES_URI"].flatMap { $0.isEmpty ? nil : $0 }
    }

    private func serverURI() async throws -> String {
        if let server { return try await server.value }
        let task = Task { try await Self.findServer() }
        server = task
        do {
            return try await task.value
        } catch {
            print("SKIPPED: tests that need PostgreSQL: \(error)")
            throw error
        }
    }

    private static func findServer() async throws -> String {
        if let uri = named {
            // Handlers run in the reverse of their order. OpenSSL registers its own, after which no password can be checked any
            // more, at first use: let that be before ours.
            await (try PostgresConnection.connect(PostgresConfiguration(uri: uri))).close()
            atexit { TestPostgres.dropDatabases() }
            return uri
        }
        let pid = getpid()
        let directory = checkout.appendingPathComponent(".sluice/test-postgres-\(pid)").path
        let started = try await PostgresScript.run(["start", directory, "--temporary", "--owner-pid", "\(pid)"])
        guard started.status == 0 else { throw Unavailable(description: started.errors) }
        stopAtExit(PostgresScript.url.path, directory)
        return started.output
    }

    // MARK: The end of the process

    private static let running = Mutex<(script: String, directory: String)?>(nil)

    private static let made = Mutex<[String]>([])

    /// Drops our databases on a server that is not ours, and prints those it could not drop.
    private static func dropDatabases() {
        guard let uri = named else { return }
        let names = made.withLock { $0 }
        let done = DispatchSemaphore(value: 0)
        Task.detached {
            defer { done.signal() }
            do {
                let admin = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
                try await admin.perform { session in
                    for name in names { try session.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)") }
                }
                await admin.close()
            } catch {
                print("databases left behind: \(names.joined(separator: ", ")): \(error)")
            }
        }
        if done.wait(timeout: .now() + 120) == .timedOut { print("databases left behind: \(names.joined(separator: ", "))") }
    }

    /// The script's watchdog would stop the server within a second; this stops it before the process ends.
    private static func stopAtExit(_ script: String, _ directory: String) {
        running.withLock { $0 = (script, directory) }
        atexit {
            guard let server = TestPostgres.running.withLock({ $0 }) else { return }
            var arguments: [UnsafeMutablePointer<CChar>?] = [
                strdup(server.script), strdup("stop"), strdup(server.directory), nil,
            ]
            var pid = pid_t()
            if posix_spawn(&pid, server.script, nil, nil, &arguments, environ) == 0 {
                var status: Int32 = 0
                waitpid(pid, &status, 0)
            }
        }
    }
}
