// Tests every line of docs/types.md, and that the page is what its source says.

import Decode
import Foundation
import Records
import TestSupport
import Testing

@Suite struct TypeTests {
    private static func decoder(_ mapping: String, path: String = "/v") throws -> Decoder {
        let path = path.isEmpty ? "''" : path
        return Decoder(mapping: try DecodeTests.mapping(columns: "id: {path: /id, type: int4}\nv: {path: \(path), \(mapping)}"))
    }

    @Test(arguments: TypeExamples.all.indices)
    func `each value is accepted or refused as the page says`(_ index: Int) throws {
        let type = TypeExamples.all[index]
        let decoder = try Self.decoder(type.mapping)
        let good = Sample(#"{"a":"d","id":1}"#)
        for (json, _) in type.accepted { _ = try decoder.row(#"{"a":"c","id":1,"v":\#(json)}"#) }
        for json in type.refusedByColumn.map(\.json) + type.refusedByServer.map(\.json) {
            _ = try decoder.row(#"{"a":"c","id":1,"v":\#(json)}"#)
        }
        for (json, why) in type.refused {
            #expect(try decoder.fault(Sample(#"{"a":"c","v":\#(json),"id":1}"#), good: good) == why, "\(type.mapping): \(json)")
        }
    }

    /// The documents around a value must not change it: other fields before and after it, spaces, nested containers, numbers beyond 64 bits.
    @Test(arguments: TypeExamples.all.indices)
    func `a value's own text is found wherever it stands`(_ index: Int) throws {
        let type = TypeExamples.all[index]
        let plain = try Self.decoder(type.mapping)
        let nested = try Self.decoder(type.mapping, path: "/x/1/v")
        for (json, _) in type.accepted {
            let cell = try plain.row(#"{"a":"c","id":1,"v":\#(json)}"#).cells[1]
            let around =
                #"{ "a" : "c" , "t" : [ {} , [ 1e999 , "]}\"" , -0.5e-7 ] , { "v" : { "v" : [ ] } } ] , "v" : \#(json) , "id" : 1 , "z" : {}}"#
            #expect(try plain.row(around).cells[1] == cell, "\(type.mapping): \(around)")
            let inside =
                #"{"y":[[],{}],"x":[{"v":[1,{"v":2}]},{"w":123456789012345678901234567890,"u":{},"v":\#(json)},3],"id":1,"a":"c"}"#
            #expect(try nested.row(inside).cells[1] == cell, "\(type.mapping): \(inside)")
        }
    }

    /// Before version 15 PostgreSQL reads no number beyond 32 bits in an interval.
    @Test func `a length of time is written as each server reads it`() throws {
        let decoder = try Self.decoder("type: interval, format: epoch_us")
        for (count, text) in [
            ("0", "00:00:00"), ("-1", "-00:00:00.000001"), ("3000000000", "00:50:00"),
            ("7730941132799999999", "2147483647:59:59.999999"), ("7730941132800000000", "7730941132800000000 microseconds"),
        ] {
            #expect(try decoder.row(#"{"a":"c","id":1,"v":\#(count)}"#).cells[1] == .text(text))
        }
    }

    /// Bytes are changed, removed or doubled: what is still an event has the same row alone in its memory, and the ingress agrees.
    @Test func `damaged documents are read within their bytes`() throws {
        let decoder = Decoder(
            mapping: try mapping(
                columns: """
                    id: {path: /id, type: int4}
                    n: {path: /x/n, type: numeric, nullable: true}
                    f: {path: /x/f, type: float8, optional: true}
                    j: {path: /x/j, type: jsonb, optional: true}
                    t: {path: /x/t/0, type: timestamptz, format: epoch_s, optional: true}
                    l: {path: /l, type: 'numeric[]', optional: true}
                    c: {path: /c, cast: inet, optional: true}
                    """))
        let event = Array(
            #"{"a":"s", "id":1,"l":[1.5,null,-2e3 ],"x":{"j":{"k":[1e5,"\u0041\"",{}]},"t":[17.25,{"a":1e999}],"n":0.10,"f":-1e5},"c":[1,2]}"#
                .utf8
        )
        let seed = testSeed("damaged documents")
        var random = SeededRandom(seed: seed)
        var accepted = 0
        for round in 0..<4_000 {
            var bytes = event
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(bytes[at], at: at)
                default: bytes[at] = Array("{}[]\",:-.e019 \\".utf8).randomElement(using: &random)!
                }
            }
            let together = decoder.decode(batch([Sample(bytes: bytes), Sample(bytes: event)]))
            let alone = decoder.decode(batch([Sample(bytes: bytes)]))
            #expect(alone.outcomes == Array(together.outcomes.dropLast()), "seed \(seed), round \(round)")
            #expect(validate(decoder, bytes).fault?.detail == alone.faults.first?.detail, "seed \(seed), round \(round)")
            if alone.faults.isEmpty { accepted += 1 }
        }
        #expect(accepted > 100)
    }

    @Test func `the whole event can be a column`() throws {
        let event = #"{"a":"s", "id":1, "n":1e400, "s":"\u0041"}"#
        #expect(try Self.decoder("type: json", path: "").row(event).cells[1] == .text(event))
        #expect(try Self.decoder("cast: xml", path: "").row(event).cells[1] == .text(event))
        #expect(try Self.decoder("type: jsonb", path: "").row(event).cells[1] == .bytes([1] + Array(event.utf8)))
        let fault = try Self.decoder("type: jsonb", path: "").fault(
            Sample(#"{"a":"s","id":1,"z":1e200000}"#), good: Sample(event))
        #expect(
            fault == "out_of_range: the event contains a number outside numeric (131072 digits before the point, 16383 after it)")
    }

    @Test func `a number of an array takes no more bytes than the event has for it`() throws {
        let plain = try Self.decoder("type: 'numeric[]'")
        #expect(
            try plain.row(#"{"a":"c","id":1,"v":[1e131071,0e-16383,0e99999999999,-1.50,"NaN",null]}"#).cells[1]
                == .text(#"{1e131071,0e-16383,"0",-1.50,NaN,NULL}"#))
        #expect(
            try Self.decoder("type: 'numeric[]', format: string").row(#"{"a":"c","id":1,"v":["+1e131071"]}"#).cells[1]
                == .text("{+1e131071}"))
    }

    @Test func `a row has a largest size`() throws {
        let mapping = try mapping(
            columns: "id: {path: /id, type: int4}\nv: {path: /v, type: 'date[]', format: days, optional: true}\n"
                + "w: {path: /w, type: text, optional: true}")
        let decoder = Decoder(mapping: mapping, limits: DecodeLimits(rowBytes: 1_000))
        let good = Sample(#"{"a":"c","id":1,"v":[1,2,3],"w":"x"}"#)
        let days = Array(repeating: "1", count: 100).joined(separator: ",")
        #expect(
            try decoder.fault(Sample(#"{"a":"c","id":1,"v":[\#(days)]}"#), good: good)
                == "too_large: /v makes the row larger than the decoder accepts")
        let text = String(repeating: "x", count: 1_000)
        #expect(
            try decoder.fault(Sample(#"{"a":"c","id":1,"w":"\#(text)"}"#), good: good)
                == "too_large: /w makes the row larger than the decoder accepts")
        // Each row by itself.
        let samples = Array(repeating: good, count: 100)
        #expect(decoder.decode(batch(samples)).changes.count == 100)
    }

    @Test func `headers and keys have any type`() throws {
        let decoder = Decoder(
            mapping: try mapping(
                columns: """
                    id: {path: /id, type: int4}
                    t: {metadata: headers.t, type: timestamptz, format: epoch_ms, optional: true}
                    n: {metadata: headers.n, type: numeric, nullable: true}
                    j: {metadata: headers.j, type: jsonb, nullable: true}
                    c: {metadata: headers.c, cast: inet, nullable: true}
                    f: {metadata: headers.f, type: float4, nullable: true}
                    k: {metadata: key, type: uuid}
                    z: {constant: "09:30", type: time}
                    """))
        var sample = Sample(#"{"a":"c","id":1}"#, key: "01234567-89ab-cdef-0123-456789abcdef")
        sample.headers = [
            ("t", Array("946684800001".utf8)), ("n", Array("1.50".utf8)), ("j", Array(#" {"a":[1]} "#.utf8)),
            ("c", Array("::1".utf8)),
        ]
        let row = try #require(decoder.decode(batch([sample])).changes.isEmpty ? nil : decoder.decode(batch([sample])).row(0))
        #expect(
            row.cells == [
                .int4(1), .int8(1000), .bytes([0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88]),
                .bytes([1] + Array(#" {"a":[1]} "#.utf8)),
                .text("::1"), .null,
                .bytes([0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]),
                .int8(34_200_000_000),
            ])
        for (name, value, detail) in [
            ("t", "soon", "wrong_type: header t must be a number of milliseconds since 1970"),
            ("n", "x", "wrong_type: header n must be a number, NaN, Infinity or -Infinity"),
            ("j", "{", "wrong_type: header j must be JSON"),
            ("f", "007", "wrong_type: header f must be a number, NaN, Infinity or -Infinity"),
            ("n", "007", "wrong_type: header n must be a number, NaN, Infinity or -Infinity"),
        ] {
            var bad = sample
            bad.headers.append((name, Array(value.utf8)))
            #expect(try decoder.fault(bad, good: sample) == detail)
        }
    }

    /// Every type whose bytes tell rows apart may be a key; the key of a tombstone names the row of the event.
    @Test(arguments: [
        ("type: bool", "true", "true"),
        ("type: uuid", #""0123456789ABCDEF0123456789ABCDEF""#, "01234567-89ab-cdef-0123-456789abcdef"),
        ("type: date", #""2024-02-29""#, "2024-02-29"), ("type: date", #""infinity""#, "infinity"),
        ("type: date, format: days", "-1", "-1"), ("type: date, format: days", "200000000", "200000000"),
        ("type: date, format: days", "-2440588", "-2440588"), ("type: date, format: days", "2145042905", "2145042905"),
        ("type: date, format: epoch_ms", "86399999.9999999", "0"),
        ("type: date, format: epoch_ms", "86400001", "86400000"),
        ("type: time", #""09:30""#, "09:30:00"), ("type: time, format: epoch_us", "43200000001", "43200000001"),
        ("type: timestamp", #""2024-02-29 12:34:56.50Z""#, "2024-02-29T12:34:56.5"),
        ("type: timestamptz", #""2024-02-29T13:34:56.789012+01""#, "2024-02-29T12:34:56.789012Z"),
        ("type: timestamptz", #""0001-01-01T00:00Z""#, "0001-01-01T00:00:00Z"),
        ("type: timestamptz, format: epoch_s", "-1709210096.25", "-1709210096.25"),
        ("type: timestamptz, format: epoch_ns", "1709210096789012345", "1709210096789012000"),
        ("type: bytea", #""AAEC_w""#, "AAEC/w=="), ("type: bytea, format: hex", #""00FF""#, "00ff"),
        ("type: int8, format: string", #""-5""#, "-5"), ("type: text", #""x\"y""#, #"x"y"#),
    ])
    func `a key has one text`(_ type: String, _ json: String, _ text: String) throws {
        for format in ["text", "json"] {
            let mapping = try mapping(columns: "id: {path: /id, \(type)}", more: "kafka_key: \(format)")
            let decoder = Decoder(mapping: mapping)
            let event = #"{"a":"d","id":\#(json)}"#
            let (fault, key) = validate(decoder, Array(event.utf8))
            #expect(fault == nil, "\(event)")
            let bare = type.contains("epoch") || type.contains("days") || type == "type: bool"
            let quoted = text.replacingOccurrences(of: "\"", with: "\\\"")
            let expected = format == "text" ? text : bare ? "[\(text)]" : "[\"\(quoted)\"]"
            #expect(String(decoding: key, as: UTF8.self) == expected)
            var tombstone = Sample(nil)
            tombstone.key = key
            let changes = decoder.decode(batch([Sample(event), tombstone]))
            #expect(changes.faults.isEmpty && changes.changes.count == 2, "\(changes.faults)")
            #expect(changes.row(0).cells == changes.row(1).cells)
            #expect(changes.changes[0].keyPrefix == changes.changes[1].keyPrefix)
        }
    }

    @Test func `faults of types and formats`() {
        let found = faults(
            """
            topics: [t]
            table: t
            key: [id, f, n, j, a, c]
            action: {path: /a, create: [c]}
            columns:
              id: {path: /id, type: int4, format: isoo}
              f: {path: /f, type: float8}
              n: {path: /n, type: numeric}
              j: {path: /j, type: jsonb}
              a: {path: /arr, type: "text[]"}
              c: {path: /c, cast: citext}
              t: {path: /t, type: text, format: iso}
              d: {path: /d, type: date, format: hex}
              b: {path: /b, type: numeric, format: base64_decimal}
              s: {path: /s, type: numeric, scale: 2}
              s2: {path: /s2, type: numeric, format: base64_decimal, scale: two}
              u: {path: /u, type: int4, nul: strip}
              u2: {path: /u2, type: text, nul: remove}
              x: {path: /x, cast: "inet); DROP TABLE t; --"}
              y: {path: /y, cast: inet, format: string}
              z: {metadata: headers.z, type: "int4[]"}
              z2: {constant: "{}", type: "int4[]"}
              z3: {metadata: timestamp, type: timestamp, format: iso}
              e: {path: '', type: "json[]"}
              w: {path: /w, type: "txt[]"}
            """)
        #expect(
            found == [
                "6: column id: format 'isoo' is not one of iso, epoch_s, epoch_ms, epoch_us, epoch_ns, days, string, base64, hex, "
                    + "base64_decimal, variable_scale_decimal; did you mean 'iso'?",
                "7: column f cannot be in the key: values of type float8 that are equal may have different bytes",
                "8: column n cannot be in the key: values of type numeric that are equal may have different bytes",
                "9: column j cannot be in the key: values of type jsonb that are equal may have different bytes",
                "10: column a cannot be in the key: it is an array",
                "11: column c cannot be in the key: values that the server casts may be equal there and differ here",
                "12: column t: format iso does not fit type text, which has one form",
                "13: column d: format hex does not fit type date, which takes iso, epoch_s, epoch_ms, epoch_us, epoch_ns, days",
                "14: column b: format base64_decimal needs a scale, such as 'scale: 2'",
                "15: column s: scale belongs to format base64_decimal",
                "16: column s2: scale must be an integer from -16383 to 16383",
                "17: column u: nul is for text, json, jsonb and columns that have only a cast",
                "18: column u2: nul 'remove' is not one of refuse, strip, replace",
                "19: column x: cast 'inet); DROP TABLE t; --' is not a type as SQL names it, such as inet, public.citext, vector(3) or "
                    + "\"My type\"[]",
                "20: column y: format string does not fit a column without a type",
                "21: column z: an array must have a path", "22: column z2: an array must have a path",
                "23: column z3: metadata timestamp has no format",
                "24: path '' is the whole event; only a column of type json or jsonb can hold it",
                "25: column w: type 'txt[]' is not one of int2, int4, int8, text, date, timestamptz, bool, float4, float8, numeric, uuid, "
                    + "time, timestamp, interval, json, jsonb, bytea, or one of these with [] for an array; any other is a cast; did you mean "
                    + "'text[]'?",
            ], "\(found.joined(separator: "\n"))")
    }

    @Test(arguments: [
        "inet", "public.citext", "vector(3)", "numeric(10, 2)", "\"My type\"", "\"my schema\".\"t\"[]", "double precision",
        "timestamp without time zone", "character varying(3)[]",
    ])
    func `a cast is a type as SQL names it`(_ name: String) throws {
        let mapping = try mapping(columns: "id: {path: /id, type: int4}\nv: {path: /v, cast: '\(name)'}")
        #expect(mapping.table.columns[1] == ColumnShape(name: "v", type: .text, cast: name))
        #expect(mapping.table.columns[1].sqlCast == name)
    }

    @Test func `the page is what its source says`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = root.appending(path: "docs/types.md")
        if ProcessInfo.processInfo.environment["SLUICE_WRITE_DOCS"] != nil {
            try TypesPage.text.write(to: page, atomically: true, encoding: .utf8)
        }
        #expect(
            try String(contentsOf: page, encoding: .utf8) == TypesPage.text,
            "docs/types.md is not what Tests/TestSupport/TypeExamples.swift says; SLUICE_WRITE_DOCS=1 writes it anew")
    }
}
