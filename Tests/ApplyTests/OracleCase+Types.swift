// The tables of the oracle test with columns and keys of many types.

import Records
import TestSupport

@testable import Apply

extension TestValue {
    /// A value in its type's binary form, and as SQL writes it.
    fileprivate static func value<T: FixedWidthInteger>(_ bigEndian: T, _ literal: String) -> TestValue {
        .value(literal: literal, bytes: withUnsafeBytes(of: bigEndian.bigEndian) { Array($0) })
    }

    fileprivate static func bool(_ value: Bool) -> TestValue { .value(UInt8(value ? 1 : 0), "\(value)") }

    fileprivate static func uuid(_ number: UInt8) -> TestValue {
        let hex = String(number, radix: 16)
        let end = String(repeating: "0", count: 12 - hex.count) + hex
        return .value(
            literal: "'a0000000-0000-0000-0000-\(end)'::uuid", bytes: [0xA0] + [UInt8](repeating: 0, count: 14) + [number])
    }

    fileprivate static func timestamptz(_ microseconds: Int64) -> TestValue {
        .value(microseconds, "('2000-01-01 00:00:00+00'::timestamptz + interval '\(microseconds) us')")
    }

    /// A number of hundredths below 10000, with both digits after the point.
    fileprivate static func hundredths(_ number: UInt16) -> TestValue {
        let digits = number % 100 < 10 ? "0\(number % 100)" : "\(number % 100)"
        let words: [UInt16] = [2, 0, 0, 2, number / 100, number % 100 * 100]
        return .value(literal: "\(number / 100).\(digits)", bytes: words.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] })
    }

    fileprivate static func json(_ text: String, version: [UInt8]) -> TestValue {
        .value(literal: "'\(text)'", bytes: version + Array(text.utf8))
    }
}

extension OracleCase {
    private static let columns: [(ColumnShape, String)] = [
        (ColumnShape(name: "flag", type: .bool, isNullable: true), "bool"),
        (ColumnShape(name: "amount", type: .numeric, isOptional: true, isNullable: true), "numeric DEFAULT 9.90"),
        (ColumnShape(name: "ratio", type: .float8, isOptional: true), "float8 NOT NULL DEFAULT 0.5"),
        (ColumnShape(name: "doc", type: .jsonb, isOptional: true, isNullable: true), "jsonb DEFAULT '{}'"),
        (ColumnShape(name: "raw", type: .json, isNullable: true), "json"),
        (ColumnShape(name: "bytes", type: .bytea, isOptional: true), "bytea DEFAULT '\\x00'"),
        (ColumnShape(name: "tags", type: .text, isArray: true, isOptional: true, isNullable: true), "text[] DEFAULT '{x}'"),
        (ColumnShape(name: "at", type: .timestamp, isOptional: true), "timestamp"),
        (ColumnShape(name: "clock", type: .time, isOptional: true), "time"),
    ]

    private static func ofTypes(
        _ name: String, key: [(ColumnShape, String)], more: [(ColumnShape, String)] = [], strategy: WriteStrategy,
        constraint: String = "", refusals: Set<String> = [], keys: @escaping @Sendable (Int) -> [TestValue],
        values: @escaping @Sendable (inout SeededRandom) -> [TestValue] = { _ in [] }
    ) -> OracleCase {
        let all = key + columns + more
        let keyNames = key.map(\.0.name).joined(separator: ", ")
        return OracleCase(
            name: name,
            ddl: {
                "CREATE TABLE t (\(all.map { "\($0.0.name) \($0.1)" }.joined(separator: ", ")), PRIMARY KEY (\(keyNames))\(constraint));"
            },
            shape: TableShape(name: "t", columns: all.map(\.0), key: Array(key.indices)), strategy: strategy,
            queries: ["SELECT t::text FROM t ORDER BY \(keyNames)"], reset: "TRUNCATE t;",
            values: { key, random in keys(key) + columnValues(&random) + values(&random) }, refusals: refusals)
    }

    private static func columnValues(_ random: inout SeededRandom) -> [TestValue] {
        let number = UInt8(random.next() % 20)
        let json = #"{"b": \#(number)}"#
        let tags = random.chance(0.2) ? "{}" : #"{"q\"\\\#(number)",NULL}"#
        let all: [TestValue] = [
            .bool(number.isMultiple(of: 2)), .hundredths(UInt16(random.next() % 10_000)),
            .value(Double(number).bitPattern, "\(number)"), .json(json, version: [1]), .json(json, version: []),
            .value(literal: "'\\x\(number < 16 ? "0" : "")\(String(number, radix: 16))'", bytes: [number]),
            .value(literal: "'\(tags)'", bytes: Array(tags.utf8)),
            .value(Int64(number) * 1_000_000, "timestamp '2000-01-01 00:00:\(number)'"),
            .value(Int64(number) * 60_000_000, "time '00:\(number)'"),
        ]
        return zip(columns, all).map { column, value in
            if column.0.isOptional, random.chance(0.3) { return .absent }
            return column.0.isNullable && random.chance(0.2) ? .null : value
        }
    }

    private static let uuidKey = [(ColumnShape(name: "id", type: .uuid), "uuid")]
    private static let timeKey = [(ColumnShape(name: "id", type: .timestamptz), "timestamptz")]
    private static let compositeKey = [
        (ColumnShape(name: "id", type: .uuid), "uuid"), (ColumnShape(name: "kind", type: .bool), "bool"),
        (ColumnShape(name: "day", type: .date), "date"), (ColumnShape(name: "code", type: .bytea), "bytea"),
    ]

    private static let byUUID = ofTypes(
        "many types by a uuid", key: uuidKey, strategy: .coalesce, keys: { [.uuid(UInt8($0))] })

    private static let byTime = ofTypes(
        "many types by a timestamptz, in rounds", key: timeKey, strategy: .rounds,
        constraint: ", CHECK (amount <> 1 OR ratio <> 1)",
        keys: { [.timestamptz(Int64($0) - 3)] })

    private static let byMany = ofTypes(
        "many types by four columns", key: compositeKey, strategy: .coalesce,
        keys: { key in
            [
                .uuid(UInt8(key % 2)), .bool(key.isMultiple(of: 3)), .value(Int32(key / 4), "(date '2000-01-01' + \(key / 4))"),
                .value(literal: "'\\x0\(key % 5)'", bytes: [UInt8(key % 5)]),
            ]
        })

    /// Casts in the server, some of which refuse their value.
    private static func cast(_ strategy: WriteStrategy, _ constraint: String) -> OracleCase {
        ofTypes(
            "casts in the server, \(strategy)", key: uuidKey,
            more: [
                (
                    ColumnShape(name: "address", type: .text, cast: "inet", isOptional: true, isNullable: true),
                    "inet DEFAULT '::1'"
                ),
                (ColumnShape(name: "span", type: .interval, isOptional: true), "interval NOT NULL DEFAULT '1 day'"),
                (ColumnShape(name: "spans", type: .interval, isArray: true), "interval[]"),
            ], strategy: strategy, constraint: constraint, refusals: ["22P02", "22007"], keys: { [.uuid(UInt8($0))] },
            values: { random in
                let number = random.next() % 20
                let address: TestValue =
                    random.chance(0.3)
                    ? .absent : random.chance(0.2) ? .null : .text(random.chance(0.05) ? "no" : "10.0.0.\(number)")
                let span: TestValue = random.chance(0.3) ? .absent : .text(random.chance(0.05) ? "soon" : "\(number) hours")
                return [address, span, .text("{\(number) days}")]
            })
    }

    /// Columns with lengths, precisions and smaller ranges than their mappings' types.
    private static func limited(_ strategy: WriteStrategy, _ constraint: String, refusals: Set<String> = []) -> OracleCase {
        OracleCase(
            name: "columns with limits, \(strategy)",
            ddl: {
                """
                CREATE TABLE limited (id int2, kind varchar(4), name varchar(3) DEFAULT 'abc', code char(2), amount numeric(3,1), n int2,
                  tail varchar(2) DEFAULT 'long',
                  PRIMARY KEY (id, kind)\(constraint));
                """
            },
            shape: TableShape(
                name: "limited",
                columns: [
                    ColumnShape(name: "id", type: .int4), ColumnShape(name: "kind", type: .text),
                    ColumnShape(name: "name", type: .text, isOptional: true),
                    ColumnShape(name: "code", type: .text, isNullable: true),
                    ColumnShape(name: "amount", type: .numeric), ColumnShape(name: "n", type: .int4, isOptional: true),
                    ColumnShape(name: "tail", type: .text, isOptional: true),
                ], key: [0, 1]),
            strategy: strategy, queries: ["SELECT t::text FROM limited t ORDER BY id, kind COLLATE \"C\""],
            reset: "TRUNCATE limited;",
            values: { key, random in
                [
                    .int(Int32(key * 2_500)), .text(key.isMultiple(of: 5) ? "kind  " : "k\(key % 3) "),
                    random.chance(0.3) ? .absent : .text(["ab", "é漢c", "abc  ", "abcd", "ab é"][Int(random.next() % 5)]),
                    random.chance(0.2) ? .null : .text(["x", "xy", "xy ", " x y"][Int(random.next() % 4)]),
                    .hundredths(random.chance(0.1) ? UInt16(9_990 + random.next() % 10) : UInt16(random.next() % 9_000)),
                    random.chance(0.3) ? .absent : .int(Int32(random.chance(0.1) ? 40_000 : random.next() % 60)),
                    random.chance(0.05) ? .absent : .text("t\(random.next() % 3)"),
                ]
            }, refusals: refusals.union(["decode:out_of_range", "22001"]), hasLimits: true)
    }

    static let ofManyTypes = [
        limited(.coalesce, ""), limited(.rounds, ", CHECK (n < 58)", refusals: ["23514"]),
        limited(.sequential, ", UNIQUE (amount, n)"),
        byUUID, byTime, byMany, cast(.rounds, ""), cast(.sequential, ", UNIQUE (spans, address, span, flag, tags)"),
    ]
}
