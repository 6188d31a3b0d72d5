// What columns refuse by length, precision and range: compared with the server, and what becomes of such records.

import Postgres
import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)

private let shape = TableShape(
    name: "t", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: .text)], key: [0])

private func event(_ operation: Operation, _ id: Int32, _ text: String) -> TestRecord {
    .event(operation, [.int(id), .text(text)])
}

/// A column with a limit, and values near it.
private struct LimitedColumn: Sendable, CustomTestStringConvertible {
    let sql: String
    let type: ColumnType
    /// SQL that makes the binary form of a text.
    let send: String
    let values: @Sendable (inout SeededRandom) -> String

    var testDescription: String { sql }

    private static func texts(_ sql: String) -> LimitedColumn {
        LimitedColumn(sql: sql, type: .text, send: "convert_to($1, 'UTF8')") { random in
            let characters = (0..<Int(random.next() % 7)).map { _ in ["a", "é", "漢", "🜁"][Int(random.next() % 4)] }.joined()
            return characters + String(repeating: " ", count: Int(random.next() % 4))
        }
    }

    private static func numbers(_ sql: String, around places: ClosedRange<Int>) -> LimitedColumn {
        LimitedColumn(sql: sql, type: .numeric, send: "numeric_send($1::numeric)") { random in
            if random.chance(0.05) { return ["NaN", "Infinity", "-Infinity", "0", "0.00"][Int(random.next() % 5)] }
            let isNines = random.chance(0.6)
            let digits = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                isNines && random.chance(0.9) ? "9" : "\(random.next() % 10)"
            }
            return (random.chance(0.3) ? "-" : "") + digits.joined() + "e\(Int.random(in: places, using: &random) - digits.count)"
        }
    }

    private static func integers(_ sql: String, _ type: ColumnType, bits: Int) -> LimitedColumn {
        LimitedColumn(sql: sql, type: type, send: "\(type.rawValue)send($1::\(type.rawValue))") { random in
            let edge = 1 << (bits - 1)
            return "\((random.chance(0.5) ? edge : -edge) + Int.random(in: -2...1, using: &random))"
        }
    }

    static let all: [LimitedColumn] = [
        texts("varchar(4)"), texts("char(3)"), texts("varchar(1)"),
        numbers("numeric(5,2)", around: 0...5), numbers("numeric(7)", around: 5...9),
        numbers("numeric(1000,3)", around: 990...999),
        numbers("numeric(9,4)", around: -6...7), numbers("numeric(2,4)", around: -6...0),
        numbers("numeric(3,-5)", around: 2...10),
        integers("int2", .int4, bits: 16), integers("int2", .int8, bits: 16), integers("int4", .int8, bits: 32),
        LimitedColumn(sql: "float4", type: .float8, send: "float8send($1::float8)") { random in
            let exponent = [-324, -46, -45, -38, 38, 39, 308][Int(random.next() % 7)]
            return "\(random.chance(0.3) ? "-" : "")\(random.next() % 9_000 + 1_000)e\(exponent - 3)"
        },
        LimitedColumn(sql: "float4", type: .float8, send: "float8send($1::float8)") { random in
            ["NaN", "Infinity", "-Infinity", "0", "-0", "3.4028235e38", "3.4028236e38", "7.006492321624086e-46", "7.1e-46"][
                Int(random.next() % 9)]
        },
    ]
}

extension ServerTests {
    @Suite struct ColumnLimitTests {
        /// An assignment of the server refuses exactly what the limit does not take.
        @Test(arguments: LimitedColumn.all) fileprivate func refusesWhatTheServerRefuses(_ column: LimitedColumn) async throws {
            var random = SeededRandom.printed("limits of \(column.sql)")
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v \(column.sql));")
            let mapped = TableShape(
                name: "t", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: column.type)], key: [0])
            let plan = try await database.writer(mapped).plan
            #expect(plan.strategy == .coalesce, "\(plan.choice.reasons)")
            let limit = try #require(plan.schema.columns["v"]?.limit(of: mapped.columns[1], isKey: false))
            let values = (0..<1_500).map { _ in column.values(&random) }
            let (taken, wrong) = try await database.connection.perform { session in
                var taken = 0
                var wrong: [String] = []
                for value in Set(values) {
                    func parameter() -> Parameters {
                        let parameters = Parameters()
                        parameters.append(text: value)
                        return parameters
                    }
                    // Values that the mapping's type does not have.
                    guard
                        let binary = try? session.execute(
                            PreparedStatement("SELECT encode(\(column.send), 'hex')", types: [TypeOID.text]), parameter()
                        ).text(0, 0)
                    else { continue }
                    let bytes = stride(from: 0, to: binary.count, by: 2).map { index -> UInt8 in
                        UInt8(binary.dropFirst(index).prefix(2), radix: 16)!
                    }
                    var isTaken = true
                    do {
                        try session.execute(
                            PreparedStatement(
                                "INSERT INTO t SELECT 1, u.v FROM (SELECT $1::\(column.type.rawValue)) AS u(v) ON CONFLICT (id) "
                                    + "DO UPDATE SET v = excluded.v", types: [TypeOID.text]), parameter())
                        taken += 1
                    } catch let error as PostgresError where ["22001", "22003"].contains(error.sqlState?.rawValue) {
                        isTaken = false
                    }
                    if bytes.withUnsafeBytes({ limit.takes($0) }) != isTaken { wrong.append(value) }
                }
                return (taken, wrong)
            }
            #expect(wrong == [], "the server decides otherwise")
            #expect(taken > 3 && taken < Set(values).count, "the values are on both sides of the limit")
        }

        @Test func aRecordBeyondALimitIsADeadLetter() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v varchar(3));")
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let records = [
                event(.upsert, 1, "one"), event(.upsert, 2, "four"), event(.update, 1, "é漢é"), event(.create, 3, "abc  "),
                event(.delete, 1, "long"), event(.upsert, 4, "ok"), .fault("missing_field"),
            ]
            let statements = try await database.countStatements {
                let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: shape)], claims)
                let report = try #require(outcome.report, "\(outcome)")
                #expect(report.deadLetters == ["decode:out_of_range": 1, "decode:missing_field": 1])
                #expect(report.records == 7 && report.events == 5 && report.skipped == 0 && !report.isReplayed)
            }
            #expect(!statements.contains { $0.contains("SAVEPOINT") })
            #expect(try await database.rows("SELECT id || v FROM t ORDER BY id") == ["3abc", "4ok"])
            let detail = try await database.rows(
                "SELECT detail FROM sluice_dead_letters WHERE \"offset\" = 2 AND sqlstate IS NULL")
            #expect(detail == ["column v takes 3 characters, and the value has 4"])
        }

        /// Cut, it would name another row.
        @Test func aKeyIsNotCut() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE k (id varchar(3) PRIMARY KEY);")
            let keyed = TableShape(name: "k", columns: [ColumnShape(name: "id", type: .text)], key: [0])
            let writer = try await database.writer(keyed)
            let records: [TestRecord] = ["abc", "abc ", "ab ", "é  "].map { .event(.upsert, [.text($0)]) }
            let batch = changeBatch(p0, from: 0, records, shape: keyed)
            let outcome = try await database.apply(writer, [batch], try await database.claim(p0))
            #expect(outcome.report?.deadLetters == ["decode:out_of_range": 1], "\(outcome)")
            #expect(try await database.rows("SELECT id || '.' FROM k ORDER BY id COLLATE \"C\"") == ["ab .", "abc.", "é  ."])
        }

        /// A wider column takes them: such a transaction is checked, although it writes no row.
        @Test func aLimitThatWasLiftedCostsNoRecord() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v varchar(3));")
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            try await database.script("ALTER TABLE t ALTER v TYPE varchar(4)")
            let batch = changeBatch(p0, from: 0, [event(.upsert, 1, "four")], shape: shape)
            let outcome = try await database.apply(writer, [batch], claims)
            #expect(outcome.word == "schema changed", "\(outcome)")
            #expect(try await database.deadLetterCount() == 0)
            let again = try await database.apply(try await database.writer(shape), [batch], claims)
            #expect(again.report?.rows == 1, "\(again)")
        }

        @Test func aLimitThatWasLiftedStopsNoPartition() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v varchar(3));")
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            let records = (0..<1_000).map { event(.upsert, $0, "four") }
            let batch = changeBatch(p0, from: 0, records, shape: shape)
            let plan = writer.plan
            #expect(try await database.apply(writer, [batch], claims).stopped == [p0])
            writer.poison.forget(p0)
            try await database.script("ALTER TABLE t ALTER v TYPE varchar(4)")
            let outcome = try await database.apply(writer, [batch], claims)
            #expect(outcome.word == "schema changed", "\(outcome)")
            let current = TableWriter(
                plan: try await database.writer(shape).plan, configuration: writer.configuration, poison: writer.poison)
            #expect(current.plan !== plan)
            #expect(try await database.apply(current, [batch], claims).report?.rows == 1_000)
        }

        /// Of elements, domains and versions the server alone judges, or the mapping is refused.
        @Test func whatIsNotChecked() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE DOMAIN word AS varchar(3);
                CREATE TABLE a (id int PRIMARY KEY, v numeric(3,1)[]); CREATE TABLE d (id int PRIMARY KEY, v word);
                CREATE TABLE n (id int PRIMARY KEY, v int4);
                """)
            func plan(_ name: String, _ column: ColumnShape, version: RowVersion? = nil) async throws -> WritePlan {
                try await database.writer(
                    TableShape(name: name, columns: [ColumnShape(name: "id", type: .int4), column], key: [0], version: version)
                ).plan
            }
            let array = try await plan("a", ColumnShape(name: "v", type: .numeric, isArray: true))
            #expect(array.limits.isEmpty && array.strategy == .rounds)
            let domain = try await plan("d", ColumnShape(name: "v", type: .text))
            #expect(!domain.limits.isEmpty && domain.strategy == .rounds)
            await #expect(throws: ApplyError.self) {
                try await plan("n", ColumnShape(name: "v", type: .int8), version: RowVersion(column: 1, keepsFirst: false))
            }
        }
    }
}
