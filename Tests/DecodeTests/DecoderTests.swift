// Tests decoded events: values, operations, keys, metadata.

import Foundation
import Records
import TestSupport
import Testing

@testable import Decode

@Suite struct DecoderTests {
    private let decoder: Decoder

    init() throws { decoder = Decoder(mapping: try compile(messagesText)) }

    @Test(arguments: [("Create", Records.Operation.create), ("Update", .update), ("Upsert", .upsert)])
    func `an event becomes its row`(word: String, operation: Records.Operation) throws {
        let json = #"{"action":"\#(word)","message_id":-7,"data":{"name":"Zoë","message":"a\n\"b\" \u00e9 \ud83d\ude00"}}"#
        let row = try decoder.row(json)
        #expect(row == Row(operation: operation, cells: [.int4(-7), .text("Zoë"), .text("a\n\"b\" é 😀")]))
    }

    @Test(arguments: ["", #","data":null"#, #","data":{}"#, #","data":5"#, #","data":{"name":5}"#])
    func `a Delete needs its key only`(data: String) throws {
        let row = try decoder.row(#"{"action":"Delete","message_id":5\#(data)}"#)
        #expect(row == Row(operation: .delete, cells: [.int4(5), .absent, .absent]))
    }

    @Test func `a null payload deletes the row that the key names`() throws {
        let changes = decoder.decode(batch([Sample(nil, key: "-2147483648")]))
        #expect(changes.faults.isEmpty)
        #expect(changes.row(0) == Row(operation: .delete, cells: [.int4(.min), .absent, .absent]))
        #expect(changes.changes[0].keyPrefix == KeyPrefix.of(Int32.min))
    }

    @Test func `a batch keeps order, coordinates and mapping`() throws {
        let good = #"{"data":{"message":"m","extra":[1,{"name":2}],"name":""},"x":{"action":1},"message_id":0,"action":"Create"}"#
        let changes = decoder.decode(batch([Sample(good), Sample("["), Sample(nil, key: "9"), Sample(good)]))
        #expect(changes.columnCount == 3)
        #expect(changes.changes.map(\.record) == [0, 2, 3])
        #expect(changes.changes.map(\.operation) == [.create, .delete, .create])
        #expect(changes.changes.map(\.keyPrefix) == [0, 9, 0].map { KeyPrefix.of(Int32($0)) })
        #expect(changes.row(2).cells == [.int4(0), .text(""), .text("m")])
    }

    @Test func `an empty batch becomes an empty batch`() {
        let changes = decoder.decode(batch([]))
        #expect(changes.changes.isEmpty && changes.faults.isEmpty)
    }

    @Test func `numbers beyond 64 bits are JSON in fields that are not read`() throws {
        let huge = "123456789012345678901234567890"
        for number in [huge, "-" + huge, "1e400", "-1.5E+999", "18446744073709551616", "-9223372036854775809"] {
            let json =
                #"{"x":[\#(number), "\\\" \#(number)"],"action":"Create","message_id":1,"data":{"name":"\#(number)","message":"é"}}"#
            #expect(try decoder.row(json).cells == [.int4(1), .text(number), .text("é")])
        }
    }

    @Test func `escaped names are compared unescaped`() throws {
        let json = #"{"\u0061ction":"Upsert","message\u005fid":1,"data":{"n\u0061me":"x","message":"y"}}"#
        #expect(try decoder.row(json).cells == [.int4(1), .text("x"), .text("y")])
    }

    @Test func `a large record is decoded more than once`() throws {
        let text = String(repeating: "é", count: 4 << 20)
        for _ in 0..<2 {
            let json = #"{"action":"Create","message_id":1,"data":{"name":"n","message":"\#(text)"}}"#
            #expect(try decoder.row(json).cells[2] == .text(text))
        }
    }
}

@Suite struct ColumnTests {
    private func decode(_ columns: String, _ fields: String) throws -> Outcome {
        let decoder = Decoder(mapping: try mapping(columns: "id: {path: /id, type: int8}\n" + columns))
        let outcome = try #require(decoder.outcomes([Sample(#"{"a":"c","id":1,\#(fields)}"#)]).first)
        guard case .row(let row) = outcome else { return outcome }
        return .row(Row(operation: row.operation, cells: Array(row.cells.dropFirst())))
    }

    private func row(_ cells: Cell...) -> Outcome { .row(Row(operation: .create, cells: cells)) }

    @Test func `integers at their bounds`() throws {
        #expect(try decode("v: {path: /v, type: int2}", #""v":32767"#) == row(.int2(.max)))
        #expect(try decode("v: {path: /v, type: int2}", #""v":-32768"#) == row(.int2(.min)))
        #expect(try decode("v: {path: /v, type: int2}", #""v":32768"#) == .fault("out_of_range"))
        #expect(try decode("v: {path: /v, type: int2}", #""v":-32769"#) == .fault("out_of_range"))
        #expect(try decode("v: {path: /v, type: int4}", #""v":2147483647"#) == row(.int4(.max)))
        #expect(try decode("v: {path: /v, type: int4}", #""v":2147483648"#) == .fault("out_of_range"))
        #expect(try decode("v: {path: /v, type: int4}", #""v":-2147483649"#) == .fault("out_of_range"))
        #expect(try decode("v: {path: /v, type: int8}", #""v":9223372036854775807"#) == row(.int8(.max)))
        #expect(try decode("v: {path: /v, type: int8}", #""v":-9223372036854775808"#) == row(.int8(.min)))
        for number in [
            "9223372036854775808", "18446744073709551616", "-9223372036854775809", "1" + String(repeating: "0", count: 50),
        ] {
            #expect(try decode("v: {path: /v, type: int8}", #""v":\#(number)"#) == .fault("out_of_range"))
        }
        for number in ["1.0", "1e3", "-0.0", "1e400"] {
            #expect(try decode("v: {path: /v, type: int8}", #""v":\#(number)"#) == .fault("wrong_type"))
        }
        #expect(try decode("v: {path: /v, type: int4}", #""v":-0"#) == row(.int4(0)))
    }

    @Test func `dates against Foundation's calendar`() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        let epoch = try #require(calendar.date(from: DateComponents(year: 2000, month: 1, day: 1)))
        let seed = testSeed("dates")
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            // Foundation's Gregorian calendar is the Julian one before 1582-10-15.
            let parts = (
                Int.random(in: 1583...9999, using: &random), Int.random(in: 1...12, using: &random),
                Int.random(in: 1...31, using: &random)
            )
            let text = String(format: "%04d-%02d-%02d", parts.0, parts.1, parts.2)
            let components = DateComponents(year: parts.0, month: parts.1, day: parts.2)
            let isDay = components.isValidDate(in: calendar)
            let date = try #require(calendar.date(from: components))
            let days = Int32((date.timeIntervalSince(epoch) / 86400).rounded())
            let expected = isDay ? row(.int4(days)) : .fault("out_of_range")
            #expect(try decode("v: {path: /v, type: date}", #""v":"\#(text)""#) == expected, "\(text), seed \(seed)")
        }
    }

    @Test func `dates are strict`() throws {
        for (text, days) in [("2000-01-01", 0), ("1999-12-31", -1), ("2000-02-29", 59), ("0001-01-01", -730_119)] {
            #expect(try decode("v: {path: /v, type: date}", #""v":"\#(text)""#) == row(.int4(Int32(days))))
        }
        for text in ["1900-02-29", "2001-02-29", "2024-04-31", "2024-00-10", "2024-13-10", "2024-01-00", "0000-01-01"] {
            #expect(try decode("v: {path: /v, type: date}", #""v":"\#(text)""#) == .fault("out_of_range"), "\(text)")
        }
        for text in ["", "2024-1-01", "2024/01/01", "20240101", "2024-01-01T", "today", "+024-01-01", "２024-01-01"] {
            #expect(try decode("v: {path: /v, type: date}", #""v":"\#(text)""#) == .fault("wrong_type"), "\(text)")
        }
    }

    @Test func `timestamps are ISO 8601 with an offset`() throws {
        let good: [(String, Int64)] = [
            ("2000-01-01T00:00:00Z", 0), ("2000-01-01t00:00:00.000001z", 1), ("2000-01-01 01:00:00+01:00", 0),
            ("1999-12-31T19:30:00-04:30", 0), ("1970-01-01T00:00:00Z", -946_684_800_000_000),
            ("2024-02-29T12:34:56.789Z", 762_525_296_789_000), ("2000-01-01T00:00:00.1234564Z", 123_456),
            ("2000-01-01T00:00:00.1234565Z", 123_457), ("2000-01-01T00:00:00.9999999Z", 1_000_000),
            ("1999-12-31T23:59:60Z", 0),
        ]
        for (text, microseconds) in good {
            #expect(try decode("v: {path: /v, type: timestamptz}", #""v":"\#(text)""#) == row(.int8(microseconds)), "\(text)")
        }
        for text in [
            "2000-01-01T24:00:00Z", "2000-01-01T00:60:00Z", "2000-01-01T00:00:61Z", "2000-02-30T00:00:00Z",
            "2000-01-01T00:00:00+24:00", "2000-01-01T00:00:00-00:60",
        ] {
            #expect(try decode("v: {path: /v, type: timestamptz}", #""v":"\#(text)""#) == .fault("out_of_range"), "\(text)")
        }
        for text in [
            "2000-01-01", "2000-01-01T00:00:00", "2000-01-01T00:00:00.Z", "2000-01-01T00:00:00+01000", "2000-01-01T00:00:00ZZ",
            "2000-01-01T00:00Z0000", "2000-01-01_00:00:00Z", "2000-01-01T00:00:00  Z", "2000-01-01T00:00:00+01:0",
        ] {
            #expect(try decode("v: {path: /v, type: timestamptz}", #""v":"\#(text)""#) == .fault("wrong_type"), "\(text)")
        }
    }

    @Test func `optional allows absent, nullable allows null`() throws {
        let columns = { (more: String) in "v: {path: /d/v, type: text\(more)}" }
        for absent in [#""x":1"#, #""d":{}"#, #""d":null"#] {
            #expect(try decode(columns(""), absent) == .fault("missing_field"))
            #expect(try decode(columns(", nullable: true"), absent) == .fault("missing_field"))
            #expect(try decode(columns(", optional: true"), absent) == row(.absent))
        }
        #expect(try decode(columns(""), #""d":{"v":null}"#) == .fault("wrong_type"))
        #expect(try decode(columns(", optional: true"), #""d":{"v":null}"#) == .fault("wrong_type"))
        #expect(try decode(columns(", nullable: true"), #""d":{"v":null}"#) == row(.null))
        #expect(try decode(columns(", optional: true, nullable: true"), #""d":{"v":null}"#) == row(.null))
        #expect(try decode(columns(", optional: true, nullable: true"), #""d":{"v":"x"}"#) == row(.text("x")))
        #expect(try decode(columns(", optional: true"), #""d":[]"#) == .fault("wrong_type"))
    }

    @Test func `paths are RFC 6901 pointers`() throws {
        // The examples of the RFC's section 5, as fields of one document.
        let document = #"""
            "foo":["bar","baz"],"":"empty","a/b":"1","c%d":"2","e^f":"3","g|h":"4","i\\j":"5","k\"l":"6"," ":"7","m~n":"8",
            "~1":"9","n":{"":{"0":"10"}}
            """#
        let examples = [
            ("/foo/0", "bar"), ("/foo/1", "baz"), ("'/'", "empty"), ("/a~1b", "1"), ("/c%d", "2"), ("/e^f", "3"), ("/g|h", "4"),
            (#"'/i\j'"#, "5"), (#"'/k"l'"#, "6"), ("'/ '", "7"), ("/m~0n", "8"), ("/~01", "9"), ("/n//0", "10"),
        ]
        for (path, value) in examples {
            #expect(try decode("v: {path: \(path), type: text}", document) == row(.text(value)), "\(path)")
        }
        for path in ["/foo/2", "/foo/-", "/foo/00", "/b", "/n/0", "/foo/99999999999999999999"] {
            let outcome = try decode("v: {path: \(path), type: text}", document)
            #expect(outcome == .fault("missing_field") || outcome == .fault("wrong_type"), "\(path): \(outcome)")
        }
        #expect(
            try decode("v: {path: /foo/1, type: text}\nw: {path: /foo/0, type: text}", document)
                == row(.text("baz"), .text("bar")))
    }

    @Test func `metadata columns and constants`() throws {
        let columns = """
            id: {path: /id, type: int4}
            topic: {metadata: topic}
            partition: {metadata: partition}
            wide: {metadata: partition, type: int8}
            position: {metadata: offset}
            time: {metadata: timestamp, optional: true}
            k: {metadata: key, nullable: true}
            trace: {metadata: headers.trace, nullable: true}
            origin: {constant: sluice, type: text}
            day: {constant: 2000-01-02, type: date}
            again: {path: /id, type: int8}
            """
        let decoder = Decoder(mapping: try mapping(columns: columns))
        var full = Sample(#"{"a":"c","id":1}"#, key: "k1")
        full.timestamp = 946_684_800_001
        full.headers = [("trace", [1]), ("other", nil), ("trace", Array("x".utf8))]
        let bare = Sample(#"{"a":"c","id":2}"#)
        var bad = bare
        bad.headers = [("trace", [0xFF])]
        let shared: [Cell] = [.text("top"), .int4(9), .int8(9)]
        let constants: [Cell] = [.text("sluice"), .int4(1)]
        let changes = decoder.decode(batch([full, bad, bare], topic: "top", partition: 9))
        #expect(changes.changes.map(\.record) == [0, 2])
        #expect(
            changes.row(0).cells == [.int4(1)] + shared + [.int8(100), .int8(1000), .text("k1"), .text("x")] + constants + [
                .int8(1)
            ])
        #expect(changes.row(1).cells == [.int4(2)] + shared + [.int8(102), .absent, .null, .null] + constants + [.int8(2)])
        #expect(changes.faults.map(\.reason) == ["invalid_text"])
        #expect(changes.faults[0].detail == "the header trace is not UTF-8 or contains a NUL, which PostgreSQL cannot store")

        let strict = Decoder(mapping: try mapping(columns: "id: {path: /id, type: int4}\nk: {metadata: key}"))
        #expect(strict.decode(batch([bare])).faults.map(\.detail) == ["the record has no key"])
        // The ingress has no record yet.
        #expect(validate(strict, Array(#"{"a":"c","id":2}"#.utf8)).fault == nil)
    }

    @Test func `a large event leaves no memory behind`() throws {
        let decoder = Decoder(mapping: try mapping(columns: "id: {path: /id, type: int4}\nv: {path: /v, type: text}"))
        for text in [String(repeating: "x", count: 4 * Decoder.keptParserBytes), "y"] {
            let (fault, key) = validate(decoder, Array(#"{"a":"c","id":7,"v":"\#(text)"}"#.utf8))
            #expect(fault == nil && key == Array("7".utf8))
            #expect(decoder.discarded.values.capacity <= Decoder.keptParserBytes)
        }
    }

    @Test func `timestamps of records beyond the range of timestamptz`() throws {
        let decoder = Decoder(mapping: try mapping(columns: "id: {path: /id, type: int4}\ntime: {metadata: timestamp}"))
        // The last millisecond of timestamptz, the one after it, and the largest timestamp of a record.
        let samples = [9_224_318_015_999_999, 9_224_318_016_000_000, Int64.max].map { timestamp in
            var sample = Sample(#"{"a":"c","id":1}"#)
            sample.timestamp = timestamp
            return sample
        }
        let changes = decoder.decode(batch(samples))
        #expect(changes.changes.map(\.record) == [0])
        #expect(changes.row(0).cells == [.int4(1), .int8(9_223_371_331_199_999_000)])
        #expect(changes.faults.map(\.reason) == ["out_of_range", "out_of_range"])
    }
}
