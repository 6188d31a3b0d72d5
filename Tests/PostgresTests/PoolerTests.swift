// A connection pooler in front of the server: PgBouncer, where it is installed.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Pooler", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct PoolerTests {
    private static let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    /// Runs PgBouncer in a mode; `nil` where it is not installed.
    private static func start(_ mode: String, poolSize: Int) async throws -> (uri: String, child: ChildProcess)? {
        guard let program else {
            print("SKIPPED: PgBouncer is not installed; on Debian: apt-get install pgbouncer")
            return nil
        }
        var (uri, child) = try await start(program, mode, poolSize)
        // Another program may take the port before PgBouncer listens there.
        for _ in 0..<2 where child.ending != nil { (uri, child) = try await start(program, mode, poolSize) }
        try #require(child.ending == nil, "PgBouncer has ended: \(child.output)")
        return (uri, child)
    }

    private static func start(
        _ program: String, _ mode: String, _ poolSize: Int
    ) async throws -> (uri: String, child: ChildProcess) {
        let place = try #require(URLComponents(string: try await TestPostgres.uri()))
        let folder = FileManager.default.temporaryDirectory.appending(path: "sluice-pooler-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        ChildProcess.removeAtEnd(folder)
        let port: UInt16
        do { port = BlackHole().port }
        // The password is written where everybody can read it: PgBouncer does not run as root.
        try """
        [databases]
        pooled = host=\(place.host ?? "") port=\(place.port ?? 5432) dbname=\(place.path.dropFirst()) \
        user=\(place.user ?? "") password=\(place.password ?? "")
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = \(port)
        auth_type = any
        pool_mode = \(mode)
        default_pool_size = \(poolSize)
        unix_socket_dir =
        """.write(toFile: folder + "/pgbouncer.ini", atomically: true, encoding: .utf8)
        for path in [folder, folder + "/pgbouncer.ini"] { chmod(path, 0o755) }
        let arguments = ["-q", folder + "/pgbouncer.ini"]
        let unprivileged = ["--reuid=65534", "--regid=65534", "--clear-groups", program]
        let child =
            geteuid() == 0
            ? try ChildProcess.start(
                "/usr/bin/setpriv", unprivileged + arguments, environment: [:], log: folder + "/log")
            : try ChildProcess.start(program, arguments, environment: [:], log: folder + "/log")
        let uri = "postgres://anybody@127.0.0.1:\(port)/pooled"
        for _ in 0..<1_000 where child.ending == nil {
            guard let error = await postgresError(during: { await (try connect(uri)).close() }), error.isRetriable else { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        return (uri, child)
    }

    @Test("A pooler in transaction or statement mode is refused in one sentence", arguments: ["transaction", "statement"])
    func transactions(_ mode: String) async throws {
        guard let (uri, child) = try await Self.start(mode, poolSize: 3) else { return }
        for _ in 0..<10 {
            let error = try #require(await postgresError { _ = try await connect(uri) })
            #expect(error.code == .configuration, "\(error)")
            #expect(error.message.hasPrefix("127.0.0.1 is a connection pooler in transaction or statement mode"), "\(error)")
        }
        await child.kill()
    }

    @Test("A pooler in session mode works, also without room for another session")
    func sessions() async throws {
        guard let (uri, child) = try await Self.start("session", poolSize: 2) else { return }
        let connections = [try await connect(uri), try await connect(uri)]
        for connection in connections {
            #expect(try await connection.perform { try $0.execute("SELECT 1").int32(0, 0) } == 1)
        }
        for connection in connections { await connection.close() }
        for _ in 0..<10 { await (try connect(uri)).close() }
        await child.kill()
    }
}
