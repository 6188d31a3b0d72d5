// Owns a PostgreSQL server for one test that stops or kills it.

import Foundation
import Glibc
import TestSupport

/// A server of `scripts/private-postgres`, which ends with this process.
struct PrivatePostgres {
    /// The URI of its database.
    let uri: String
    private let directory: String

    /// Makes and starts a server.
    static func start() async throws -> PrivatePostgres {
        let directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-postgres-\(getpid())").path
        let uri = try await run(["start", directory, "--temporary", "--owner-pid", "\(getpid())"])
        return PrivatePostgres(uri: uri, directory: directory)
    }

    /// Stops the server and removes its data.
    func stop() async throws { _ = try await Self.run(["stop", directory]) }

    /// Whether it runs, and the end of its log, which `stop` removes.
    func condition() async -> String {
        let status = (try? await PostgresScript.run(["status", directory]).output) ?? "unknown"
        let log = (try? String(contentsOfFile: directory + "/server/log", encoding: .utf8)) ?? "no log"
        return "\(status)\n\(log.suffix(3000))"
    }

    /// Runs `body` while all processes of the server are stopped (SIGSTOP), and continues them afterwards.
    func frozen<R>(_ body: () async throws -> R) async throws -> R {
        _ = try await Self.run(["freeze", directory])
        let result: Result<R, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        _ = try await Self.run(["thaw", directory])
        return try result.get()
    }

    private static func run(_ arguments: [String]) async throws -> String {
        let (status, output, errors) = try await PostgresScript.run(arguments)
        guard status == 0 else { throw Trouble("private-postgres \(arguments[0]): \(errors)") }
        return output
    }
}
