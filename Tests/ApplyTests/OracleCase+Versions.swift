// The tables of the oracle test whose mappings have a version.

import Records
import TestSupport

@testable import Apply

extension OracleCase {
    /// A table with a version of few values, so that many are equal. One row has none, and one is newer than most events.
    private static func dated(
        _ name: String, _ strategy: WriteStrategy, keepsFirst: Bool = false, constraint: String = "", refusals: Set<String> = [],
        optional: Bool = false, deletes: Bool = false, isSeen: Bool = false, day: String = "CURRENT_DATE"
    ) -> OracleCase {
        OracleCase(
            name: "version, \(name)",
            ddl: {
                "CREATE TABLE dated (id int PRIMARY KEY, at int, a text, n int, other int DEFAULT 5, day date DEFAULT \(day), "
                    + "gone date\(constraint));" + (isSeen ? seeing("dated") : "")
            },
            shape: TableShape(
                name: "dated",
                columns: [
                    ColumnShape(name: "at", type: .int4), ColumnShape(name: "id", type: .int4),
                    ColumnShape(name: "a", type: .text, isOptional: optional),
                    ColumnShape(name: "n", type: .int4, isNullable: true),
                ], key: [1], onUpdate: [("day", .currentDate)], write: WriteChoice(triggers: .rowLocal),
                deletion: deletes ? [("gone", .currentDate)] : [], version: RowVersion(column: 0, keepsFirst: keepsFirst)),
            strategy: strategy,
            queries: ["SELECT (id, at, a, n, other, day, gone)::text FROM dated ORDER BY id"]
                + (isSeen ? ["SELECT what FROM seen ORDER BY substring(what from '\\((\\d+)'), n"] : []),
            reset: (isSeen ? "TRUNCATE seen RESTART IDENTITY;" : "") + """
                TRUNCATE dated; INSERT INTO dated (id, at, n, other, gone)
                VALUES (0, 4, 100, 6, NULL), (1, NULL, 101, 7, NULL), (2, 9, 102, 7, \(deletes ? "'2000-01-01'" : "NULL"));
                \(isSeen ? "TRUNCATE seen RESTART IDENTITY;" : "")
                """,
            values: { key, random in
                [
                    .int(Int32(random.next() % 12)), .int(Int32(key)),
                    optional && random.chance(0.5) ? .absent : .text("a\(random.next() % 9)"),
                    random.chance(0.2) ? .null : .int(Int32(random.next() % 40)),
                ]
            }, refusals: refusals)
    }

    /// A composite key with text in it, many of which share their first eight bytes.
    private static let datedPairs = OracleCase(
        name: "version, composite key",
        ddl: { "CREATE TABLE pairs (k text, n int, v text, at int8, extra text DEFAULT 'x', PRIMARY KEY (n, k));" },
        shape: TableShape(
            name: "pairs",
            columns: [
                ColumnShape(name: "v", type: .text), ColumnShape(name: "k", type: .text), ColumnShape(name: "n", type: .int4),
                ColumnShape(name: "at", type: .int4),
            ], key: [1, 2], version: RowVersion(column: 3)),
        strategy: .coalesce, queries: ["SELECT t::text FROM pairs t ORDER BY k COLLATE \"C\", n"],
        reset: "TRUNCATE pairs; INSERT INTO pairs VALUES ('prefix-é1', 0, 'old', 3, 'y');",
        values: { key, random in
            [
                .text("v\(random.next() % 1000)"), .text("prefix-é\(key % 3)"), .int(Int32(key / 3)),
                .int(Int32(random.next() % 9) - 4),
            ]
        })

    static let ofVersions = [
        dated("net changes", .coalesce), dated("net changes, the first of equal ones", .coalesce, keepsFirst: true), datedPairs,
        dated("rounds", .rounds, constraint: ", CHECK (n <> 7)", refusals: ["23514"], isSeen: true),
        dated("on_update columns with other defaults", .rounds, keepsFirst: true, day: "'1999-09-09'"),
        dated("optional columns", .rounds, optional: true),
        dated("rows that stay", .rounds, keepsFirst: true, optional: true, deletes: true, isSeen: true),
        dated("an INSERT that looks the row up", .coalesce, constraint: ", number serial"),
        dated("sequential", .sequential, constraint: ", UNIQUE (n)", refusals: ["23505"], isSeen: true),
        dated(
            "sequential, rows that stay", .sequential, keepsFirst: true, constraint: ", UNIQUE (n)", refusals: ["23505"],
            optional: true, deletes: true),
    ]
}
