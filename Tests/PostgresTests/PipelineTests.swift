// Pipelines: one round trip, the first error, what is left of the session after it, and more bytes than any buffer holds.

import Postgres
import Records
import TestSupport
import Testing

@Suite("Pipeline", .enabled("needs PostgreSQL") { await TestPostgres.isAvailable })
struct PipelineTests {
    @Test("Results come in the order of the statements; preparations show nowhere")
    func order() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE p (a int PRIMARY KEY)")
            let insert = PreparedStatement("INSERT INTO p VALUES ($1)", types: [TypeOID.int4])
            let results = try session.pipeline { pipeline in
                try pipeline.execute("BEGIN")
                let parameters = Parameters()
                for number in 0..<5 {
                    parameters.removeAll()
                    parameters.append(int4: Int32(number))
                    try pipeline.execute(insert, parameters)
                }
                try pipeline.execute("SELECT count(*) FROM p")
                try pipeline.execute("COMMIT")
            }
            #expect(
                results.map(\.commandTag) == ["BEGIN"] + [String](repeating: "INSERT 0 1", count: 5) + ["SELECT 1", "COMMIT"])
            #expect(results.map(\.affectedRows) == [0, 1, 1, 1, 1, 1, 1, 0])
            #expect(try results[6].int64(0, 0) == 5)
            #expect(session.transactionStatus == .idle)
            #expect(try session.pipeline { _ in }.isEmpty)
            #expect(try session.execute("SELECT count(*) FROM pg_prepared_statements").int64(0, 0) == 1)
        }
        await connection.close()
    }

    @Test("The reply timeout is that of each statement: many that are slow together are not given up")
    func slowTogether() async throws {
        let connection = try await connect {
            $0.statementTimeout = .seconds(3)
            $0.replyGrace = .milliseconds(200)
        }
        try await connection.perform { session in
            let sleep = PreparedStatement("SELECT pg_sleep($1::text::float8)", types: [TypeOID.text])
            let results = try session.pipeline { pipeline in
                try pipeline.execute("BEGIN")
                for _ in 0..<7 {
                    let parameters = Parameters()
                    parameters.append(text: "0.5")
                    try pipeline.execute(sleep, parameters)
                }
                try pipeline.execute("COMMIT")
            }
            #expect(results.count == 9)
        }
        await connection.close()
    }

    @Test("The first error is thrown with its position; the transaction stays failed until it is rolled back")
    func firstError() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE p (a int PRIMARY KEY)")
            let first = PreparedStatement("INSERT INTO p VALUES (1)")
            let never = PreparedStatement("INSERT INTO p VALUES (2)")
            let error = try #require(
                postgresError {
                    _ = try session.pipeline { pipeline in
                        try pipeline.execute("BEGIN")
                        try pipeline.execute(first)
                        try pipeline.execute(first)
                        try pipeline.execute(never)
                        try pipeline.execute("COMMIT")
                    }
                })
            #expect(error.sqlState == SQLState("23505") && error.commandIndex == 2 && !error.isConnectionLost)
            #expect(session.transactionStatus == .failed)
            try session.rollback()
            #expect(try session.execute("SELECT count(*) FROM p").int64(0, 0) == 0)
            // Its preparation was skipped with the rest, and must not be believed done.
            #expect(try session.execute(never).affectedRows == 1)
            #expect(try session.pipeline { try $0.execute(never.sql.replacing2()) }.count == 1)
        }
        await connection.close()
    }

    @Test("Without BEGIN a pipeline is one transaction")
    func implicitTransaction() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE p (a int)")
            let error = postgresError {
                _ = try session.pipeline { pipeline in
                    try pipeline.execute("INSERT INTO p VALUES (1)")
                    try pipeline.execute("SELECT 1 / 0")
                }
            }
            #expect(error?.commandIndex == 1)
            #expect(session.transactionStatus == .idle)
            #expect(try session.execute("SELECT count(*) FROM p").int64(0, 0) == 0)
        }
        await connection.close()
    }

    @Test("A statement that cannot be parsed fails in the pipeline and is not kept as prepared")
    func parseError() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            let wrong = PreparedStatement("SELEKT 1")
            for _ in 0..<2 {
                let error = postgresError { _ = try session.pipeline { try $0.execute(wrong) } }
                #expect(error?.sqlState == SQLState("42601") && error?.commandIndex == 0)
            }
            let one = try session.execute("SELECT 1").int32(0, 0)
            #expect(one == 1)
        }
        await connection.close()
    }

    @Test("What a body had queued before it threw is executed, and its own error is thrown")
    func bodyThrows() async throws {
        struct Change: Error {}
        let connection = try await connect()
        try await connection.perform { session in
            try session.execute("CREATE TEMP TABLE p (a int)")
            #expect(throws: Change.self) {
                _ = try session.pipeline { pipeline in
                    try pipeline.execute("INSERT INTO p VALUES (1)")
                    throw Change()
                }
            }
            #expect(try session.execute("SELECT count(*) FROM p").int64(0, 0) == 1)
        }
        await connection.close()
    }

    @Test("A statement of its own inside a pipeline's body is refused; the pipeline and the session live on")
    func nested() async throws {
        let connection = try await connect()
        try await connection.perform { session in
            let nested = postgresError { try session.pipeline { _ in try session.execute("SELECT 1") } }
            let twice = postgresError { try session.pipeline { _ in _ = try session.pipeline { _ in } } }
            #expect(nested?.code == .protocolViolation && twice?.code == .protocolViolation)
            let one = try session.execute("SELECT 1").int32(0, 0)
            #expect(one == 1)
        }
        await connection.close()
    }

    @Test("Pipelines that prepare more than the cache holds leave no more than it behind in the server")
    func evictions() async throws {
        let connection = try await connect { $0.statementCacheSize = 4 }
        try await connection.perform { session in
            for number in 0..<20 {
                let results = try session.pipeline { try $0.execute(PreparedStatement("SELECT \(number)")) }
                #expect(try results[0].int32(0, 0) == Int32(number))
            }
            let before = session.commandsSent
            let kept = try session.execute("SELECT count(*) FROM pg_prepared_statements").int64(0, 0)
            #expect(kept == 5 && session.commandsSent == before + 1)
        }
        await connection.close()
    }

    @Test("50 MB in each direction at once do not dead-lock")
    func bigBothWays() async throws {
        let connection = try await connect()
        let megabyte = [UInt8](repeating: 0x61, count: 1 << 20)
        let echoed = try await connection.perform { session in
            let parameters = Parameters()
            parameters.append(bytes: megabyte)
            let echo = PreparedStatement("SELECT $1::bytea", types: [TypeOID.bytea])
            let results = try session.pipeline { pipeline in
                for _ in 0..<50 { try pipeline.execute(echo, parameters) }
            }
            return results.map { $0.withBytes(0, 0) { $0.map { $0.allSatisfy { $0 == 0x61 } ? $0.count : -1 } ?? 0 } }
        }
        #expect(echoed == [Int](repeating: 1 << 20, count: 50))
        await connection.close()
    }

    @Test("A connection lost in the middle of a pipeline is a lost connection, not the statement's error")
    func lostInPipeline() async throws {
        let connection = try await connect()
        let error = await postgresError {
            try await connection.perform { session in
                _ = try session.pipeline { pipeline in
                    try pipeline.execute("BEGIN")
                    try pipeline.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                    try pipeline.execute("COMMIT")
                }
            }
        }
        #expect(error?.code == .connection && error?.isConnectionLost == true)
        #expect(error?.sqlState == nil || error?.sqlState == .adminShutdown)
        #expect(connection.isBroken)
        await connection.close()
    }
}

extension String {
    /// The insert of 2 as an insert of 3.
    fileprivate func replacing2() -> String { String(map { $0 == "2" ? "3" : $0 }) }
}
