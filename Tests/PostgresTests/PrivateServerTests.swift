// The script that runs a server of one's own: it says what it does, and does not outlive its owner.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite("private-postgres", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct PrivateServerTests {
    private func run(_ arguments: String...) async throws -> (status: Int32, output: String) {
        let result = try await PostgresScript.run(arguments)
        return (result.status, result.output + result.errors)
    }

    @Test("Without a server stop is no error, status and uri say so")
    func nothingThere() async throws {
        let directory = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        #expect(try await run("stop", directory).status == 0)
        #expect(try await run("status", directory) == (1, "not running"))
        let uri = try await run("uri", directory)
        #expect(uri.status == 1 && uri.output.contains("start it first"))
        #expect(try await run("start", directory, "--owner-pid", "4194305").output.contains("there is no process 4194305"))
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test(
        "A second start finds the server; it goes with its owner, also when that is killed, and takes a temporary directory along"
    )
    func ownerKilled() async throws {
        // Long and with a space and a quote: too long for a Unix socket.
        let directory = NSTemporaryDirectory() + "sluice it's " + UUID().uuidString + String(repeating: "x", count: 60)
        let owner = Process()
        owner.executableURL = URL(fileURLWithPath: "/bin/sleep")
        owner.arguments = ["600"]
        try owner.run()
        let started = try await run("start", directory, "--temporary", "--owner-pid", "\(owner.processIdentifier)")
        try #require(started.status == 0, "\(started.output)")
        let again = try await run("start", directory, "--owner-pid", "\(owner.processIdentifier)")
        #expect(again.status == 0 && again.output == started.output)
        #expect(try await run("status", directory).output.hasPrefix("running: 127.0.0.1 port "))
        let connection = try await connect(started.output)
        let settings = try await connection.perform { session in
            let row = try session.execute(
                "SELECT current_database(), current_setting('fsync'), current_setting('synchronous_commit')")
            return [try row.text(0, 0), try row.text(0, 1), try row.text(0, 2)]
        }
        #expect(settings == ["sluice", "on", "on"])
        kill(owner.processIdentifier, SIGKILL)
        // A statement that outlives the server: the end of the connection is the signal.
        let end = await postgresError { try await connection.perform { try $0.execute("SELECT pg_sleep(25)") } }
        #expect(end?.isConnectionLost == true)
        await connection.close()
        let deadline = ContinuousClock.now + .seconds(20)
        while FileManager.default.fileExists(atPath: directory), ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test("A watchdog that outlives its server leaves a later one in the same directory alone")
    func earlierWatchdog() async throws {
        let directory = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        let started = try await run("start", directory, "--temporary", "--owner-pid", "\(getpid())")
        try #require(started.status == 0, "\(started.output)")
        // Owner and starter have ended, which is when a watchdog stops its server.
        #expect(try await run("watch", directory, "4194305", "1", "4194305", "1").status == 0)
        #expect(try await run("status", directory).status == 0)
        #expect(try await run("stop", directory).status == 0)
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test("A frozen server answers nobody until it is thawed, and can be stopped all the same")
    func frozen() async throws {
        let directory = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        #expect(try await run("freeze", directory).output.contains("start it first"))
        let started = try await run("start", directory, "--temporary", "--owner-pid", "\(getpid())")
        try #require(started.status == 0, "\(started.output)")
        let connection = try await connect(started.output)
        let answered = Shared(false)
        #expect(try await run("freeze", directory).status == 0)
        let asking = Task {
            try await connection.perform { _ = try $0.execute("SELECT 1") }
            answered.withLock { $0 = true }
        }
        #expect(await !eventually(within: .milliseconds(500)) { answered.current })
        #expect(try await run("thaw", directory).status == 0)
        try await asking.value
        await connection.close()
        #expect(try await run("freeze", directory).status == 0)
        #expect(try await run("stop", directory).status == 0)
        #expect(!FileManager.default.fileExists(atPath: directory))
    }
}
