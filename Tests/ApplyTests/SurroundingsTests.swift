// Proves that neither the settings of a role, nor a database's encoding, nor an extension's errors change what is written.

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

        /// A name that the database's encoding does not have must not refuse the dead letter, which would hold up the partition for good.
        @Test func aDeadLetterIsWrittenInAnyEncoding() async throws {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, a text);",
                options: "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.mapping = "注文é"
            let writer = try await database.writer(
                shape(ColumnShape(name: "a", type: .text, isNullable: true)), configuration: configuration)
            let claims = try await database.claim(source)
            let batch = changeBatch(
                source, from: 0,
                [
                    .fault("missing_field"), .event(.upsert, [.int(1), .text("名")]), .event(.upsert, [.int(2), .text("é")]),
                    .event(.upsert, [.int(3), .text("名")]),
                ],
                shape: writer.plan.shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.report?.deadLetters == ["decode:missing_field": 1, "sql:data": 2], "\(outcome.word)")
            #expect(try await database.rows("SELECT a FROM t") == ["é"])
            #expect(try await database.rows("SELECT DISTINCT mapping FROM sluice_dead_letters") == [#"\u{6CE8}\u{6587}\u{00E9}"#])
            await database.connection.close()
        }

        /// hstore before PostgreSQL 16 and PostGIS call a value that they cannot read an internal error.
        @Test func anInternalErrorOfACastToATypeOfAnExtensionIsADeadLetter() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TYPE mood AS ENUM ('glad');
                CREATE FUNCTION mood(text) RETURNS mood LANGUAGE plpgsql AS $$
                BEGIN
                    IF $1 <> 'glad' THEN RAISE EXCEPTION 'unexpected end of string' USING ERRCODE = 'XX000'; END IF;
                    RETURN 'glad'::mood;
                END $$;
                CREATE CAST (text AS mood) WITH FUNCTION mood(text);
                CREATE TABLE t (id int PRIMARY KEY, a mood);
                """)
            let writer = try await database.writer(shape(ColumnShape(name: "a", type: .text, cast: "mood")))
            let claims = try await database.claim(source)
            let batch = changeBatch(
                source, from: 0, [.event(.upsert, [.int(1), .text("sad")]), .event(.upsert, [.int(2), .text("glad")])],
                shape: writer.plan.shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.report?.deadLetters == ["sql:other": 1], "\(outcome.word)")
            #expect(try await database.rows("SELECT id::text FROM t") == ["2"])
            await database.connection.close()
        }
    }
}
