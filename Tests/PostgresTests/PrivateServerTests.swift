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
        let end = await postgresError { try await connection.perform { try $0.execute("SELECT pg_sleep(120)") } }
        #expect(end?.isConnectionLost == true)
        await connection.close()
        #expect(await eventually(within: .seconds(60)) { !FileManager.default.fileExists(atPath: directory) })
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

    /// Threads of Swift's pool block signals, and what they start inherits that.
    @Test("A stop ends the watchdog, whatever signals its starter has blocked")
    func stoppedWatchdog() async throws {
        let directory = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        // Not temporary: a watchdog ends by itself where its directory is gone.
        let started = try await run("start", directory, "--owner-pid", "\(getpid())")
        try #require(started.status == 0, "\(started.output)")
        let file = try String(contentsOfFile: directory + "/watchdog.pid", encoding: .utf8)
        let watchdog = try #require(file.split(separator: " ").first.flatMap { pid_t($0) })
        #expect(ProcessState(of: watchdog) != nil)
        #expect(try await run("stop", directory).status == 0)
        #expect(await eventually { ProcessState(of: watchdog) == nil }, "it would stop a later server in the same directory")
        try FileManager.default.removeItem(atPath: directory)
    }

    @Test("A frozen server has no process that runs, and a thawed one none that is stopped, while other processes end")
    func frozenWhole() async throws {
        let directory = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        // Processes that are older than the server, so that they are met before it in /proc, and end while it is looked for.
        let go = directory + ".go"
        let script = """
            for i in {1..200}; do sleep 120 & done
            while ! [ -e '\(go)' ]; do sleep 0.05; done
            for pid in $(jobs -p); do kill -KILL $pid; wait $pid; sleep 0.005; done
            """
        let others = try ChildProcess.start(
            "/bin/bash", ["-c", script], environment: ["PATH": "/usr/bin:/bin"], log: "/dev/null")
        let started = try await run("start", directory, "--temporary", "--owner-pid", "\(getpid())")
        try #require(started.status == 0, "\(started.output)")
        let file = try String(contentsOfFile: directory + "/server/data/postmaster.pid", encoding: .utf8)
        let postmaster = try #require(file.split(separator: "\n").first.flatMap { pid_t($0) })
        try Data().write(to: URL(fileURLWithPath: go))
        repeat {
            #expect(try await run("freeze", directory).status == 0)
            // A process is stopped a moment after it was told to.
            #expect(await eventually { ProcessState.ofServer(postmaster).allSatisfy(\.isStopped) }, "some go on")
            #expect(ProcessState.ofServer(postmaster).count > 4)
            #expect(try await run("thaw", directory).status == 0)
            #expect(await eventually { !ProcessState.ofServer(postmaster).contains(where: \.isStopped) }, "some stay stopped")
        } while others.ending == nil
        try FileManager.default.removeItem(atPath: go)
        #expect(try await run("stop", directory).status == 0)
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

/// What /proc says of a process.
private struct ProcessState {
    private let fields: [Substring]

    /// `nil` where it has ended.
    init?(of pid: pid_t) {
        guard let line = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let name = line.range(of: ") ", options: .backwards)
        else { return nil }
        fields = line[name.upperBound...].split(separator: " ")
        if fields[0] == "Z" { return nil }
    }

    var isStopped: Bool { fields[0] == "T" }

    /// A postmaster and its children.
    static func ofServer(_ postmaster: pid_t) -> [ProcessState] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { pid_t($0) }.compactMap { pid in
            guard let state = ProcessState(of: pid), pid == postmaster || state.fields[1] == "\(postmaster)" else { return nil }
            return state
        }
    }
}
