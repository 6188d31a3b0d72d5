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
            let (taken, refused, wrong) = try await database.connection.perform { session in
                var (taken, refused) = (0, 0)
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
                        refused += 1
                    }
                    if bytes.withUnsafeBytes({ limit.takes($0) }) != isTaken { wrong.append(value) }
                }
                return (taken, refused, wrong)
            }
            #expect(wrong == [], "the server decides otherwise")
            #expect(taken > 0 && refused > 0, "the values are on both sides of the limit")
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

        /// A domain's own length is checked, its CHECK is the server's to judge. Of elements the server judges all, and a version keeps every
        /// value.
        @Test func domainsElementsAndVersions() async throws {
            let database = try await TestDatabase.fresh(
                """
                CREATE DOMAIN word AS varchar(3); CREATE DOMAIN code AS word CHECK (value <> 'bad');
                CREATE TABLE a (id int PRIMARY KEY, v numeric(3,1)[]); CREATE TABLE d (id int PRIMARY KEY, v code);
                CREATE TABLE n (id int PRIMARY KEY, v int4);
                """)
            func writer(_ name: String, _ column: ColumnShape, version: RowVersion? = nil) async throws -> TableWriter {
                try await database.writer(
                    TableShape(name: name, columns: [ColumnShape(name: "id", type: .int4), column], key: [0], version: version))
            }
            let array = try await writer("a", ColumnShape(name: "v", type: .numeric, isArray: true)).plan
            #expect(array.limits.isEmpty && array.strategy == .rounds)
            let domain = try await writer("d", ColumnShape(name: "v", type: .text))
            #expect(domain.plan.strategy == .rounds)
            let records = [event(.upsert, 1, "long"), event(.upsert, 2, "bad"), event(.upsert, 3, "ok")]
            let batch = changeBatch(p0, from: 0, records, shape: domain.plan.shape)
            let outcome = try await database.apply(domain, [batch], try await database.claim(p0))
            #expect(outcome.report?.deadLetters == ["decode:out_of_range": 1, "sql:check": 1], "\(outcome)")
            await #expect(throws: ApplyError.self) {
                try await writer("n", ColumnShape(name: "v", type: .int8), version: RowVersion(column: 1, keepsFirst: false))
            }
        }

        /// `apply.outcomes` says what the server's error would lead to.
        @Test func theOutcomeOfTheErrorHolds() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v varchar(3));")
            let claims = try await database.claim(p0)
            let batch = changeBatch(p0, from: 0, [event(.upsert, 1, "ok"), event(.upsert, 2, "four")], shape: shape)
            for (outcome, word) in [("stop", "stopped"), ("retry", "retry unavailable"), ("dead_letter", "applied")] {
                let outcomes = try OutcomeTable(overrides: ["22001": outcome, "22003": "stop"])
                let writer = try await database.writer(shape, configuration: ApplyConfiguration(group: "g", outcomes: outcomes))
                let answer = try await database.apply(writer, [batch], claims)
                #expect(answer.word == word)
                if case .stopped(_, let reason) = answer { #expect(reason.description.contains("column v takes 3 characters")) }
                #expect(try await database.rows("SELECT v FROM t") == (outcome == "dead_letter" ? ["ok"] : []))
            }
        }

        /// The server takes an event that does not write the value, or whose key names no row.
        @Test func onlyWhatIsWrittenIsChecked() async throws {
            let database = try await TestDatabase.fresh(
                "CREATE TABLE o (id int PRIMARY KEY, who varchar(3), v text); INSERT INTO o VALUES (1, 'me', 'old');"
                    + "CREATE TABLE log (code varchar(3));")
            let once = TableShape(
                name: "o",
                columns: [
                    ColumnShape(name: "id", type: .int4), ColumnShape(name: "who", type: .text, policy: ColumnPolicy(.insert)),
                    ColumnShape(name: "v", type: .text),
                ], key: [0])
            let records: [TestRecord] = [
                .event(.update, [.int(1), .text("somebody"), .text("new")]),
                .event(.upsert, [.int(2), .text("somebody"), .text("new")]),
            ]
            var claims = try await database.claim(p0)
            let outcome = try await database.apply(
                try await database.writer(once), [changeBatch(p0, from: 0, records, shape: once)], claims)
            #expect(outcome.report?.deadLetters == ["sql:data": 1], "\(outcome)")
            #expect(try await database.rows("SELECT who || v FROM o") == ["menew"])
            claims[0].nextOffset = 3
            let log = TableShape(name: "log", columns: [ColumnShape(name: "code", type: .text)], key: [0], mode: .append)
            let rows = changeBatch(p0, from: 3, [.event(.upsert, [.text("abc ")])], shape: log)
            #expect(try await database.apply(try await database.writer(log), [rows], claims).report?.rows == 1)
        }

        /// Whether a table is as the plan says is not known of a transaction that changes it: then the server judges.
        @Test func aTransactionThatIsNotCheckedLeavesItToTheServer() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v varchar(3) CHECK (v <> 'bad'));")
            let writer = try await database.writer(shape)
            let claims = try await database.claim(p0)
            try await database.script("ALTER TABLE t ALTER v TYPE varchar(4)")
            let batch = changeBatch(p0, from: 0, [event(.upsert, 1, "four"), event(.upsert, 2, "seven")], shape: shape)
            let transaction = try writer.prepare([BatchSlice(batch)], claims: claims, checksVersion: false)
            let outcome = try await database.connection.perform {
                writer.execute(transaction, on: $0, checksVersion: false, now: 0)
            }
            #expect(outcome.report?.deadLetters == ["sql:data": 1], "\(outcome)")
            #expect(try await database.rows("SELECT v FROM t") == ["four"])
        }

        /// Of defaults only constants are known to fit.
        @Test func defaultsThatMayBeTooLong() {
            let three = ColumnLimit.characters(3, isKey: false)
            #expect(three.takes(default: "'né'::character varying") && three.takes(default: "''::bpchar"))
            #expect(!three.takes(default: "'four'::text") && !three.takes(default: "CURRENT_USER"))
            #expect(!three.takes(default: "'a''b'::text"), "a constant that is not read counts as too long")
            let numeric = ColumnLimit.digits(precision: 5, scale: 2)
            #expect(numeric.takes(default: "0") && numeric.takes(default: "999.99") && numeric.takes(default: "'-1.5'::numeric"))
            #expect(!numeric.takes(default: "1000") && !numeric.takes(default: "999.995") && !numeric.takes(default: "pi()"))
            #expect(ColumnLimit.bytes(2).takes(default: "32767") && !ColumnLimit.bytes(2).takes(default: "32768"))
            #expect(ColumnLimit.bytes(4).takes(default: "'-1'::integer") && !ColumnLimit.single.takes(default: "0"))
        }
    }
}
