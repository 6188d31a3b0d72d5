// The tables of the oracle test: what each looks like, and what its events are like.

import Records
import TestSupport
import Testing

@testable import Apply

/// One table under test.
struct OracleCase: Sendable, CustomTestStringConvertible {
    let name: String
    /// Creates everything in the current schema.
    let ddl: @Sendable () throws -> String
    let shape: TableShape
    let strategy: WriteStrategy
    /// Tables to compare: a query each, whose rows are text.
    let queries: [String]
    /// Empties and fills the tables.
    let reset: String
    /// An event's values for a key.
    let values: @Sendable (Int, inout SeededRandom) -> [TestValue]
    /// SQLSTATEs that some event of the whole run must have been refused with.
    var refusals: Set<String> = []
    var faults = 0.03
    /// Most records of a batch.
    var longestBatch = 20
    /// Statements of which some run between the batches; those that are refused are left out.
    var changes: [String] = []
    /// Columns refuse values by length, precision or range.
    var hasLimits = false
    /// The events are records that are decoded; `nil`: they are made as the decoder would.
    var document: OracleDocument?

    var testDescription: String { name }

    @Sendable private static func messageValues(_ key: Int, _ random: inout SeededRandom) -> [TestValue] {
        [.int(Int32(key)), .text("n\(random.next() % 5)"), .text("it's \(random.next() % 1000)")]
    }

    private static let messagesReset = """
        TRUNCATE messages; INSERT INTO messages SELECT i, 'old', 'old', '2001-02-03' FROM generate_series(0, 5) i;
        """
    private static let messagesQuery = "SELECT t::text FROM messages t ORDER BY message_id"

    static let messages = OracleCase(
        name: "messages", ddl: { try TestDatabase.migration("0001") }, shape: messagesShape, strategy: .coalesce,
        queries: [messagesQuery], reset: messagesReset, values: messageValues)

    /// Constraints, types, indexes and triggers that come and go while the worker runs.
    static let changing = OracleCase(
        name: "a schema that changes between batches",
        ddl: {
            try TestDatabase.migration("0001") + """
                CREATE TABLE seen (n bigserial, what text);
                CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  INSERT INTO seen(what) VALUES (TG_OP || coalesce(OLD::text, '') || coalesce(NEW::text, ''));
                  RETURN NULL; END $$;
                """
        }, shape: messagesShape, strategy: .coalesce,
        queries: [messagesQuery, "SELECT what FROM seen ORDER BY substring(what from '\\((\\d+)'), n"],
        reset: """
            DROP INDEX IF EXISTS changing; DROP TRIGGER IF EXISTS see ON messages; TRUNCATE seen;
            ALTER TABLE messages DROP CONSTRAINT IF EXISTS changing, ALTER name TYPE varchar;
            """ + messagesReset,
        values: { key, random in
            [.int(Int32(key)), .text("n\(random.next() % 30)"), .text("it's \(random.next() % 1000)")]
        }, refusals: ["23505", "23514", "decode:out_of_range"],
        changes: [
            "CREATE UNIQUE INDEX changing ON messages (name)", "DROP INDEX changing",
            "ALTER TABLE messages ADD CONSTRAINT changing CHECK (name <> 'n7') NOT VALID",
            "ALTER TABLE messages DROP CONSTRAINT changing",
            "ALTER TABLE messages ALTER name TYPE varchar(2) USING left(name, 2)", "ALTER TABLE messages ALTER name TYPE varchar",
            "CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON messages FOR EACH ROW EXECUTE FUNCTION see()",
            "DROP TRIGGER see ON messages",
        ], hasLimits: true)

    static let captured = OracleCase(
        name: "messages with change capture",
        ddl: { try TestDatabase.migration("0001") + TestDatabase.migration("0002") }, shape: messagesShape, strategy: .rounds,
        queries: [
            messagesQuery,
            """
            SELECT (message_id, operation_type, name_before, message_before, name_after, message_after)::text FROM messages_cdc
            ORDER BY message_id, cdc_id
            """,
        ], reset: messagesReset + "TRUNCATE messages_cdc;", values: messageValues)

    private static let itemsShape = TableShape(
        name: "items",
        columns: [
            ColumnShape(name: "id", type: .int4), ColumnShape(name: "name", type: .text),
            ColumnShape(name: "amount", type: .int4), ColumnShape(name: "parent", type: .int4, isNullable: true),
        ], key: [0])

    @Sendable private static func itemValues(_ key: Int, _ random: inout SeededRandom) -> [TestValue] {
        let parent: TestValue = random.chance(0.3) ? .null : .int(Int32(random.chance(0.1) ? 9 : random.next() % 3))
        return [
            .int(Int32(key)), .text("n\(random.next() % 12)"), .int(random.chance(0.08) ? -1 : Int32(random.next() % 100)),
            parent,
        ]
    }

    private static let itemsReset = """
        TRUNCATE items, parents, seen; INSERT INTO parents VALUES (0), (1), (2);
        INSERT INTO items SELECT i, 'n' || i, 1, 1 FROM generate_series(0, 3) i;
        """
    private static let parents = "CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE seen (n bigserial, what text);"
    private static let itemsQuery = "SELECT t::text FROM items t ORDER BY id"

    /// CHECK, a second UNIQUE column from a tiny domain, and a foreign key.
    static let unique = OracleCase(
        name: "check, unique and foreign key",
        ddl: {
            parents
                + "CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL UNIQUE, amount int CHECK (amount >= 0), "
                + "parent int REFERENCES parents);"
        }, shape: itemsShape, strategy: .sequential, queries: [itemsQuery], reset: itemsReset, values: itemValues,
        refusals: ["23505", "23514", "23503"])

    /// The same without the unique column, and a row trigger that sees every change.
    static let checked = OracleCase(
        name: "check, foreign key and row trigger",
        ddl: {
            parents + """
                CREATE TABLE items (id int PRIMARY KEY, name varchar(3) NOT NULL, amount int CHECK (amount >= 0),
                  parent int REFERENCES parents);
                CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  IF NEW.amount = 77 THEN RAISE EXCEPTION 'seventy-seven'; END IF;
                  INSERT INTO seen(what) VALUES (TG_OP || coalesce(OLD::text, '') || coalesce(NEW::text, ''));
                  RETURN NULL; END $$;
                CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION see();
                """
        }, shape: itemsShape.written(.auto, triggers: .rowLocal), strategy: .rounds,
        queries: [itemsQuery, "SELECT what FROM seen ORDER BY substring(what from '\\((\\d+)'), n"], reset: itemsReset,
        values: { key, random in
            var values = itemValues(key, &random)
            if random.chance(0.05) { values[1] = .text("long") }
            if random.chance(0.05) { values[2] = .int(77) }
            return values
        }, refusals: ["23514", "23503", "decode:out_of_range", "P0001"], hasLimits: true)

    /// A deferred foreign key must be checked event by event all the same.
    static let deferred = OracleCase(
        name: "deferred foreign key",
        ddl: {
            parents + """
                CREATE TABLE items (id int PRIMARY KEY, name text, amount int,
                  parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
                """
        }, shape: itemsShape, strategy: .rounds, queries: [itemsQuery], reset: itemsReset,
        values: itemValues, refusals: ["23503"])

    private static func optionalShape(nullable: Bool) -> TableShape {
        TableShape(
            name: "optionals",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "a b\"", type: .text, isOptional: true, isNullable: true),
                ColumnShape(name: "c", type: .int4, isOptional: true), ColumnShape(name: "d", type: .text, isNullable: nullable),
            ], key: [0], onUpdate: [("day", .currentDate)])
    }

    @Sendable private static func optionalValues(_ key: Int, _ random: inout SeededRandom) -> [TestValue] {
        let text: TestValue = random.chance(0.3) ? .absent : random.chance(0.3) ? .null : .text("a\(random.next() % 50)")
        return [
            .int(Int32(key)), text, random.chance(0.4) ? .absent : .int(Int32(random.next() % 50)),
            random.chance(0.1) ? .null : .text("d\(random.next() % 50)"),
        ]
    }

    private static let optionalQuery = "SELECT t::text FROM optionals t ORDER BY id"

    /// Nothing can refuse a row; on_update columns have another default.
    static let optional = OracleCase(
        name: "optional and nullable columns",
        ddl: {
            "CREATE TABLE optionals (id int PRIMARY KEY, \"a b\"\"\" text DEFAULT 'dflt', c int NOT NULL DEFAULT 7, d text, "
                + "day date DEFAULT '1999-09-09');"
        }, shape: optionalShape(nullable: true), strategy: .coalesce, queries: [optionalQuery],
        reset: "TRUNCATE optionals; INSERT INTO optionals SELECT i FROM generate_series(0, 3) i;", values: optionalValues)

    /// Inserts need what events may leave out, updates do not; null is refused.
    static let required = OracleCase(
        name: "required columns that events may leave out",
        ddl: {
            "CREATE TABLE optionals (id int PRIMARY KEY, \"a b\"\"\" text DEFAULT 'dflt', c int NOT NULL CHECK (c < 48), "
                + "d text NOT NULL, day date DEFAULT '1999-09-09');"
        }, shape: optionalShape(nullable: true), strategy: .rounds, queries: [optionalQuery],
        reset: "TRUNCATE optionals; INSERT INTO optionals SELECT i, 'x', 1, 'y' FROM generate_series(0, 3) i;",
        values: optionalValues, refusals: ["23502", "23514"])

    /// A composite key with text in it, many of which share their first eight bytes.
    static let composite = OracleCase(
        name: "composite text key",
        ddl: { "CREATE TABLE pairs (k text, n int, v text, PRIMARY KEY (n, k));" },
        shape: TableShape(
            name: "pairs",
            columns: [
                ColumnShape(name: "v", type: .text), ColumnShape(name: "k", type: .text), ColumnShape(name: "n", type: .int4),
            ], key: [1, 2]),
        strategy: .coalesce, queries: ["SELECT t::text FROM pairs t ORDER BY k COLLATE \"C\", n"], reset: "TRUNCATE pairs;",
        values: { key, random in
            [.text("v\(random.next() % 1000)"), .text("prefix-é\(key % 3)"), .int(Int32(key / 3))]
        })

    /// Rows see each other through a trigger that runs before each INSERT, and through a self-reference.
    static let selfReferencing = OracleCase(
        name: "self-reference and before trigger",
        ddl: {
            """
            CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree, note text);
            CREATE FUNCTION plant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              NEW.note := NEW.note || (SELECT count(*) FROM tree); RETURN NEW; END $$;
            CREATE TRIGGER plant BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION plant();
            """
        },
        shape: TableShape(
            name: "tree",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "parent", type: .int4, isNullable: true),
                ColumnShape(name: "note", type: .text),
            ], key: [0]),
        strategy: .sequential, queries: ["SELECT t::text FROM tree t ORDER BY id"],
        reset: "TRUNCATE tree; INSERT INTO tree VALUES (0, NULL, ''), (1, 0, '');",
        values: { key, random in
            [.int(Int32(key)), random.chance(0.2) ? .null : .int(Int32(random.next() % 10)), .text("t\(random.next() % 9)")]
        }, refusals: ["23503"])

    /// More columns than a function has arguments and a word has bits, each in a random half of the events.
    private static func wide(_ strategy: WriteStrategy, _ constraint: String, refusals: Set<String> = []) -> OracleCase {
        let columns = (1...100).map { "c\($0)" }
        return OracleCase(
            name: "100 columns, \(strategy)",
            ddl: {
                let types = columns.enumerated().map { "\($1) int DEFAULT \($0.isMultiple(of: 3) ? "\($0 % 50)" : "NULL")" }
                return "CREATE TABLE wide (id int PRIMARY KEY, \(types.joined(separator: ", "))\(constraint));"
            },
            shape: TableShape(
                name: "wide",
                columns: [ColumnShape(name: "id", type: .int4)]
                    + columns.map { ColumnShape(name: $0, type: .int4, isOptional: true, isNullable: true) }, key: [0]),
            strategy: strategy, queries: ["SELECT t::text FROM wide t ORDER BY id"],
            reset: "TRUNCATE wide; INSERT INTO wide SELECT i FROM generate_series(0, 3) i;",
            values: { key, random in
                [.int(Int32(key))]
                    + columns.map { _ in
                        random.chance(0.5) ? .absent : random.chance(0.1) ? .null : .int(Int32(random.next() % 60))
                    }
            }, refusals: refusals)
    }

    static let wideCoalesced = wide(.coalesce, "")
    static let wideRounds = wide(.rounds, ", CHECK (c70 < 58)", refusals: ["23514"])
    static let wideSequential = wide(.sequential, ", UNIQUE (c99)", refusals: ["23505"])

    /// Values that a server makes: identity columns as the key and as an optional column, a generated column, a default of a domain.
    static let madeByTheServer = OracleCase(
        name: "identity, generated and domain columns",
        ddl: {
            """
            CREATE DOMAIN dom AS text DEFAULT 'of the domain' CHECK (value <> 'a13');
            CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a dom,
              e text DEFAULT 'none', b int GENERATED BY DEFAULT AS IDENTITY (START 1000), twice int GENERATED ALWAYS AS (b * 2) STORED,
              day date);
            """
        },
        shape: TableShape(
            name: "made",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "a", type: .text, isOptional: true),
                ColumnShape(name: "b", type: .int4, isOptional: true),
                // Assigned to a text.
                ColumnShape(name: "e", type: .int4, isOptional: true),
            ], key: [0], onUpdate: [("day", .currentDate)]),
        strategy: .rounds,
        // The order in which values of a sequence are given out is nobody's promise.
        queries: [
            "SELECT (id, a, CASE WHEN b < 1000 THEN b END, CASE WHEN twice < 2000 THEN twice END, e, day)::text FROM made ORDER BY id"
        ],
        reset: "TRUNCATE made RESTART IDENTITY; INSERT INTO made (a, b) VALUES ('x', 1), ('y', 2);",
        values: { key, random in
            [
                .int(Int32(key)), random.chance(0.4) ? .absent : .text("a\(random.next() % 14)"),
                random.chance(0.4) ? .absent : .int(Int32(random.next() % 50)),
                random.chance(0.4) ? .absent : .int(Int32(random.next() % 50)),
            ]
        }, refusals: ["23514"])

    /// The rows of a key are moved between partitions by nobody: the key decides.
    static let partitioned = OracleCase(
        name: "partitioned table with a check of one partition",
        ddl: {
            """
            CREATE TABLE parts (id int, region int, note varchar(3), PRIMARY KEY (id, region)) PARTITION BY LIST (region);
            CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
            CREATE TABLE parts_1 PARTITION OF parts (CHECK (note <> 'n7')) FOR VALUES IN (1);
            """
        },
        shape: TableShape(
            name: "parts",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "region", type: .int4),
                ColumnShape(name: "note", type: .text, isNullable: true),
            ], key: [0, 1]),
        strategy: .sequential, queries: ["SELECT t::text FROM parts t ORDER BY id, region"],
        reset: "TRUNCATE parts; INSERT INTO parts VALUES (0, 0, 'a'), (1, 1, 'b');",
        values: { key, random in
            [
                .int(Int32(key)), .int(Int32(key % 2)),
                random.chance(0.1) ? .null : .text(random.chance(0.05) ? "long" : "n\(random.next() % 9)"),
            ]
        }, refusals: ["decode:out_of_range", "23514"], hasLimits: true)

    static let all =
        [
            messages, changing, captured, unique, checked, deferred, optional, required, composite, selfReferencing,
            wideCoalesced,
            wideRounds,
            wideSequential, madeByTheServer, partitioned,
        ] + ofTriggers + ofPartitionsAndKeys + ofPolicies + ofModes + ofManyTypes + ofVersions
}
