// A PostgreSQL server for one test that means to harm it.

import Foundation
import Glibc
import TestSupport

/// A server of `scripts/private-postgres`, which watches this process and ends with it.
struct PrivatePostgres {
    /// Of its database.
    let uri: String
    private let directory: String

    private static let script = TestPostgres.checkout.appendingPathComponent("scripts/private-postgres").path

    /// Makes and starts a server.
    static func start() async throws -> PrivatePostgres {
        let directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-postgres-\(getpid())").path
        let output = try await run(["start", directory, "--temporary", "--owner-pid", "\(getpid())"])
        guard let uri = output.split(separator: "\n").last else { throw Trouble("private-postgres prints no URI: \(output)") }
        return PrivatePostgres(uri: String(uri), directory: directory)
    }

    /// Stops the server and removes its data.
    func stop() async throws { _ = try await Self.run(["stop", directory]) }

    private static func run(_ arguments: [String]) async throws -> String {
        let state = TestPostgres.checkout.appendingPathComponent(".sluice")
        try FileManager.default.createDirectory(at: state, withIntermediateDirectories: true)
        let log = state.appendingPathComponent("private-postgres-\(UUID().uuidString).log").path
        defer { try? FileManager.default.removeItem(atPath: log) }
        let child = try ChildProcess.start(script, arguments, environment: ProcessInfo.processInfo.environment, log: log)
        let ending = try await child.ended(within: .seconds(90))
        guard ending == .exited(0) else { throw Trouble("private-postgres ended with \(ending): \(child.output)") }
        return child.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
