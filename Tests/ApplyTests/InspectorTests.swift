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
                ("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", .coalesce, nil),
                ("CREATE TABLE t (id int2 PRIMARY KEY, v char(9))", .coalesce, nil),
                ("CREATE TYPE e AS ENUM ('x'); CREATE TABLE t (id int PRIMARY KEY, v e)", .rounds, "column v may refuse"),
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
                    "row trigger x"
                ),
                (
                    function + table + "); CREATE TRIGGER x AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()", .sequential,
                    "row trigger x"
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
                    "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY HASH (id); " + Self.partition("t", of: "p"),
                    .sequential, "parent"
                ),
                // A number of the server's for each row is no second key, unless rows may have others.
                ("CREATE TABLE t (id int UNIQUE, v text, n bigserial PRIMARY KEY)", .coalesce, nil),
                ("CREATE TABLE t (id int UNIQUE, v text, n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", .coalesce, nil),
                (
                    "CREATE TABLE t (id int UNIQUE, v text, n int GENERATED ALWAYS AS IDENTITY (CYCLE) UNIQUE)", .sequential,
                    "unique index t_n_key"
                ),
                (
                    "CREATE SEQUENCE q; CREATE TABLE t (id int UNIQUE, v text, n int8 DEFAULT nextval('q') UNIQUE)", .sequential,
                    "unique index t_n_key"
                ),
                ("CREATE TABLE t (id int UNIQUE, v text, n bigserial, UNIQUE (n, v))", .sequential, "unique index"),
                // As REINDEX CONCURRENTLY leaves one for a while.
                (
                    table
                        + "); CREATE UNIQUE INDEX u ON t (id); "
                        + "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u'::regclass",
                    .coalesce, nil
                ),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (ddl, strategy, reason)) in cases.enumerated() {
                let choice = try await database.connection.perform { session in
                    try session.executeScript("CREATE SCHEMA s\(number); SET search_path = s\(number), public; \(ddl)")
                    return try WritePlan(shape, schema: TableInspector.inspect(shape, on: session)).choice
                }
                #expect(choice.strategy == strategy, "\(ddl): \(choice)")
                #expect(choice.reasons.isEmpty == (reason == nil), "\(ddl): \(choice)")
                if let reason { #expect(choice.reasons.contains { $0.contains(reason) }, "\(ddl): \(choice)") }
            }
        }

        private static func partition(_ name: String, of table: String) -> String {
            "CREATE TABLE \(name) PARTITION OF \(table) FOR VALUES WITH (MODULUS 1, REMAINDER 0);"
        }

        /// A partitioned table is written like a plain one, unless a partition has something of its own.
        @Test func partitionsAreLookedInto() async throws {
            let function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            let other = "CREATE TABLE o (id int PRIMARY KEY, n int);"
            let cases: [(String, String, WriteStrategy, String?)] = [
                ("", "", .coalesce, nil),
                ("", "CREATE INDEX n ON t (v)", .rounds, "index n can refuse"),
                ("CHECK (id > 0)", "", .rounds, "check"),
                ("UNIQUE (id, v)", "", .sequential, "unique index"),
                ("", "ALTER TABLE k ADD CONSTRAINT c CHECK (id > 0)", .sequential, "constraint c of partition k"),
                ("CHECK (id > 0)", "ALTER TABLE k ADD CONSTRAINT c CHECK (v <> '')", .sequential, "constraint c of partition k"),
                (
                    "", "ALTER TABLE k ADD CONSTRAINT r FOREIGN KEY (id) REFERENCES o", .sequential,
                    "constraint r of partition k"
                ),
                ("", "ALTER TABLE o ADD CONSTRAINT r FOREIGN KEY (n) REFERENCES k", .sequential, "constraint r of partition k"),
                ("", "ALTER TABLE t ADD CONSTRAINT r FOREIGN KEY (id) REFERENCES o", .rounds, "foreign key r"),
                ("", "ALTER TABLE o ADD CONSTRAINT r FOREIGN KEY (n) REFERENCES t", .rounds, "foreign key r references it"),
                ("", "CREATE UNIQUE INDEX u ON k (v)", .sequential, "index u of partition k"),
                ("", "CREATE INDEX u ON k (id)", .coalesce, nil),
                ("", "ALTER TABLE k ALTER v SET NOT NULL", .sequential, "column v of partition k"),
                (
                    "", "CREATE TRIGGER x AFTER INSERT ON k FOR EACH ROW EXECUTE FUNCTION f()", .sequential,
                    "trigger x of partition k"
                ),
                ("", "CREATE TRIGGER x AFTER INSERT ON k EXECUTE FUNCTION f()", .coalesce, nil),
                ("", "CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", .rounds, "trigger x"),
                ("", "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", .sequential, "row trigger x"),
                (
                    "",
                    "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE ONLY t DISABLE TRIGGER x",
                    .sequential, "trigger x of partition k"
                ),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (constraint, ddl, strategy, reason)) in cases.enumerated() {
                let choice = try await database.connection.perform { session in
                    try session.executeScript(
                        """
                        CREATE SCHEMA s\(number); SET search_path = s\(number), public; \(function)\(other)
                        CREATE TABLE t (id int PRIMARY KEY, v text\(constraint.isEmpty ? "" : ", " + constraint))
                          PARTITION BY HASH (id);
                        \(Self.partition("k", of: "t")) \(ddl)
                        """)
                    return try WritePlan(shape, schema: TableInspector.inspect(shape, on: session)).choice
                }
                #expect(choice.strategy == strategy, "\(constraint) \(ddl): \(choice)")
                #expect(choice.reasons.isEmpty == (reason == nil), "\(ddl): \(choice)")
                if let reason { #expect(choice.reasons.contains { $0.contains(reason) }, "\(ddl): \(choice)") }
            }
        }

        /// What ON CONFLICT would propose for rows that exist costs a number, and runs triggers.
        @Test func insertsLookUpWhereProposingHasEffects() async throws {
            let table = "CREATE TABLE t (id int UNIQUE, v text);"
            let function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            let cases: [(String, Bool)] = [
                ("CREATE TABLE t (id int UNIQUE, v text, n bigserial)", false),
                ("CREATE TABLE t (id int UNIQUE, v text, n serial)", true),
                ("CREATE TABLE t (id serial UNIQUE, v text)", false),
                (function + table + "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", true),
                (function + table + "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", false),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (ddl, looksUp)) in cases.enumerated() {
                let plan = try await database.connection.perform { session in
                    try session.executeScript("CREATE SCHEMA s\(number); SET search_path = s\(number), public; \(ddl)")
                    return try WritePlan(shape, schema: TableInspector.inspect(shape, on: session))
                }
                #expect(plan.insertsLookUp == looksUp, "\(ddl)")
            }
        }

        @Test func rowTriggersAreLocalIfTheMappingSaysSo() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                CREATE TABLE t (id int PRIMARY KEY, v text);
                CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
                """)
            let schema = try await database.connection.perform { try TableInspector.inspect(shape, on: $0) }
            func choice(_ strategy: WriteChoice.Strategy, _ triggers: WriteChoice.Triggers) -> StrategyChoice {
                schema.chooseStrategy(for: shape.written(strategy, triggers: triggers))
            }
            let against = "row trigger x may read or write other rows"
            #expect(choice(.auto, .unknown) == StrategyChoice(strategy: .sequential, reasons: [against], isForced: false))
            #expect(choice(.auto, .rowLocal) == StrategyChoice(strategy: .rounds, reasons: ["trigger x"], isForced: false))
            #expect(choice(.rounds, .unknown) == StrategyChoice(strategy: .rounds, reasons: [against], isForced: true))
            #expect(!choice(.rounds, .rowLocal).isForced)
            #expect(choice(.coalesce, .rowLocal) == StrategyChoice(strategy: .coalesce, reasons: ["trigger x"], isForced: true))
        }

        @Test func theMappingCanNameTheStrategy() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE);")
            let schema = try await database.connection.perform { try TableInspector.inspect(shape, on: $0) }
            let forced = schema.chooseStrategy(for: shape.written(.coalesce))
            #expect(forced.strategy == .coalesce && forced.isForced && !forced.reasons.isEmpty)
            let rounds = schema.chooseStrategy(for: shape.written(.rounds))
            #expect(rounds.strategy == .rounds && rounds.isForced && rounds.reasons == ["unique index t_v_key besides the key"])
            var plain = schema
            plain.indexes.removeAll { !$0.isKey }
            for (asked, got) in [(.rounds, .rounds), (.sequential, .sequential)] as [(WriteChoice.Strategy, WriteStrategy)] {
                let choice = plain.chooseStrategy(for: shape.written(asked))
                #expect(
                    choice == StrategyChoice(strategy: got, reasons: ["the mapping says write: \(asked)"], isForced: false))
            }
            #expect(
                plain.chooseStrategy(for: shape.written(.coalesce))
                    == StrategyChoice(strategy: .coalesce, reasons: [], isForced: false))
        }

        @Test func whatDoesNotFitIsNamed() async throws {
            let cases = [
                ("", "does not exist; run the migrations"),
                ("CREATE VIEW t AS SELECT 1 AS id, '' AS v;", "name the table that it reads"),
                ("CREATE TABLE t (id int, v text);", "no unique index on exactly (id)"),
                ("CREATE TABLE t (id int UNIQUE DEFERRABLE, v text);", "no unique index on exactly (id)"),
                ("CREATE TABLE t (id int PRIMARY KEY, w text);", "column v does not exist"),
                ("CREATE TABLE t (id text PRIMARY KEY, v text);", "key column id is text, which cannot be looked up by a int4"),
                ("CREATE TABLE t (id int PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED);", "column v is generated"),
                ("CREATE SEQUENCE t;", "is not a table"),
            ]
            let database = try await TestDatabase.fresh()
            for (number, (ddl, expected)) in cases.enumerated() {
                let error = await #expect(throws: ApplyError.self) {
                    try await database.connection.perform { session in
                        try session.executeScript("CREATE SCHEMA s\(number); SET search_path = s\(number), public; \(ddl)")
                        _ = try WritePlan(shape, schema: TableInspector.inspect(shape, on: session))
                    }
                }
                #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
            }
        }

        /// Names that break SQL which does not quote them, through every statement there is.
        @Test(arguments: WriteChoice.Strategy.allCases) func oddNames(_ strategy: WriteChoice.Strategy) async throws {
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
            let writer = try await database.writer(odd.written(strategy))
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
