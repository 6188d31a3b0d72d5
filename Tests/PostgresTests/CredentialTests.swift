// Credentials that change while the process runs: a rewritten file, and a program that prints the password.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Credentials", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct CredentialTests {
    /// A new role with a password, and a directory for files.
    private struct World {
        let owner: PostgresConnection
        let role = "rotated_\(UInt32.random(in: 0 ... .max))"
        let folder = FileManager.default.temporaryDirectory.appending(path: "sluice-credentials-\(UUID().uuidString)")
        let place: URLComponents

        init() async throws {
            place = try #require(URLComponents(string: try await TestPostgres.uri()))
            owner = try await connect()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try await setPassword("first", verb: "CREATE")
        }

        func setPassword(_ password: String, verb: String = "ALTER") async throws {
            let role = role
            try await owner.perform { _ = try $0.execute("\(verb) ROLE \(role) LOGIN PASSWORD '\(password)'") }
        }

        func uri(_ password: String?) throws -> String {
            var parts = place
            (parts.user, parts.password) = (role, password)
            return try #require(parts.string)
        }

        func write(_ name: String, _ text: String, isProgram: Bool = false) throws -> String {
            let path = folder.appending(path: name).path
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            if isProgram { try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path) }
            return path
        }

        func close() async throws {
            let role = role
            try await owner.perform { _ = try $0.execute("DROP ROLE \(role)") }
            await owner.close()
            try FileManager.default.removeItem(at: folder)
        }

        func user(_ uri: String, _ change: (inout PostgresConfiguration) -> Void) async throws -> String {
            let connection = try await connect(uri, change)
            let user = try await connection.perform { try $0.execute("SELECT current_user::text").text(0, 0) }
            await connection.close()
            return user
        }
    }

    @Test("A password that was changed on the server and in the file works for the next connection")
    func rotated() async throws {
        let world = try await World()
        guard world.place.password != nil else { return print("SKIPPED: the server named by the environment needs no password") }
        let first = try world.uri("first")
        let file = try world.write("uri", first + "\n")
        #expect(try await world.user(first) { $0.uriFile = file } == world.role)
        try await world.setPassword("second")
        let error = try #require(await postgresError { _ = try await world.user(first) { $0.uriFile = file } })
        #expect(error.sqlState == SQLState("28P01") && error.isConnectionLost && error.code == .connection)
        _ = try world.write("uri", try world.uri("second") + "\n")
        #expect(try await world.user(first) { $0.uriFile = file } == world.role)
        try await world.close()
    }

    @Test("A file that is gone, empty or half written is an outage that names the file and quotes nothing of it")
    func unreadable() async throws {
        let world = try await World()
        let uri = try world.uri("first")
        let cases: [(String?, String)] = [
            (nil, "cannot be opened"), ("", "is empty"), ("\n", "is empty"),
            ("postgres://x:s3cret@h:y:z/%zz", "cannot be understood"),
            (String(repeating: "s3cret", count: 20_000), "is larger than 65536 bytes"),
        ]
        for (number, (text, says)) in cases.enumerated() {
            let file = if let text { try world.write("uri\(number)", text) } else { world.folder.appending(path: "none").path }
            let error = try #require(await postgresError { _ = try await world.user(uri) { $0.uriFile = file } })
            #expect(error.code == .connection && error.isRetriable && error.isConnectionLost, "\(error)")
            #expect(error.message.contains(file) && error.message.contains(says), "\(error)")
            #expect(!"\(error)".contains("s3cret"))
        }
        // What was wrong at the start is a fault of the configuration.
        let wrong = "postgres://h:y:z/%zz"
        let file = try world.write("wrong", wrong)
        let error = try #require(await postgresError { _ = try await world.user(wrong) { $0.uriFile = file } })
        #expect(error.code == .configuration)
        try await world.close()
    }

    @Test("A program prints the password, which overrides the one of the connection string")
    func printed() async throws {
        let world = try await World()
        guard world.place.password != nil else { return print("SKIPPED: the server named by the environment needs no password") }
        let file = try world.write("password", "first\n")
        for uri in [try world.uri(nil), try world.uri("wrong")] {
            #expect(try await world.user(uri) { $0.passwordCommand = ["cat", file] } == world.role)
        }
        try await world.setPassword("with spaces and ''quotes''")
        _ = try world.write("password", "with spaces and 'quotes'\r\n")
        #expect(try await world.user(world.uri("wrong")) { $0.passwordCommand = ["cat", file] } == world.role)
        // A process that it leaves behind, with its output, does not matter.
        let leaving = try world.write("leaving", "#!/bin/sh\nsleep 20 &\ncat '\(file)'\n", isProgram: true)
        #expect(try await world.user(world.uri("wrong")) { $0.passwordCommand = [leaving] } == world.role)
        let refused = try #require(
            await postgresError { _ = try await world.user(world.uri("wrong")) { $0.passwordCommand = ["echo", "s3cret"] } })
        #expect(refused.sqlState == SQLState("28P01") && !"\(refused)".contains("s3cret"))
        try await world.close()
    }

    @Test("A program that fails or prints nothing is an outage; its status and complaint are named, its output never")
    func failed() async throws {
        let world = try await World()
        let uri = try world.uri("first")
        let program = try world.write(
            "token", "#!/bin/sh\necho s3cret\necho more >&2\necho 'no role attached' >&2\nexit 3\n", isProgram: true)
        let killed = try world.write("killed", "#!/bin/sh\necho s3cret\nkill -TERM $$\n", isProgram: true)
        let cases: [([String], String)] = [
            ([program], "postgres.password_command \(program) failed with exit status 3: no role attached"),
            ([killed], "postgres.password_command \(killed) failed with signal 15"),
            (["true"], "postgres.password_command true has printed no password"),
            (["echo"], "postgres.password_command echo has printed no password"),
            (["printf", "s3cret\\ns3cret"], "postgres.password_command printf has printed more than one line"),
            (["/no/such/program", "s3cret"], "postgres.password_command /no/such/program cannot be started: No such file"),
        ]
        for (command, says) in cases {
            let error = try #require(await postgresError { _ = try await world.user(uri) { $0.passwordCommand = command } })
            #expect(error.code == .connection && error.isRetriable && error.isConnectionLost, "\(error)")
            #expect(error.message.hasPrefix(says), "\(error)")
            #expect(!"\(error)".contains("s3cret"))
        }
        try await world.close()
    }

    @Test("A program that hangs is killed at the deadline of connecting, and with it what it started")
    func hanging() async throws {
        let world = try await World()
        let pids = world.folder.appending(path: "pids").path
        let program = try world.write(
            "hanging", "#!/bin/sh\nsleep 600 &\necho $! >'\(pids)'\necho s3cret\nwait\n", isProgram: true)
        let start = ContinuousClock.now
        let error = try #require(
            await postgresError {
                _ = try await world.user(world.uri("first")) {
                    $0.passwordCommand = [program]
                    $0.connectTimeout = .milliseconds(2_500)
                }
            })
        #expect(error.code == .timeout && error.isRetriable && error.isConnectionLost, "\(error)")
        #expect(error.message == "postgres.password_command \(program) has not ended within 2.5 seconds", "\(error)")
        #expect(ContinuousClock.now - start < .seconds(60))
        let child = try #require(
            Int32(try String(contentsOfFile: pids, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)))
        for _ in 0..<2_000 where kill(child, 0) == 0 && !isZombie(child) { usleep(5_000) }
        #expect(kill(child, 0) != 0 || isZombie(child))
        try await world.close()
    }

    /// Nobody reaps orphans in some containers.
    private func isZombie(_ pid: Int32) -> Bool {
        (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8))?.contains(") Z ") ?? true
    }
}
