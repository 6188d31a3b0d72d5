// Tables that are only inserted into.

import Records
import TestSupport

@testable import Apply

extension OracleCase {
    private static func shape(_ mode: WriteMode, key: [Int]) -> TableShape {
        TableShape(
            name: "log",
            columns: [
                ColumnShape(name: "id", type: .int4), ColumnShape(name: "note", type: .text, isOptional: true, isNullable: true),
                ColumnShape(name: "n", type: .int4),
            ], key: key, mode: mode)
    }

    @Sendable private static func logValues(_ key: Int, _ random: inout SeededRandom) -> [TestValue] {
        [
            .int(Int32(key)), random.chance(0.3) ? .absent : random.chance(0.3) ? .null : .text("a\(random.next() % 50)"),
            .int(Int32(random.next() % 60)),
        ]
    }

    private static let append = OracleCase(
        name: "append: rows without a key",
        ddl: { "CREATE TABLE log (n int CHECK (n < 57), id int, note text DEFAULT 'none', at date DEFAULT '2001-01-01');" },
        shape: shape(.append, key: []), strategy: .rounds, queries: ["SELECT t::text FROM log t ORDER BY 1"],
        reset: "TRUNCATE log;", values: logValues, refusals: ["23514"])

    /// Rows of other partitions have the value, and none goes.
    private static let appendUnique = OracleCase(
        name: "append: a unique column",
        ddl: { "CREATE TABLE log (n int UNIQUE, id int NOT NULL, note text);" },
        shape: shape(.append, key: [0]), strategy: .rounds, queries: ["SELECT t::text FROM log t ORDER BY 1"],
        reset: "TRUNCATE log;", values: logValues, refusals: ["23505"])

    private static let appendInOrder = OracleCase(
        name: "append: a row trigger",
        ddl: {
            """
            CREATE TABLE log (id int, note text, n int, seen int);
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF NEW.n = 7 THEN RAISE check_violation; END IF;
              NEW.seen := (SELECT count(*) FROM log); RETURN NEW; END $$;
            CREATE TRIGGER see BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION see();
            """
        },
        shape: shape(.append, key: []), strategy: .sequential, queries: ["SELECT t::text FROM log t ORDER BY seen"],
        reset: "TRUNCATE log;", values: logValues, refusals: ["23514"])

    private static let insertOnly = OracleCase(
        name: "insert_only",
        ddl: { "CREATE TABLE log (id int PRIMARY KEY, note text DEFAULT 'none', n int);" },
        shape: shape(.insertOnly, key: [0]), strategy: .coalesce, queries: ["SELECT t::text FROM log t ORDER BY id"],
        reset: "TRUNCATE log; INSERT INTO log SELECT i FROM generate_series(0, 3) i;", values: logValues)

    /// A further unique index needs no order: what is inserted stays.
    private static let insertOnlyUnique = OracleCase(
        name: "insert_only: check, and a second unique column",
        ddl: { "CREATE TABLE log (id int PRIMARY KEY, note text NOT NULL, n int UNIQUE CHECK (n < 55));" },
        shape: shape(.insertOnly, key: [0]), strategy: .rounds, queries: ["SELECT t::text FROM log t ORDER BY id"],
        reset: "TRUNCATE log; INSERT INTO log SELECT i, 'x', i FROM generate_series(0, 1) i;", values: logValues,
        refusals: ["23505", "23514", "23502"])

    private static let insertOnlyCoalescedUnique = OracleCase(
        name: "insert_only: a second unique column alone",
        ddl: { "CREATE TABLE log (id int PRIMARY KEY, note text, n int UNIQUE);" },
        shape: shape(.insertOnly, key: [0]), strategy: .coalesce, queries: ["SELECT t::text FROM log t ORDER BY id"],
        reset: "TRUNCATE log; INSERT INTO log SELECT i, 'x', i FROM generate_series(0, 1) i;", values: logValues,
        refusals: ["23505"])

    static let ofModes = [append, appendUnique, appendInOrder, insertOnly, insertOnlyUnique, insertOnlyCoalescedUnique]
}
