// Proves what the oracle does not see of a mapping's policies: what is counted, and what a table cannot do.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

extension ServerTests {
    @Suite struct PolicyTests {
        private static func shape(_ strategy: WriteChoice.Strategy = .auto, deletion: String? = nil) -> TableShape {
            TableShape(
                name: "t",
                columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .text, isNullable: true)],
                key: [0], onUpdate: [("day", .currentDate)], write: WriteChoice(strategy),
                deletion: deletion.map { [($0, .now)] } ?? [], skipsUnchanged: true)
        }

        private static let table =
            "CREATE TABLE t (id int PRIMARY KEY, a text, day date, gone timestamptz, must int NOT NULL DEFAULT 1);"

        @Test(arguments: [WriteChoice.Strategy.auto, .sequential])
        func unchangedRowsAreCountedAndNotWritten(_ strategy: WriteChoice.Strategy) async throws {
            let database = try await TestDatabase.fresh(Self.table)
            let writer = try await database.writer(Self.shape(strategy))
            let source = TopicPartition("t", 0)
            let claims = try await database.claim(source)
            func event(_ operation: Operation, _ id: Int32, _ text: TestValue) -> TestRecord {
                .event(operation, [.int(id), text])
            }
            let first = changeBatch(
                source, from: 0, [event(.upsert, 1, .text("x")), event(.upsert, 2, .null)], shape: writer.plan.shape)
            let second = changeBatch(
                source, from: first.records.nextOffset,
                [
                    event(.upsert, 1, .text("x")), event(.update, 2, .null), event(.upsert, 3, .text("new")),
                    event(.delete, 9, .absent),
                ],
                shape: writer.plan.shape)
            var expected = claims
            for (batch, unchanged) in [(first, 0), (second, 3)] {
                let transaction = try writer.prepare([batch], claims: expected)
                let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
                #expect(outcome.report?.unchanged == unchanged)
                expected = [PartitionClaim(source: source, epoch: claims[0].epoch, nextOffset: batch.records.nextOffset)]
            }
            #expect(
                try await database.rows("SELECT count(*)::text FROM t WHERE day IS NOT NULL") == ["0"], "an update was written")
            await database.connection.close()
        }

        /// Values that are equal in SQL and differ all the same are written.
        @Test func equalInSQLIsNotUnchanged() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE COLLATION insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                CREATE TABLE t (id int PRIMARY KEY, a text COLLATE insensitive, day date);
                INSERT INTO t VALUES (1, 'ada');
                """)
            let writer = try await database.writer(Self.shape())
            let source = TopicPartition("t", 0)
            let claims = try await database.claim(source)
            let batch = changeBatch(source, from: 0, [.event(.upsert, [.int(1), .text("Ada")])], shape: writer.plan.shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.report?.unchanged == 0)
            #expect(try await database.rows("SELECT a FROM t") == ["Ada"])
            await database.connection.close()
        }

        /// Some types call a value that they cannot read a syntax error, which is no fault of the statement here.
        @Test func aValueThatACastRefusesIsADeadLetter() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, a tsvector);")
            let shape = TableShape(
                name: "t",
                columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .text, cast: "tsvector")],
                key: [0])
            let writer = try await database.writer(shape)
            let source = TopicPartition("t", 0)
            let claims = try await database.claim(source)
            let batch = changeBatch(
                source, from: 0, [.event(.upsert, [.int(1), .text("'abc")]), .event(.upsert, [.int(2), .text("good")])],
                shape: shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.report?.deadLetters.values.reduce(0, +) == 1, "\(outcome.word)")
            #expect(try await database.rows("SELECT id::text FROM t") == ["2"])
            #expect(try await database.rows("SELECT sqlstate FROM sluice_dead_letters") == ["42601"])
            await database.connection.close()
        }

        /// Records that the mapping skips do not make bad ones look few.
        @Test func skippedRecordsAreNotGoodOnes() async throws {
            let database = try await TestDatabase.fresh(Self.table)
            let plan = try await database.writer(Self.shape()).plan
            var limits = PoisonLimits()
            limits.leastRecords = 10
            let writer = try TableWriter(
                plan: plan, configuration: ApplyConfiguration(group: "g", outcomes: OutcomeTable()), poison: PoisonGuard(limits))
            let source = TopicPartition("t", 0)
            let claims = try await database.claim(source)
            let records = (0..<200).map { $0 % 10 == 0 ? TestRecord.fault("missing_field") : .nothing }
            let batch = changeBatch(source, from: 0, records, shape: plan.shape)
            let transaction = try writer.prepare([batch], claims: claims)
            let outcome = try await database.connection.perform { writer.execute(transaction, on: $0, now: 0) }
            #expect(outcome.stopped == [source], "\(outcome.word)")
            await database.connection.close()
        }

        @Test func aColumnThatMarksDeletedRowsMustTakeNull() async throws {
            let database = try await TestDatabase.fresh(Self.table)
            for (column, sentence) in [
                ("must", "column must is NOT NULL, but is null in rows that are not deleted"),
                ("nobody", "column nobody, which a Delete sets, does not exist"), ("a", "column a is set by a Delete"),
                ("day", "column day is set by a Delete"),
            ] {
                let error = await #expect(throws: ApplyError.self) { _ = try await database.writer(Self.shape(deletion: column)) }
                #expect(error?.description.contains(sentence) == true)
            }
            try await database.script("CREATE RULE quiet AS ON DELETE TO t DO INSTEAD NOTHING")
            let error = await #expect(throws: ApplyError.self) { _ = try await database.writer(Self.shape(deletion: "gone")) }
            #expect(error?.description.contains("a table with rules does not have") == true)
            await database.connection.close()
        }

        /// Net changes are not computed where an update is more than setting values.
        @Test func policiesAreNeverCoalesced() async throws {
            let database = try await TestDatabase.fresh(Self.table)
            for strategy in [WriteChoice.Strategy.auto, .coalesce] {
                let choice = try await database.writer(Self.shape(strategy)).plan.choice
                #expect(choice.strategy == .rounds && !choice.isForced)
                #expect(choice.reasons == ["the mapping says how updates and deletes are written"])
            }
            await database.connection.close()
        }
    }
}
