// Connections: how they are refused, lost, abandoned and closed.

import Foundation
import Postgres
import Telemetry
import TestSupport
import Testing

@Suite("Connection", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct ConnectionTests {
    @Test("A closed port is a connection error that names host and port, and can be retried")
    func closedPort() async throws {
        let port: UInt16
        do { port = BlackHole().port }
        let error = try #require(await postgresError { _ = try await connect("postgres://u:hidden@127.0.0.1:\(port)/d") })
        #expect(error.code == .connection && error.isConnectionLost && error.isRetriable)
        #expect(error.sqlState == nil)
        #expect("\(error)".contains("127.0.0.1") && "\(error)".contains("\(port)"))
        #expect(!"\(error)".contains("hidden"))
    }

    @Test("A wrong password has SQLSTATE 28P01 though libpq has no result to ask, and cannot be retried")
    func wrongPassword() async throws {
        var parts = try #require(URLComponents(string: try await TestPostgres.uri()))
        guard parts.password != nil else { return print("SKIPPED: the server named by the environment needs no password") }
        parts.password = "not-the-password"
        let uri = try #require(parts.string)
        let error = try #require(await postgresError { _ = try await connect(uri) })
        #expect(error.code == .connection && error.sqlState == SQLState("28P01") && !error.isRetriable)
        #expect(!"\(error)".contains("not-the-password"))
    }

    @Test("An unknown database has SQLSTATE 3D000")
    func unknownDatabase() async throws {
        var parts = try #require(URLComponents(string: try await TestPostgres.uri()))
        parts.path = "/no_such_database"
        let uri = try #require(parts.string)
        let error = try #require(await postgresError { _ = try await connect(uri) })
        #expect(error.sqlState == SQLState("3D000"))
        #expect(error.message.contains("no_such_database"))
    }

    @Test("A listener that never answers is given up at the deadline, which libpq itself would not do")
    func blackHole() async throws {
        let hole = BlackHole()
        let port = hole.port
        let start = ContinuousClock.now
        let error = try #require(
            await postgresError {
                _ = try await connect("postgres://u@127.0.0.1:\(port)/d") { $0.connectTimeout = .milliseconds(300) }
            })
        #expect(error.code == .timeout)
        #expect("\(error)".contains("127.0.0.1 port \(port)"))
        #expect(ContinuousClock.now - start < .seconds(60))
    }

    @Test("A connect timeout longer than the clock can count is no limit, and no trap")
    func endlessConnectTimeout() async throws {
        let connection = try await connect { $0.connectTimeout = .seconds(Int64.max) }
        #expect(try await connection.perform { try $0.execute("SELECT 1").int32(0, 0) } == 1)
        await connection.close()
    }

    @Test("The user's own connect_timeout wins")
    func ownConnectTimeout() async throws {
        let hole = BlackHole()
        let port = hole.port
        let error = try #require(
            await postgresError {
                _ = try await connect("host=127.0.0.1 port=\(port) user=u connect_timeout=1") {
                    $0.connectTimeout = .seconds(600)
                }
            })
        #expect(error.code == .timeout)
    }

    @Test("Cancelling the task gives up connecting")
    func cancelledConnect() async throws {
        let hole = BlackHole()
        let port = hole.port
        let task = Task {
            await postgresError {
                _ = try await connect("postgres://u@127.0.0.1:\(port)/d") { $0.connectTimeout = .seconds(600) }
            }
        }
        task.cancel()
        #expect(await task.value?.code == .closed)
    }

    @Test("A connection string that cannot be understood is a configuration error that quotes nothing of it")
    func badString() async throws {
        for uri in ["postgres://user:s3cret@host:port:port/x?y", "password=s3cret host", "postgres://a:%zzs3cret@h/d"] {
            let error = try #require(await postgresError { _ = try await connect(uri) })
            #expect(!"\(error)".contains("s3cret"))
            #expect(!error.isRetriable || error.code == .connection)
        }
        let error = await postgresError { _ = try await connect("nonsense") }
        #expect(error?.code == .configuration)
    }

    @Test("Session settings are applied, and what the connection string says wins")
    func settings() async throws {
        let query =
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('application_name')"
        let plain = try await connect { $0.statementTimeout = .milliseconds(1500) }
        let ours = try await plain.perform { session in
            let row = try session.execute(query)
            return [try row.text(0, 0), try row.text(0, 1), try row.text(0, 2)]
        }
        #expect(ours == ["1500ms", "5s", "sluice"])
        let uri = try await TestPostgres.uri() + "?application_name=mine&options=-c%20statement_timeout%3D7s"
        let own = try await connect(uri)
        let theirs = try await own.perform { session in
            let row = try session.execute(query)
            #expect(session.replyTimeout == .seconds(12))
            return [try row.text(0, 0), try row.text(0, 1), try row.text(0, 2)]
        }
        #expect(theirs == ["7s", "5s", "mine"])
        await plain.close()
        await own.close()
    }

    @Test("What the session relies on does not depend on the settings of database and role")
    func independentSettings() async throws {
        let uri = try await TestPostgres.database()
        let owner = try await connect(uri)
        try await owner.perform { session in
            let name = try session.execute("SELECT quote_ident(current_database())").text(0, 0)
            for setting in ["TimeZone = 'Asia/Kolkata'", "idle_session_timeout = '1s'", "jit = on"] {
                try session.execute("ALTER DATABASE \(name) SET \(setting)")
            }
        }
        let connection = try await connect(uri)
        try await Task.sleep(for: .milliseconds(1_500))
        try await connection.perform { session in
            let row = try session.execute(
                """
                SELECT ('2026-11-29 00:30:00Z'::timestamptz)::timestamp::text, current_setting('TimeZone'), current_setting('jit')
                """)
            #expect([try row.text(0, 0), try row.text(0, 1), try row.text(0, 2)] == ["2026-11-29 00:30:00", "UTC", "off"])
        }
        let own = try await connect(uri + (uri.contains("?") ? "&" : "?") + "options=-c%20timezone%3DAsia/Tokyo")
        let zone = try await own.perform { try $0.execute("SHOW TimeZone").text(0, 0) }
        #expect(zone == "Asia/Tokyo")
        for each in [owner, connection, own] { await each.close() }
    }

    @Test("A session whose transactions have become read-only is lost, and a new one is not made until it may write")
    func readOnly() async throws {
        let uri = try await TestPostgres.database()
        let connection = try await connect(uri)
        try await connection.perform { session in
            try session.execute("CREATE TABLE t (a int)")
            let name = try session.execute("SELECT quote_ident(current_database())").text(0, 0)
            try session.execute("ALTER DATABASE \(name) SET default_transaction_read_only = on")
            try session.execute("SET default_transaction_read_only = on")
            for write in [
                { _ = try session.execute("INSERT INTO t VALUES (1)") },
                { _ = try session.pipeline { try $0.execute("INSERT INTO t VALUES (1)") } },
            ] as [() throws -> Void] {
                let error = try #require(postgresError(of: write))
                #expect(error.sqlState == .readOnlyTransaction && error.isConnectionLost, "\(error)")
            }
        }
        #expect(connection.isBroken)
        let error = try #require(await postgresError { _ = try await connect(uri) })
        #expect(error.isConnectionLost && error.message.contains("read-only"), "\(error)")
        let anywhere = try await connect(uri + (uri.contains("?") ? "&" : "?") + "target_session_attrs=any")
        await anywhere.close()
    }

    @Test("A backend terminated in the middle of a statement is a lost connection, and stays lost")
    func terminated() async throws {
        let (victim, killer) = (try await connect(), try await connect())
        let pid = victim.backendPID
        let sleeping = Task { await postgresError { try await victim.perform { try $0.execute("SELECT pg_sleep(60)") } } }
        try await killer.perform { session in
            for _ in 0..<1000
            where try session.execute("SELECT 1 FROM pg_stat_activity WHERE pid = \(pid) AND state = 'active'").rowCount == 0 {
                usleep(5000)
            }
            try session.execute("SELECT pg_terminate_backend(\(pid))")
        }
        let error = try #require(await sleeping.value)
        #expect(error.code == .connection && error.isConnectionLost && error.isRetriable)
        #expect(error.sqlState == nil || error.sqlState == .adminShutdown)
        #expect(victim.isBroken)
        let later = await postgresError { try await victim.perform { try $0.execute("SELECT 1") } }
        #expect(later?.code == .connection)
        await victim.close()
        await killer.close()
    }

    @Test("A server that stays silent longer than the reply timeout is given up")
    func silentServer() async throws {
        let connection = try await connect { $0.statementTimeout = .zero }
        let error = await postgresError {
            try await connection.perform { session in
                session.replyTimeout = .milliseconds(200)
                try session.execute("SELECT pg_sleep(60)")
            }
        }
        #expect(error?.code == .timeout && error?.isConnectionLost == true)
        #expect(connection.isBroken)
        await connection.close()
    }

    @Test("abandon() ends a body that waits for the server, and everything after it")
    func abandoned() async throws {
        let (connection, observer) = (try await connect(), try await connect())
        let pid = connection.backendPID
        let sleeping = Task { await postgresError { try await connection.perform { try $0.execute("SELECT pg_sleep(60)") } } }
        try await observer.perform { session in
            for _ in 0..<1000
            where try session.execute("SELECT 1 FROM pg_stat_activity WHERE pid = \(pid) AND state = 'active'").rowCount == 0 {
                usleep(5000)
            }
        }
        // Only now: of two tasks nobody knows which posts its body first.
        let queued = Task { await postgresError { try await connection.perform { try $0.execute("SELECT 1") } } }
        connection.abandon()
        #expect(await sleeping.value?.code == .closed)
        #expect(await queued.value?.code == .closed)
        #expect(connection.isBroken)
        #expect(await postgresError { try await connection.perform { _ in } }?.code == .closed)
        await connection.close()
        await observer.close()
    }

    @Test("close() lets what was posted finish; later bodies are refused")
    func closing() async throws {
        let connection = try await connect()
        let work = Task { try await connection.perform { try $0.execute("SELECT 7 FROM pg_sleep(0.05)").int32(0, 0) } }
        let value = try await work.value
        await connection.close()
        await connection.close()
        #expect(value == 7)
        #expect(connection.isBroken)
        #expect(await postgresError { try await connection.perform { _ in } }?.code == .closed)
    }

    @Test("A task cancelled before its body begins gets CancellationError; a body that has begun runs to its end")
    func cancellation() async throws {
        let connection = try await connect()
        let gate = DispatchSemaphore(value: 0)
        let first = Task { try await connection.perform { _ in gate.wait() } }
        let second = Task { try await connection.perform { _ in Issue.record("a cancelled body ran") } }
        second.cancel()
        first.cancel()
        gate.signal()
        await #expect(throws: CancellationError.self) { try await second.value }
        // Cancelled before or after it began: both are fine, a hang is not.
        _ = await first.result
        #expect(try await connection.perform { try $0.execute("SELECT 1").int32(0, 0) } == 1)
        await connection.close()
    }

    @Test("Notices reach the log at debug")
    func notices() async throws {
        let log = CapturedLog()
        let connection = try await connect(log: log.log)
        try await connection.perform {
            try $0.execute("DO $$ BEGIN RAISE WARNING 'mind the gap'; RAISE NOTICE 'too quiet'; END $$")
        }
        await connection.close()
        #expect(log.all.map(\.1) == ["WARNING: mind the gap"])
        #expect(log.all.map(\.0) == [.debug])
    }

    @Test("Many connections work side by side")
    func manyConnections() async throws {
        let uri = try await TestPostgres.uri()
        let sum = try await withThrowingTaskGroup(of: Int64.self) { group in
            for index in 0..<8 {
                group.addTask {
                    let connection = try await connect(uri)
                    var sum: Int64 = 0
                    for _ in 0..<50 {
                        sum += try await connection.perform { try $0.execute("SELECT \(index)::int8").int64(0, 0) }
                    }
                    await connection.close()
                    return sum
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 50 * (0..<8).reduce(0, +))
    }

    @Test("Connections made on one thread live there, one after the other, and so does a task that prefers it")
    func sharedThread() async throws {
        let thread = try ConnectionThread(named: "shared")
        let configuration = PostgresConfiguration(uri: try await TestPostgres.uri())
        let inTask = try await Task(executorPreference: thread) {
            var seen = [thisThread()]
            for _ in 0..<2 {
                let connection = try await PostgresConnection.connect(configuration, on: thread)
                seen.append(try await connection.perform { _ in thisThread() })
                seen.append(thisThread())
                await connection.close()
                let late = await postgresError { try await connection.perform { _ in } }
                #expect(late?.code == .closed)
            }
            return seen
        }.value
        #expect(Set(inTask).count == 1)
        #expect(inTask.first != thisThread())
        let other = try await PostgresConnection.connect(configuration)
        #expect(try await other.perform { _ in thisThread() } != inTask.first)
        await other.close()
    }
}

/// Which thread this is.
private func thisThread() -> pthread_t { pthread_self() }
