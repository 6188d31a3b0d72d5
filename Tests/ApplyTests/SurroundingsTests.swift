// Proves that the settings of a role change nothing of what is written.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

extension ServerTests {
    @Suite struct SurroundingsTests {
        private let source = TopicPartition("t", 0)

        private func shape(_ column: ColumnShape, skipsUnchanged: Bool = false) -> TableShape {
            TableShape(
                name: "t", columns: [ColumnShape(name: "id", type: .int4), column], key: [0], skipsUnchanged: skipsUnchanged)
        }

        /// With fewer digits numbers that differ have one text.
        @Test(arguments: [WriteChoice.Strategy.auto, .sequential])
        func aFloatThatDiffersInItsLastDigitIsWritten(_ strategy: WriteChoice.Strategy) async throws {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, a float8); INSERT INTO t VALUES (1, 0.3);")
            let name = try await database.rows("SELECT quote_ident(current_database())")[0]
            for setting in [
                "extra_float_digits = 0", "bytea_output = 'escape'", "array_nulls = off", "quote_all_identifiers = on",
            ] {
                try await database.script("ALTER DATABASE \(name) SET \(setting)")
            }
            let connection = try await database.connect()
            let writer = try await database.writer(
                shape(ColumnShape(name: "a", type: .float8), skipsUnchanged: true).written(strategy))
            let claims = try await database.claim(source)
            let sum = 0.1 + 0.2
            let value = TestValue.value(
                literal: "\(sum)", bytes: withUnsafeBytes(of: sum.bitPattern.bigEndian) { Array($0) })
            let batch = changeBatch(source, from: 0, [.event(.upsert, [.int(1), value])], shape: writer.plan.shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.report?.unchanged == 0, "\(outcome.word)")
            #expect(try await database.rows("SELECT a::text FROM t") == ["0.30000000000000004"])
            let shown = try await connection.perform { session in
                try session.execute(
                    #"SELECT concat_ws(' ', '\x01'::bytea, cardinality(array_remove('{NULL}'::text[], 'NULL')), quote_ident('t'))"#
                ).text(0, 0)
            }
            #expect(shown == #"\x01 1 t"#)
            await connection.close()
            await database.connection.close()
        }
    }
}
