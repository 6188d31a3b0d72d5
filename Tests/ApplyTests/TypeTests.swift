// Every value that docs/types.md accepts is in the table afterwards, by each strategy; and every type of the server can be had or is refused.

import Decode
import Foundation
import Postgres
import Records
import Settings
import SluiceTables
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)

/// A mapping of key `id` and the columns given, for the table `t`.
func mapping(_ columns: String) throws -> Mapping {
    let text = """
        topics: [t]
        table: t
        key: [id]
        action: {path: /a, create: [c], update: [u], upsert: [s], delete: [d]}
        columns:
          id: {path: /id, type: int4}
        \(columns)
        """
    return try #require(try Mapping.compile([YAML.parse(text: text, file: "test.yaml")]).first)
}

extension TestDatabase {
    /// Decodes and applies JSON events.
    fileprivate func apply(_ events: [String], _ mapping: Mapping, _ writer: TableWriter) async throws {
        let claims = try await claim(p0)
        let batch = RecordBatch(source: p0, generation: 1)
        for (index, event) in events.enumerated() {
            Array(event.utf8).withUnsafeBytes {
                batch.append(offset: claims[0].nextOffset + Int64(index), timestamp: 0, key: nil, value: $0)
            }
        }
        let changes = Decoder(mapping: mapping).decode(batch)
        #expect(changes.faults.isEmpty, "\(changes.faults)")
        let outcome = try await apply(writer, [changes], claims)
        #expect(outcome.report?.records == events.count, "\(outcome)")
    }
}

extension ServerTests {
    @Suite struct TypeTests {
        @Test(arguments: TypeExamples.all.indices)
        func theTableShowsWhatThePageSays(_ index: Int) async throws {
            let type = TypeExamples.all[index]
            let database = try await TestDatabase.fresh(type.setUp + "CREATE TABLE t (id int PRIMARY KEY, v \(type.column));")
            let mapping = try ApplyTests.mapping("  v: {path: /v, \(type.mapping)}")
            let values = type.accepted
            for strategy in [WriteChoice.Strategy.coalesce, .rounds, .sequential] {
                let writer = try await database.writer(mapping.table.written(strategy))
                #expect(writer.plan.strategy.rawValue == strategy.rawValue)
                try await database.script("TRUNCATE t")
                try await database.apply(
                    values.enumerated().map { #"{"a":"s","id":\#($0),"v":\#($1.json)}"# }, mapping, writer)
                let shown = "SELECT coalesce(v::text, 'null') FROM t ORDER BY id"
                #expect(try await database.rows(shown) == values.map(\.shown), "\(type.mapping), \(strategy)")
                // An UPDATE of rows that are there, in the other order.
                try await database.apply(
                    values.reversed().enumerated().map { #"{"a":"u","id":\#($0),"v":\#($1.json)}"# }, mapping, writer)
                #expect(try await database.rows(shown) == values.reversed().map(\.shown), "\(type.mapping), \(strategy)")
            }
            let refused = type.refusedByColumn.map(\.json) + type.refusedByServer.map(\.json)
            if refused.isEmpty { return }
            let writer = try await database.writer(mapping.table)
            #expect(
                writer.plan.strategy == (type.refusedByServer.isEmpty ? .coalesce : .rounds),
                "a value that the server refuses must not be hidden by a later one")
            try await database.apply(
                refused.enumerated().map { #"{"a":"s","id":\#(100 + $0),"v":\#($1)}"# }
                    + [#"{"a":"s","id":200,"v":\#(values[0].json)}"#], mapping, writer)
            #expect(try await database.rows("SELECT id::text FROM t WHERE id >= 100") == ["200"])
            let reasons = try await database.rows(
                """
                SELECT coalesce(sqlstate, replace(reason, 'decode:', '') || ': ' || detail) FROM sluice_dead_letters ORDER BY "offset"
                """)
            #expect(reasons == type.refusedByColumn.map(\.why) + type.refusedByServer.map(\.state))
        }

        /// The texts are PostgreSQL's own input, too, which says what each is.
        @Test func randomNumbersAndTimesAreWhatPostgreSQLReads() async throws {
            var random = SeededRandom.printed("random numbers and times")
            let kinds = ["numeric", "float8", "float4", "timestamptz", "timestamp", "time", "date"]
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, \(kinds.map { "\($0)_v \($0), \($0)_a \($0)[]" }.joined(separator: ", ")));")
            let columns = kinds.map {
                "  \($0)_v: {path: /\($0), type: \($0)}\n  \($0)_a: {path: /arrays/\($0), type: '\($0)[]'}"
            }
            let mapping = try ApplyTests.mapping(columns.joined(separator: "\n"))
            let rows = (0..<400).map { _ in Self.texts(&random) }
            let events = rows.enumerated().map { id, row in
                let fields = zip(kinds, row).map { kind, text in
                    (kind, kind == "numeric" || kind.hasPrefix("float") ? text : "\"\(text)\"")
                }
                let values = fields.map { "\"\($0)\":\($1)" }.joined(separator: ",")
                let arrays = fields.map { "\"\($0)\":[\($1),null]" }.joined(separator: ",")
                return #"{"a":"s","id":\#(id),\#(values),"arrays":{\#(arrays)}}"#
            }
            try await database.apply(events, mapping, try await database.writer(mapping.table))
            for (column, kind) in kinds.enumerated() {
                let expected = rows.enumerated().map { "(\($0), '\($1[column])'::\(kind))" }.joined(separator: ", ")
                let differing = try await database.rows(
                    """
                    SELECT id || ': ' || \(kind)_v::text || ' ' || \(kind)_a::text || ' not ' || v::text FROM t JOIN (VALUES \(expected)) AS e(n, v)
                    ON id = n WHERE \(kind)_v::text <> v::text OR \(kind)_a::text <> ARRAY[v, NULL]::text ORDER BY id
                    """)
                #expect(differing == [], "\(kind)")
            }
        }

        /// One text for each of the types.
        private static func texts(_ random: inout SeededRandom) -> [String] {
            func digits(_ count: Int, _ first: Int = 0) -> String {
                (0..<count).map { "\($0 == 0 ? max(first, Int(random.next() % 10)) : Int(random.next() % 10))" }.joined()
            }
            func pick(_ texts: String...) -> String { texts[Int(random.next() % UInt64(texts.count))] }
            func two(_ limit: UInt64) -> String {
                let number = random.next() % limit
                return number < 10 ? "0\(number)" : "\(number)"
            }
            let whole = random.chance(0.4) ? "0" : digits(1 + Int(random.next() % 25), 1)
            let fraction = random.chance(0.3) ? "" : "." + pick("", "000", "0000000") + digits(1 + Int(random.next() % 20))
            let exponent = random.chance(0.5) ? "" : pick("e", "E") + pick("", "+", "-") + digits(1)
            let sign = pick("", "-")
            let date = "\(digits(4, 1))-0\(1 + random.next() % 9)-\(1 + random.next() % 2)\(random.next() % 9)"
            // Of two microseconds that are equally near PostgreSQL takes the even one.
            let part = random.chance(0.5) ? digits(1 + Int(random.next() % 6)) : digits(7) + "1"
            let seconds = random.chance(0.2) ? "" : ":" + two(60) + (random.chance(0.5) ? "" : "." + part)
            let time = two(24) + ":" + two(60) + seconds
            let zone = pick("Z", "+00", "+0530", "-11:45", " +02:00")
            return [
                sign + whole + fraction + exponent, sign + whole + fraction + exponent, sign + whole + fraction + exponent,
                date + pick("T", " ") + time + zone, date + "T" + time, time, date,
            ]
        }

        @Test func whatIsCheckedWhenItIsReadIsCoalesced() async throws {
            let columns = ColumnType.allCases.filter { $0 != .interval }.flatMap { type in
                [("\(type.rawValue)_v", type.rawValue), ("\(type.rawValue)_a", type.arrayName)]
            }
            let database = try await TestDatabase.fresh(
                "CREATE TABLE t (id int PRIMARY KEY, \(columns.map { "\($0) \($1)" }.joined(separator: ", ")));")
            let lines = columns.map { "  \($0): {path: /\($0), type: '\($1)', optional: true, nullable: true}" }
            let mapping = try ApplyTests.mapping(lines.joined(separator: "\n"))
            let writer = try await database.writer(mapping.table)
            #expect(writer.plan.strategy == .coalesce, "\(writer.plan.choice.reasons)")
            try await database.connection.perform { try writer.plan.check(on: $0) }
            let cast = try await database.writer(
                TableShape(
                    name: "t",
                    columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "text_v", type: .text, cast: "inet")],
                    key: [0]))
            #expect(cast.plan.choice.reasons == ["column text_v may refuse a inet"])
        }

        @Test func aCastThatDoesNotExistIsNamedBeforeTheFirstEvent() async throws {
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, v inet, w inet);")
            let mapping = try ApplyTests.mapping("  v: {path: /v, cast: inett}\n  w: {path: /w, type: interval}")
            await #expect {
                try await database.connection.perform { _ = try WritePlan.checked(mapping.table, on: $0) }
            } throws: {
                "\($0)".contains("type \"inett\" does not exist")
            }
            let other = try ApplyTests.mapping("  w: {path: /w, type: interval}")
            await #expect {
                try await database.connection.perform { _ = try WritePlan.checked(other.table, on: $0) }
            } throws: {
                "\($0)".contains("column \"w\" is of type inet but expression is of type interval")
            }
        }

        /// Base types, ranges and multiranges; arrays are arrays of these.
        @Test func everyTypeOfTheServerIsMappedReachableByCastOrRefused() async throws {
            let database = try await TestDatabase.fresh()
            let types = try await database.rows(
                """
                SELECT typname::text FROM pg_type t WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')
                  AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) ORDER BY 1
                """)
            let mapped = Set(ColumnType.allCases.map(\.rawValue))
            let known = mapped.union(OtherTypes.cast.keys).union(OtherTypes.refused)
            let isOf15 = try await database.connection.perform { $0.serverVersion / 10_000 == 15 }
            #expect(types.filter { !known.contains($0) } == [] || !isOf15)
            #expect(known.subtracting(types) == [] || !isOf15)

            let casts = OtherTypes.cast.sorted { $0.key < $1.key }.filter { types.contains($0.key) }
            try await database.script(
                "CREATE TABLE t (id int PRIMARY KEY, \(casts.map { "\"\($0.key)\" \"\($0.key)\"" }.joined(separator: ", ")));")
            let lines = casts.map { "  '\($0.key)': {path: '/\($0.key)', cast: '\"\($0.key)\"'}" }
            let mapping = try ApplyTests.mapping(lines.joined(separator: "\n"))
            let writer = try await database.writer(mapping.table)
            try await database.connection.perform { try writer.plan.check(on: $0) }
            let fields = casts.map { #""\#($0.key)":"\#($0.value.replacingOccurrences(of: "\"", with: "\\\""))""# }
            try await database.apply([#"{"a":"c","id":1,\#(fields.joined(separator: ","))}"#], mapping, writer)
            for (name, value) in casts where name != "money" {
                #expect(try await database.rows("SELECT \"\(name)\"::text FROM t") == [value], "\(name)")
            }
            #expect(try await database.rows("SELECT (money = 1.5::money)::text FROM t") == ["true"])

            for name in OtherTypes.refused where types.contains(name) {
                await #expect {
                    try await database.script("SELECT ''::\(name)")
                } throws: {
                    ($0 as? PostgresError)?.sqlState == SQLState("0A000")
                }
            }
        }
    }
}
