// Statements: errors that leave the session usable, prepared statements and their bounded cache, scripts.

import Postgres
import TestSupport
import Testing

@testable import Postgres

@Suite("Statements", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct StatementTests {
    @Test("A refused statement has its SQLSTATE and names, and a description without the row it quotes")
    func refused() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE t (k int CONSTRAINT t_key PRIMARY KEY, v text)")
            try session.execute("INSERT INTO t VALUES (41424344, 'private')")
            let error = try #require(postgresError { try session.execute("INSERT INTO t VALUES (41424344, 'private')") })
            #expect(error.code == .server && !error.isConnectionLost && !error.isRetriable)
            #expect(error.sqlState == SQLState("23505") && error.sqlState?.hasClass("23") == true)
            #expect(error.constraint == "t_key" && error.table == "t")
            #expect(error.detail?.contains("41424344") == true)
            #expect(!"\(error)".contains("41424344"))
            #expect(try session.execute("SELECT count(*) FROM t").int64(0, 0) == 1)
        }
        #expect(!connection.isBroken)
        await connection.close()
    }

    @Test("statement_timeout is 57014 and retriable, lock_timeout 55P03")
    func timeouts() async throws {
        let (one, two) = (try await connect { $0.statementTimeout = .milliseconds(500) }, try await connect())
        let slow = await postgresError { try await one.perform { try $0.execute("SELECT pg_sleep(30)") } }
        #expect(slow?.sqlState == .queryCanceled && slow?.code == .server && slow?.isRetriable == true)
        try await two.perform { try $0.execute("SELECT pg_advisory_lock(4711)") }
        let blocked = await postgresError {
            try await one.perform { session in
                try session.execute("SET statement_timeout = 0")
                try session.execute("SET lock_timeout = '50ms'")
                try session.execute("SELECT pg_advisory_lock(4711)")
            }
        }
        #expect(blocked?.sqlState == .lockNotAvailable)
        await one.close()
        await two.close()
    }

    @Test("COMMIT of a failed transaction answers ROLLBACK, which commit() throws")
    func commitOfFailed() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("BEGIN")
            #expect(session.transactionStatus == .inTransaction)
            #expect(postgresError { try session.execute("SELECT 1 / 0") }?.sqlState == SQLState("22012"))
            #expect(session.transactionStatus == .failed)
            #expect(postgresError { try session.execute("SELECT 1") }?.sqlState == .inFailedTransaction)
            let error = try #require(postgresError { try session.commit() })
            #expect(error.sqlState == .inFailedTransaction && error.message.contains("ROLLBACK"))
            #expect(session.transactionStatus == .idle)
            try session.execute("BEGIN")
            try session.commit()
        }
        await connection.close()
    }

    @Test("Prepared statements survive eviction, DEALLOCATE ALL and a reconnect")
    func prepared() async throws {
        let statements = (0..<6).map { PreparedStatement("SELECT $1::int4 + \($0)", types: [TypeOID.int4]) }
        let first = try await connect { $0.statementCacheSize = 3 }
        let second = try await connect { $0.statementCacheSize = 3 }
        for connection in [first, second] {
            try await connection.perform { session in
                let parameters = Parameters()
                parameters.append(int4: 100)
                for round in 0..<3 {
                    for (index, statement) in statements.enumerated() {
                        #expect(try session.execute(statement, parameters).int32(0, 0) == Int32(100 + index), "round \(round)")
                    }
                }
                #expect(session.statements.count == 3)
                // What fell out of the cache is freed in the server, too, but for what waits for the next preparation.
                #expect(try session.execute("SELECT count(*) FROM pg_prepared_statements").int64(0, 0) <= 4)
                try session.execute("DEALLOCATE ALL")
                let last = try #require(statements.last)
                #expect(postgresError { try session.execute(last, parameters) }?.sqlState == .invalidStatementName)
                #expect(try session.execute(last, parameters).int32(0, 0) == 105)
            }
        }
        await first.close()
        await second.close()
    }

    @Test("A statement whose result type has changed is prepared anew at the next try")
    func changedResult() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE shape (a int4)")
            let all = PreparedStatement("SELECT * FROM shape")
            #expect(try session.execute(all).columnCount == 1)
            try session.execute("ALTER TABLE shape ADD b text")
            #expect(postgresError { try session.execute(all) }?.sqlState == .featureNotSupported)
            #expect(try session.execute(all).columnCount == 2)
        }
        await connection.close()
    }

    @Test("A script runs several statements and is one transaction; COPY is refused by closing the connection")
    func scripts() async throws {
        let connection = try await connect()
        let tags = try await connection.perform { session -> [String] in
            try session.executeScript("CREATE TEMP TABLE s (a int); INSERT INTO s VALUES (1), (2); -- done\n")
        }
        #expect(tags == ["CREATE TABLE", "INSERT 0 2"])
        let failed = await postgresError {
            try await connection.perform { try $0.executeScript("INSERT INTO s VALUES (3); INSERT INTO s VALUES (1 / 0)") }
        }
        #expect(failed?.sqlState == SQLState("22012"))
        #expect(try await connection.perform { try $0.execute("SELECT count(*) FROM s").int64(0, 0) } == 2)
        #expect(try await connection.perform { try $0.executeScript("  -- nothing\n") }.isEmpty)
        let copy = await postgresError { try await connection.perform { try $0.executeScript("COPY s FROM STDIN") } }
        #expect(copy?.code == .protocolViolation && copy?.isConnectionLost == true)
        #expect(connection.isBroken)
        await connection.close()
    }
}

@Suite("Statement cache")
struct StatementCacheTests {
    private func statement(_ number: Int) -> PreparedStatement { PreparedStatement("SELECT \(number)") }

    @Test("The statement used longest ago goes first, and its name is handed out for freeing once")
    func leastRecentlyUsed() {
        var cache = StatementCacheMachine(capacity: 2)
        for number in 1...2 { cache.prepared(statement(number), as: "s\(number)") }
        #expect(cache.name(of: statement(1)) == "s1")
        cache.prepared(statement(3), as: "s3")
        #expect(cache.name(of: statement(2)) == nil)
        #expect(cache.name(of: statement(1)) == "s1")
        #expect(cache.takeDropped() == ["s2"])
        #expect(cache.takeDropped() == [])
    }

    @Test("Names are never given twice, and types tell statements apart")
    func names() {
        var cache = StatementCacheMachine(capacity: 8)
        let (one, two) = (cache.newName(), cache.newName())
        #expect(one != two)
        cache.prepared(PreparedStatement("SELECT $1", types: [TypeOID.int4]), as: one)
        #expect(cache.name(of: PreparedStatement("SELECT $1", types: [TypeOID.int8])) == nil)
    }

    @Test("What the server does not have is not freed")
    func invalidated() {
        var cache = StatementCacheMachine(capacity: 8)
        cache.prepared(statement(1), as: "a")
        cache.invalidated(statement(1), exists: false)
        #expect(cache.takeDropped() == [])
        cache.prepared(statement(1), as: "b")
        cache.invalidated(statement(1), exists: true)
        #expect(cache.takeDropped() == ["b"])
        #expect(cache.count == 0)
    }
}

@Suite("Words of libpq")
struct MessageTests {
    @Test("The SQLSTATE is taken out of a verbose connection failure")
    func states() {
        let verbose = #"connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed"#
        let (message, state) = splitState(verbose)
        #expect(state == SQLState("28P01"))
        #expect(message == #"connection to server at "127.0.0.1", port 5432 failed: FATAL: password authentication failed"#)
        #expect(splitState("connection to server failed: Connection refused").state == nil)
        #expect(splitState("FATAL: PANIC: ABORT: x").state == nil)
    }

    @Test("A connection failure has all lines of libpq's message, and the SQLSTATE of the last attempt")
    func allLines() {
        let hosts = """
            connection to server at "a" (10.0.0.1), port 5432 failed: Connection refused
            \tIs the server running on that host and accepting TCP/IP connections?
            connection to server at "b" (10.0.0.2), port 5432 failed: FATAL:  28000: no entry for host
            DETAIL:  a detail
            LOCATION:  ClientAuthentication, auth.c:543

            """
        let (message, state) = connectFailure(hosts)
        #expect(state == SQLState("28000"))
        #expect(
            message == #"connection to server at "a" (10.0.0.1), port 5432 failed: Connection refused; "#
                + "Is the server running on that host and accepting TCP/IP connections?; "
                + #"connection to server at "b" (10.0.0.2), port 5432 failed: FATAL: no entry for host; DETAIL:  a detail"#)
        let file = """
            connection to server at "a", port 5432 failed: root certificate file "/x.pem" does not exist
            Either provide the file or change sslmode to disable server certificate verification.
            """
        #expect(connectFailure(file).message.contains("/x.pem") && connectFailure(file).message.contains("Either provide"))
        #expect(connectFailure("FATAL:  57P03: starting up\nother host refused").state == nil)
        #expect(connectFailure("").message == "no reason given")
    }

    @Test("Quoted text is blanked")
    func quotes() {
        #expect(withoutQuotes(#"missing "=" after "secret" in x"#) == #"missing "…" after "…" in x"#)
        #expect(withoutQuotes("nothing quoted") == "nothing quoted")
        #expect(withoutQuotes(#"open "secret"#) == #"open "…"#)
    }

    @Test("States match by class and in patterns")
    func patterns() {
        #expect(SQLState("23505").hasClass("23") && !SQLState("23505").hasClass("2") && !SQLState("22001").hasClass("23"))
        let state: SQLState? = .lockNotAvailable
        switch state {
        case .lockNotAvailable: break
        default: Issue.record("the pattern does not match")
        }
    }
}
