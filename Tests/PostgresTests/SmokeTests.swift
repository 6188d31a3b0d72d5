// One statement, one pipeline and one failure against a real server.
import Foundation
import Postgres
import Records
import Testing

private let smokeURI = ProcessInfo.processInfo.environment["SLUICE_TEST_POSTGRES_URI"]

@Suite(.enabled(if: smokeURI != nil)) struct Smoke {
    let uri = smokeURI ?? ""
    @Test func all() async throws {
        let c = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        let n = try await c.perform { session in
            try session.execute("CREATE TEMP TABLE t(k int primary key, v text)")
            let params = Parameters()
            var keys = BinaryArray(element: 23), values = BinaryArray(element: 25)
            for i in 0..<5000 { keys.append(Int32(i)); values.append("v\(i)") }
            params.append(array: &keys); params.append(array: &values)
            let insert = PreparedStatement("INSERT INTO t SELECT * FROM unnest($1::int4[], $2::text[])")
            let r = try session.pipeline { p in
                try p.execute("BEGIN")
                try p.execute(insert, params)
                try p.execute("COMMIT")
            }
            #expect(r.map(\.commandTag) == ["BEGIN", "INSERT 0 5000", "COMMIT"])
            do {
                _ = try session.pipeline { p in
                    try p.execute("BEGIN")
                    try p.execute(insert, params)
                    try p.execute("COMMIT")
                }
            } catch let error as PostgresError {
                #expect(error.sqlState == .uniqueViolation)
                #expect(error.commandIndex == 1)
            }
            #expect(session.transactionStatus == .failed)
            try session.rollback()
            keys.removeAll()
            return try session.execute("SELECT count(*) FROM t").int64(0, 0)
        }
        #expect(n == 5000)
        await c.close()
        await #expect(throws: PostgresError.self) { try await c.perform { _ in } }
        do {
            var cf = PostgresConfiguration(uri: uri + "x"); cf.connectTimeout = .seconds(2)
            _ = try await PostgresConnection.connect(cf)
        } catch { print(error) }
    }
}
