// The tables of the oracle test whose mappings say how updates and deletes are written.

import Records
import TestSupport

@testable import Apply

extension OracleCase {
    /// Every change of a row is seen by a trigger, so that a write which should not be is seen, too.
    static func seeing(_ table: String) -> String {
        """
        CREATE TABLE seen (n bigserial, what text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO seen(what) VALUES (TG_OP || coalesce(OLD::text, '') || coalesce(NEW::text, '')); RETURN NULL; END $$;
        CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON \(table) FOR EACH ROW EXECUTE FUNCTION see();
        """
    }

    private static func policies(
        _ name: String, _ strategy: WriteStrategy, constraint: String = "", refusals: Set<String> = [], deletes: Bool, skips: Bool
    ) -> OracleCase {
        OracleCase(
            name: "column policies, \(name)",
            ddl: {
                "CREATE TABLE kept (id int PRIMARY KEY, first text DEFAULT 'f', later text DEFAULT 'l', kept text, tail text, "
                    + "n int\(constraint), other int DEFAULT 5, day date DEFAULT '1999-09-09', gone date);" + seeing("kept")
            },
            shape: TableShape(
                name: "kept",
                columns: [
                    ColumnShape(name: "id", type: .int4), ColumnShape(name: "first", type: .text, policy: ColumnPolicy(.insert)),
                    ColumnShape(name: "later", type: .text, isOptional: true, policy: ColumnPolicy(.update)),
                    ColumnShape(name: "kept", type: .text, isNullable: true, policy: ColumnPolicy(keepsIfNull: true)),
                    ColumnShape(
                        name: "tail", type: .text, isOptional: true, isNullable: true,
                        policy: ColumnPolicy(keepsIfNull: true, isMerged: true)),
                    ColumnShape(name: "n", type: .int4, isOptional: true, isNullable: true),
                ], key: [0], onUpdate: [("day", .currentDate)],
                write: WriteChoice(triggers: .rowLocal),
                deletion: deletes ? [("gone", .currentDate)] : [], skipsUnchanged: skips),
            strategy: strategy,
            queries: [
                "SELECT t::text FROM kept t ORDER BY id", "SELECT what FROM seen ORDER BY substring(what from '\\((\\d+)'), n",
            ],
            reset: """
                TRUNCATE kept, seen RESTART IDENTITY; INSERT INTO kept (id, kept, tail, n, other, gone)
                VALUES (0, 'k', 't', 100, 6, NULL), (1, NULL, NULL, NULL, 7, '2000-01-01');
                """,
            values: { key, random in
                func few(_ prefix: String) -> TestValue { .text("\(prefix)\(random.next() % 2)") }
                return [
                    .int(Int32(key)), few("f"), random.chance(0.4) ? .absent : few("l"), random.chance(0.4) ? .null : few("k"),
                    random.chance(0.6) ? .absent : random.chance(0.3) ? .null : few("t"),
                    random.chance(0.5) ? .absent : random.chance(0.2) ? .null : .int(Int32(random.next() % 12)),
                ]
            }, refusals: refusals)
    }

    static let ofPolicies = [
        policies("rounds", .rounds, deletes: false, skips: false),
        policies("rows that stay", .rounds, constraint: " CHECK (n <> 7)", refusals: ["23514"], deletes: true, skips: false),
        policies("unchanged rows", .rounds, deletes: false, skips: true),
        policies("sequential", .sequential, constraint: " UNIQUE", refusals: ["23505"], deletes: true, skips: true),
    ]
}
