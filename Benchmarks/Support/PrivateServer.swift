// The private PostgreSQL, whose processes can be stopped and continued.

import Foundation

/// The server that scripts/private-postgres runs in a folder. Methods block: not for cooperative threads.
struct PrivateServer: Sendable {
    let directory: String

    /// Runs `body` while every process of the server is stopped; they are continued however it ends. Where this program is killed
    /// meanwhile, the script that started the server continues it before it stops it.
    func frozen<R>(_ body: () throws -> R) throws -> R {
        try run("freeze")
        let outcome: Result<R, any Error>
        do { outcome = .success(try body()) } catch { outcome = .failure(error) }
        try run("thaw")
        return try outcome.get()
    }

    private func run(_ verb: String) throws {
        let script = "\(FileManager.default.currentDirectoryPath)/scripts/private-postgres"
        try Child("private-postgres \(verb)", script, [verb, directory], log: "\(directory)/freeze.log").wait()
    }
}
