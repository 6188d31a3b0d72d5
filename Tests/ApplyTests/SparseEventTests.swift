// Events that lack some of the optional fields: how many statements they take, and what concurrent changes of the table do to them.

import Postgres
import Records
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)

extension ServerTests {
    @Suite struct SparseEventTests {
        /// As many statements whatever fields the events have, and no limit on how many combinations there are.
        @Test(arguments: ["", ", CHECK (c1 >= 0)", ", UNIQUE (c1)"]) func sparseEventsCostNoStatements(_ constraint: String)
            async throws
        {
            let columns = (1...20).map { "c\($0)" }
            let database = try await TestDatabase.fresh(
                "CREATE TABLE sparse (id int PRIMARY KEY, \(columns.map { $0 + " int" }.joined(separator: ", "))\(constraint));")
            let shape = TableShape(
                name: "sparse",
                columns: [ColumnShape(name: "id", type: .int4)]
                    + columns.map { ColumnShape(name: $0, type: .int4, isOptional: true) }, key: [0])
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let records = (0..<2_000).map { id -> TestRecord in
                let mask = id * 524_287
                var values = [TestValue.int(Int32(id))]
                for bit in 0..<20 { values.append((mask >> bit) & 1 == 1 ? .int(Int32(id * 20 + bit)) : .absent) }
                return .event(.upsert, values)
            }
            let transaction = try writer.prepare([changeBatch(p0, from: 0, records, shape: shape)], claims: claims)
            let statements = try await database.countStatements {
                let outcome = try await database.connection.perform {
                    writer.execute(transaction, on: $0, final: .all, now: 0)
                }
                #expect(outcome.report?.records == 2_000 && outcome.report?.deadLetters == [:], "\(outcome)")
            }
            #expect(statements.count <= 8, "\(statements)")
            #expect(statements.contains { $0.contains("MERGE") } == constraint.isEmpty)
            #expect(statements.contains { $0.contains("enable_hashjoin") } == constraint.isEmpty)
            let written = try await database.rows(
                "SELECT count(*) || ' ' || sum(num_nonnulls(\(columns.joined(separator: ", ")))) FROM sparse")
            let masks = (0..<2_000).map { id in (id * 524_287) & 0xFFFFF }
            let present = masks.reduce(0) { sum, mask in sum + mask.nonzeroBitCount }
            #expect(written == ["2000 \(present)"])
        }

        /// Keys with very many events: small rounds have statements of their own only where triggers run once a statement, and not more of
        /// them than memory allows.
        @Test func smallRoundsHaveStatementsWhereTriggersRunByStatement() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE hot (id int PRIMARY KEY, a int);
                CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                """)
            let shape = TableShape(
                name: "hot", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .int4)], key: [0],
                write: WriteChoice(.rounds))
            let claims = try await database.claim(p0)
            let records = (0..<1_000).map { TestRecord.event(.upsert, [.int(Int32($0 % 5)), .int(Int32($0))]) }
            let batch = changeBatch(p0, from: 0, records, shape: shape)
            let plain = try await database.writer(shape).prepare([batch], claims: claims)
            #expect(plain.built.statements.count == 3, "one round; the rest is written by the function")
            try await database.script(
                "CREATE TRIGGER nothing AFTER UPDATE ON hot FOR EACH STATEMENT EXECUTE FUNCTION nothing()")
            let writer = try await database.writer(shape)
            let captured = try writer.prepare([batch], claims: claims)
            #expect(captured.built.statements.count == ApplyConfiguration.mostRounds + 2)
            let outcome = try await database.connection.perform { writer.execute(captured, on: $0, now: 0) }
            #expect(outcome.report?.records == 1_000, "\(outcome)")
            #expect(
                try await database.rows("SELECT concat_ws(' ', id, a) FROM hot ORDER BY id")
                    == (0..<5).map { "\($0) \(995 + $0)" })
        }

        /// The function finds the row of a key's next event where it has written it, unless a trigger has written it once more since, or the
        /// event before was refused.
        @Test func theRowOfTheSameKeyIsFoundWhereverItIs() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE hot (id int PRIMARY KEY, a int CHECK (a <> 13), n int DEFAULT 0);
                CREATE FUNCTION once_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  IF NEW.a % 3 = 0 AND pg_trigger_depth() = 1 THEN UPDATE hot SET n = n + 1 WHERE id = NEW.id; END IF;
                  RETURN NULL; END $$;
                CREATE TRIGGER once_more AFTER UPDATE OF a ON hot FOR EACH ROW EXECUTE FUNCTION once_more();
                """)
            let shape = TableShape(
                name: "hot", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .int4)], key: [0],
                write: WriteChoice(.rounds, triggers: .rowLocal))
            let writer = try await database.writer(shape)
            #expect(writer.plan.function.definition.contains("t.ctid = _s_tid"))
            var records: [TestRecord] = []
            for value in Int32(0)..<40 {
                records.append(.event(value % 20 == 19 ? .delete : .upsert, [.int(value % 2), .int(value)]))
            }
            let outcome = try await database.apply(
                writer, [changeBatch(p0, from: 0, records, shape: shape)], try await database.claim(p0))
            #expect(outcome.report?.deadLetters.values.reduce(0, +) == 1, "\(outcome)")
            // Of key 0 the values 0, 2, … 38, 0 of which inserts; of key 1 19 and 39 are Deletes, and 13 is refused.
            #expect(try await database.rows("SELECT concat_ws(' ', id, a, n) FROM hot ORDER BY id") == ["0 38 6"])
        }

        /// A column that rows need and events may lack, as any text of Debezium's, costs nothing as long as no event lacks it.
        @Test func completeEventsAreCoalescedWhereRowsNeedAColumn() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE needs (id int PRIMARY KEY, a int NOT NULL, b int);")
            let shape = TableShape(
                name: "needs",
                columns: [ColumnShape(name: "id", type: .int4)]
                    + ["a", "b"].map { ColumnShape(name: $0, type: .int4, isOptional: true) }, key: [0])
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let complete = (0..<200).map { TestRecord.event(.upsert, [.int($0 % 100), .int($0), .int($0)]) }
            let transaction = try writer.prepare([changeBatch(p0, from: 0, complete, shape: shape)], claims: claims)
            let statements = try await database.countStatements {
                let outcome = try await database.connection.perform {
                    writer.execute(transaction, on: $0, final: .all, now: 0)
                }
                #expect(outcome.report?.superseded == 100, "\(outcome)")
            }
            #expect(statements.count { $0.contains("ON CONFLICT") } == 1, "\(statements)")
            #expect(!statements.contains { $0.contains("UPDATE needs") || $0.contains("NOT EXISTS") }, "\(statements)")
            // The first event of key 200 is refused, which the second must not hide; key 1 is there.
            let sparse: [TestRecord] = [
                .event(.upsert, [.int(200), .absent, .int(1)]), .event(.upsert, [.int(200), .int(2), .int(2)]),
                .event(.upsert, [.int(1), .absent, .int(3)]),
            ]
            let outcome = try await database.apply(
                writer, [changeBatch(p0, from: 200, sparse, shape: shape)], try await database.claim(p0))
            #expect(outcome.report?.deadLetters.values.reduce(0, +) == 1, "\(outcome)")
            #expect(
                try await database.rows("SELECT concat_ws(' ', id, a, b) FROM needs WHERE id IN (1, 200) ORDER BY id")
                    == ["1 101 3", "200 2 2"])
        }

        /// A batch's rows are found by their key, also where reading the whole table would be cheaper if each page had to be sought on disk.
        @Test func aTableLargerThanTheBatchIsNotScanned() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE TABLE sparse (id int PRIMARY KEY, a int);
                INSERT INTO sparse SELECT x, x FROM generate_series(1, 200000) AS x;
                """)
            let shape = TableShape(
                name: "sparse",
                columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .int4, isOptional: true)], key: [0])
            let plan = try await database.writer(shape).plan
            let array = "'{\((1...5_000).map { String($0 * 40) }.joined(separator: ","))}'"
            for kind in [StatementKind.delete, .update, .merge] {
                let statement = plan.statement(StatementKey(kind: kind))
                let arrays = Array(repeating: array, count: statement.parameterCount).joined(separator: ", ")
                try await database.script("PREPARE \(kind) AS \(statement.sql); SET plan_cache_mode = force_custom_plan")
                let lines = try await database.rows("EXPLAIN EXECUTE \(kind) (\(arrays))").joined(separator: "\n")
                #expect(lines.contains("Index Scan") && !lines.contains("Seq Scan"), "\(kind): \(lines)")
            }
        }

        /// A row that another session inserts meanwhile is present: mode insert_only leaves it as it is, by every strategy.
        @Test(arguments: [WriteChoice.Strategy.coalesce, .rounds, .sequential])
        func aRowThatComesMeanwhileIsLeftAsItIs(_ strategy: WriteChoice.Strategy) async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE seen (id int PRIMARY KEY, a int);")
            let shape = TableShape(
                name: "seen", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .int4)], key: [0],
                mode: .insertOnly, write: WriteChoice(strategy))
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let other = try await database.connect()
            _ = try await other.perform { try $0.executeScript("BEGIN; INSERT INTO seen VALUES (1, 10)") }
            let records = (0..<3).map { TestRecord.event(.create, [.int($0), .int(7)]) }
            async let applied = database.apply(writer, [changeBatch(p0, from: 0, records, shape: shape)], claims)
            try await database.waitForLockWaiter()
            _ = try await other.perform { try $0.executeScript("COMMIT") }
            let outcome = try await applied
            #expect(outcome.report?.deadLetters == [:], "\(outcome)")
            #expect(try await database.rows("SELECT concat_ws(' ', id, a) FROM seen ORDER BY id") == ["0 7", "1 10", "2 7"])
        }

        /// MERGE does not see a row that another session inserts meanwhile, and where a constraint keeps the table from being coalesced the
        /// INSERT that follows an UPDATE does not either: it is refused, and nothing of the event gets lost.
        @Test(arguments: [false, true], ["", ", CHECK (a > 0)"])
        func aRowThatComesMeanwhileIsUpdated(_ isFinal: Bool, _ constraint: String) async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE sparse (id int PRIMARY KEY, a int, b int\(constraint));")
            let shape = TableShape(
                name: "sparse",
                columns: [ColumnShape(name: "id", type: .int4)]
                    + ["a", "b"].map { ColumnShape(name: $0, type: .int4, isOptional: true) }, key: [0])
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let other = try await database.connect()
            _ = try await other.perform { try $0.executeScript("BEGIN; INSERT INTO sparse VALUES (1, 10, 20)") }
            let records = (0..<3).map { TestRecord.event(.upsert, [.int($0), .int(7), .absent]) }
            let batch = changeBatch(p0, from: 0, records, shape: shape)
            async let applied = database.apply(writer, [batch], claims, isFinal: isFinal)
            try await database.waitForLockWaiter()
            _ = try await other.perform { try $0.executeScript("COMMIT") }
            var outcome = try await applied
            if !isFinal {
                #expect(outcome.word == "retry constraint")
                outcome = try await database.apply(writer, [batch], claims, isFinal: false)
            }
            #expect(outcome.report?.deadLetters == [:], "\(outcome)")
            #expect(
                try await database.rows("SELECT concat_ws(' ', id, a, b) FROM sparse ORDER BY id") == ["0 7", "1 7 20", "2 7"])
        }
    }
}
