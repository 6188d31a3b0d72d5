// The choice of strategy from real catalogues, the faults it names, and SQL with odd names in it.

import Postgres
import Records
import Testing

@testable import Apply

private let shape = TableShape(
    name: "t", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: .text)], key: [0])

extension ServerTests {
    @Suite struct InspectorTests {
        @Test func whatTheCatalogueAllows() async throws {
            let table = "CREATE TABLE t (id int PRIMARY KEY, v text"
            let function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            let cases: [(String, WriteStrategy, String?)] = [
                (table + ")", .coalesce, nil),
                (table + ", d int DEFAULT 1)", .coalesce, nil),
                ("CREATE TABLE t (id int8 PRIMARY KEY, v varchar)", .coalesce, nil),
                (table + "); CREATE INDEX n ON t ((1))", .rounds, "partial or expression index n"),
                (table + "); CREATE INDEX n ON t (v)", .rounds, "index n can refuse"),
                (table + ", d int); CREATE INDEX n ON t (d)", .coalesce, nil),
                (table + ", CONSTRAINT c CHECK (id > 0))", .rounds, "check c"),
                ("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", .rounds, "column v has a length"),
                ("CREATE TABLE t (id int2 PRIMARY KEY, v text)", .rounds, "column id may refuse"),
                ("CREATE DOMAIN d AS text; CREATE TABLE t (id int PRIMARY KEY, v d)", .rounds, "column v has a domain"),
                (table + ", d int NOT NULL)", .rounds, "column d is NOT NULL"),
                (table + ", g int GENERATED ALWAYS AS (id + 1) STORED)", .rounds, "generated columns"),
                (
                    "CREATE TABLE o (id int PRIMARY KEY);" + table + ", o int, CONSTRAINT r FOREIGN KEY (o) REFERENCES o)",
                    .rounds,
                    "foreign key r"
                ),
                (table + "); CREATE TABLE o (id int CONSTRAINT r REFERENCES t)", .rounds, "foreign key r references it"),
                (
                    table + "); CREATE TABLE o (id int CONSTRAINT r REFERENCES t ON DELETE CASCADE)", .rounds,
                    "foreign key r references it"
                ),
                (function + table + "); CREATE TRIGGER x AFTER DELETE ON t EXECUTE FUNCTION f()", .rounds, "trigger x"),
                (function + table + "); CREATE TRIGGER x AFTER TRUNCATE ON t EXECUTE FUNCTION f()", .coalesce, nil),
                (
                    function + table + "); CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", .sequential,
                    "trigger x runs before"
                ),
                (
                    function + table
                        + "); CREATE TRIGGER x AFTER DELETE ON t EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER x",
                    .coalesce, nil
                ),
                (table + ", o int CONSTRAINT r REFERENCES t)", .sequential, "foreign key r references its own table"),
                ("CREATE TABLE t (id int PRIMARY KEY, v text CONSTRAINT u UNIQUE)", .sequential, "unique index u"),
                (table + "); CREATE UNIQUE INDEX u ON t (id) WHERE v = 'x'", .sequential, "unique index u"),
                (table + ", EXCLUDE USING btree (v WITH =))", .sequential, "exclusion constraint"),
                // Not for a role that bypasses it, as this one does.
                (table + "); ALTER TABLE t ENABLE ROW LEVEL SECURITY", .coalesce, nil),
                (table + "); CREATE RULE w AS ON UPDATE TO t DO ALSO NOTHING", .sequential, "rule w"),
                (table + "); CREATE TABLE k () INHERITS (t)", .sequential, "parent or children"),
                (
                    table + ") PARTITION BY HASH (id); CREATE TABLE k PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
                    .sequential, "partitioned"
                ),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (ddl, strategy, reason)) in cases.enumerated() {
                let choice = try await database.connection.perform { session in
                    try session.executeScript("CREATE SCHEMA s\(number); SET search_path = s\(number), public; \(ddl)")
                    return try WritePlan(shape, schema: TableInspector.inspect(shape, on: session), coalesce: .auto).choice
                }
                #expect(choice.strategy == strategy, "\(ddl): \(choice)")
                #expect(choice.reasons.isEmpty == (reason == nil), "\(ddl): \(choice)")
                if let reason { #expect(choice.reasons.contains { $0.contains(reason) }, "\(ddl): \(choice)") }
            }
        }

        @Test func coalesceCanBeForced() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE);")
            let schema = try await database.connection.perform { try TableInspector.inspect(shape, on: $0) }
            let forced = schema.chooseStrategy(for: shape, coalesce: .always)
            #expect(forced.strategy == .coalesce && forced.isForced && !forced.reasons.isEmpty)
            #expect(schema.chooseStrategy(for: shape, coalesce: .never).strategy == .sequential)
            var plain = schema
            plain.indexes.removeAll { !$0.isKey }
            #expect(plain.chooseStrategy(for: shape, coalesce: .never).strategy == .rounds)
            #expect(
                plain.chooseStrategy(for: shape, coalesce: .always)
                    == StrategyChoice(strategy: .coalesce, reasons: [], isForced: false))
        }

        @Test func whatDoesNotFitIsNamed() async throws {
            let cases = [
                ("", "does not exist; run the migrations"),
                ("CREATE VIEW t AS SELECT 1 AS id, '' AS v;", "name the table that it reads"),
                ("CREATE TABLE t (id int, v text);", "no unique index on exactly (id)"),
                ("CREATE TABLE t (id int UNIQUE DEFERRABLE, v text);", "no unique index on exactly (id)"),
                ("CREATE TABLE t (id int PRIMARY KEY, w text);", "column v does not exist"),
                ("CREATE TABLE t (id text PRIMARY KEY, v text);", "key column id cannot be looked up by a int4"),
                ("CREATE TABLE t (id int PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED);", "column v is generated"),
                ("CREATE SEQUENCE t;", "is not a table"),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (ddl, expected)) in cases.enumerated() {
                let error = await #expect(throws: ApplyError.self) {
                    try await database.connection.perform { session in
                        try session.executeScript("CREATE SCHEMA s\(number); SET search_path = s\(number); \(ddl)")
                        _ = try WritePlan(shape, schema: TableInspector.inspect(shape, on: session), coalesce: .auto)
                    }
                }
                #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
            }
        }

        /// Names that break SQL which does not quote them, through every statement there is.
        @Test(arguments: [CoalesceSetting.auto, .never]) func oddNames(_ coalesce: CoalesceSetting) async throws {
            let odd = TableShape(
                schema: "sch ema", name: "ta\"b'le$$",
                columns: [
                    ColumnShape(name: "select", type: .int4), ColumnShape(name: "va\"l;--", type: .text, isOptional: true),
                    ColumnShape(name: "é %", type: .text),
                ], key: [0], onUpdate: [("to uch", .now)])
            let database = try await TestDatabase.fresh(
                """
                CREATE SCHEMA "sch ema"; CREATE TABLE "sch ema"."ta""b'le$$" ("select" int PRIMARY KEY, "va""l;--" text,
                  "é %" text CHECK ("é %" <> 'bad'), "to uch" timestamptz);
                """)
            let writer = try await database.writer(odd, coalesce: coalesce)
            let source = TopicPartition("t", 0)
            let claims = try await database.claim(source)
            let records: [TestRecord] = [
                .event(.upsert, [.int(1), .text("a"), .text("b")]), .event(.create, [.int(2), .absent, .text("b")]),
                .event(.update, [.int(1), .absent, .text("c")]), .event(.upsert, [.int(3), .text("x"), .text("bad")]),
                .event(.create, [.int(4), .text("x"), .text("y")]), .event(.delete, [.int(4), .absent, .absent]),
            ]
            let outcome = try await database.apply(writer, [changeBatch(source, from: 0, records, shape: odd)], claims)
            #expect(outcome.report?.deadLetters == ["sql:check": 1], "\(outcome)")
            let rows = try await database.rows(
                """
                SELECT concat_ws('|', "select", "va""l;--", "é %", "to uch" IS NOT NULL) FROM "sch ema"."ta""b'le$$" ORDER BY 1
                """
            )
            #expect(rows == ["1|a|c|t", "2|b|f"])
        }
    }
}
