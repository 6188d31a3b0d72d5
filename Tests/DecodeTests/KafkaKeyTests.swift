// Proves that the Kafka key the ingress makes for an event names the same row when it is the key of a tombstone.

import Decode
import Foundation
import Records
import Settings
import Testing

@Suite struct KafkaKeyTests {
    /// Checks an event, then decodes a tombstone with the resulting key: the key's cells must be equal.
    private func roundTrip(_ mapping: Mapping, _ json: String) throws -> String {
        let decoder = Decoder(mapping: mapping)
        let (fault, key) = validate(decoder, Array(json.utf8))
        #expect(fault == nil, "\(json)")
        var tombstone = Sample(nil)
        tombstone.key = key
        let changes = decoder.decode(batch([Sample(json), tombstone]))
        #expect(changes.faults.isEmpty, "\(changes.faults)")
        _ = try #require(changes.changes.count == 2 ? changes.changes : nil)
        #expect(changes.changes[0].keyPrefix == changes.changes[1].keyPrefix)
        for column in 0..<changes.columnCount {
            let cell = changes.row(1).cells[column]
            #expect(cell == (mapping.table.key.contains(column) ? changes.row(0).cells[column] : .absent))
        }
        return String(decoding: key, as: UTF8.self)
    }

    @Test(arguments: ["0", "7", "-1", "10", "2147483647", "-2147483648"])
    func `an integer's key is its decimal`(number: String) throws {
        let json = #"{"action":"Delete","message_id":\#(number)}"#
        #expect(try roundTrip(try compile(messagesText), json) == number)
    }

    @Test func `minus zero is zero`() throws {
        #expect(try roundTrip(try compile(messagesText), #"{"action":"Delete","message_id":-0}"#) == "0")
    }

    @Test(arguments: [("int2", "-32768"), ("int8", "-9223372036854775808"), ("int8", "9223372036854775807")])
    func `other integers`(type: String, number: String) throws {
        let mapping = try mapping(columns: "id: {path: /id, type: \(type)}")
        #expect(try roundTrip(mapping, #"{"a":"d","id":\#(number)}"#) == number)
    }

    @Test(arguments: ["", "x", "a \"quoted\" é", "exactly8", "longer than eight"])
    func `a text is its own key`(text: String) throws {
        let escaped = text.replacingOccurrences(of: "\"", with: "\\\"")
        let mapping = try mapping(columns: "v: {path: /v, type: text, optional: true}\nid: {path: /id, type: text}")
        #expect(try roundTrip(mapping, #"{"a":"d","id":"\#(escaped)"}"#) == text)
    }

    @Test func `a date is its own key`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: date}")
        #expect(try roundTrip(mapping, #"{"a":"s","id":"2024-02-29"}"#) == "2024-02-29")
    }

    @Test func `several columns are a JSON array in key order`() throws {
        let mapping = try mapping(
            columns: """
                day: {path: /k/day, type: date}
                v: {path: /v, type: text, optional: true}
                id: {path: /id, type: int8}
                name: {path: /k/name, type: text}
                """, key: "[name, id, day]", more: "kafka_key: json_array")
        #expect(mapping.table.key == [3, 2, 0])
        let json = #"{"a":"s","id":-5,"v":"x","k":{"day":"1999-12-31","name":"a\"\\\/\b\f\n\r\t\u0001\u007f\u00e9"}}"#
        #expect(try roundTrip(mapping, json) == #"["a\"\\/\b\f\n\r\t\u0001\#u{7f}é",-5,"1999-12-31"]"#)

        let decoder = Decoder(mapping: mapping)
        let good = Sample(nil, key: #" [ "n" , 1 , "2000-01-01" ] "#)
        for key in [
            "", "[]", "[", #"["n",1]"#, #"["n",1,"2000-01-01",2]"#, #"["n","1","2000-01-01"]"#, #"["n",1,"2000-01-32"]"#,
            #"{"name":"n"}"#, #"["n\u0000",1,"2000-01-01"]"#, #"[null,1,"2000-01-01"]"#, #"["n",1e400,"2000-01-01"]"#, "\"n\"",
        ] {
            let fault = try decoder.fault(Sample(nil, key: key), good: good)
            #expect(fault == "bad_key: the record's key must be a JSON array of name (text), id (int8), day (date)")
        }
    }

    @Test func `a text key must be a text`() throws {
        let decoder = Decoder(mapping: try mapping(columns: "id: {path: /id, type: text}"))
        for key: [UInt8] in [[0xFF], [0x61, 0, 0x62]] {
            var sample = Sample(nil)
            sample.key = key
            #expect(
                try decoder.fault(sample, good: Sample(nil, key: "x"))
                    == "bad_key: the record's key must be the id (text) as text")
        }
    }

    @Test func `several columns are a JSON object by the names of fields or columns`() throws {
        let mapping = try mapping(
            columns: """
                customer: {path: /k/id, type: int8}
                v: {path: /v, type: text, optional: true}
                id: {path: '/k/a"b', type: text}
                """, key: "[customer, id]", more: "kafka_key: json_object")
        // A field named as another column is the field.
        let json = #"{"a":"s","k":{"id":-5,"a\"b":"x\n"}}"#
        #expect(try roundTrip(mapping, json) == #"{"id":-5,"a\"b":"x\n"}"#)
        let decoder = Decoder(mapping: mapping)
        let row = Outcome.row(Row(operation: .delete, cells: [.int8(7), .absent, .text("y")]))
        for key in [
            #"{"id":7,"a\"b":"y"}"#, #" {"a\"b" : "y", "more": {"payload": 1}, "id" : 7} "#, #"{"customer":7,"a\"b":"y"}"#,
            #"{"schema":{"type":"struct"},"payload":{"id":7,"a\"b":"y"}}"#,
            #"{"payload":{"customer":7,"a\"b":"y"},"schema":null}"#,
        ] { #expect(decoder.outcomes([Sample(nil, key: key)]) == [row], "\(key)") }
        for key in [
            "", "{}", "7", #"[7,"y"]"#, #"{"id":7}"#, #"{"id":"7","a\"b":"y"}"#, #"{"id":null,"a\"b":"y"}"#,
            #"{"id":7,"id":8,"a\"b":"y"}"#, #"{"schema":{},"payload":null}"#, #"{"id":7,"a\"b":"y""#,
        ] {
            let fault = try decoder.fault(Sample(nil, key: key), good: Sample(nil, key: #"{"id":7,"a\"b":"y"}"#))
            #expect(fault == "bad_key: the record's key must be a JSON object with customer (int8), id (text)", "\(key)")
        }
    }

    @Test func `fields of one name are told apart by their columns, and a field may be called payload`() throws {
        let decoder = Decoder(
            mapping: try mapping(
                columns: "id: {path: /x/id, type: int4}\nother: {path: /y/id, type: int4}\np: {path: /payload, type: int4}",
                key: "[id, other, p]", more: "kafka_key: json_object"))
        let row = Row(operation: .delete, cells: [.int4(1), .int4(2), .int4(3)])
        let key = #"{"id":1,"other":2,"payload":3}"#
        let event = #"{"a":"s","x":{"id":1},"y":{"id":2},"payload":3}"#
        #expect(String(decoding: validate(decoder, Array(event.utf8)).key, as: UTF8.self) == key)
        #expect(decoder.decode(batch([Sample(event, key: key)])).keyMismatches == 0)
        for key in [key, #"{"schema":{},"payload":\#(key)}"#] {
            #expect(decoder.outcomes([Sample(nil, key: key)]) == [.row(row)], "\(key)")
        }
        #expect(decoder.outcomes([Sample(nil, key: #"{"id":1,"payload":3}"#)]) == [.fault("bad_key")])
    }

    @Test func `two columns cannot be one member of a key`() {
        let rest =
            "topics: [t]\ntable: t\nkey: [a, b, c]\nenvelope: upsert\ncolumns: {a: {path: /x/id, type: int4}, "
            + "b: {path: /y/id, type: int4}, c: {path: /a, type: int4}}\nkafka_key: "
        #expect(
            faults(rest + "json_object") == [
                "6: kafka_key: json_object: the columns a and c would both be the member 'a' of the record's key: rename one of them, "
                    + "or use json_array"
            ])
        #expect(faults(rest + "json_array").isEmpty)
    }

    @Test func `a key that names nothing deletes nothing, and keeps a row's events together`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: int4}", more: "kafka_key: none")
        let decoder = Decoder(mapping: mapping)
        #expect(
            try decoder.fault(Sample(nil, key: "7"), good: Sample(#"{"a":"s","id":1}"#, key: "other"))
                == "bad_key: a record without payload deletes the row that its key names, but the mapping says kafka_key: none")
        #expect(validate(decoder, Array(#"{"a":"s","id":1}"#.utf8)).key == Array("1".utf8))
        let pair = try Decoder(
            mapping: Decode.Mapping.compile([
                YAML.parse(
                    text: "topics: [t]\ntable: t\nkey: [b, a]\nkafka_key: none\nenvelope: upsert\n"
                        + "columns: {a: {path: /a, type: int4}, b: {path: /b, type: int4}}", file: "test.yaml")
            ])[0])
        #expect(validate(pair, Array(#"{"a":1,"b":2}"#.utf8)).key == Array("[2,1]".utf8))
    }

    @Test func `the former name of json_array is read`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: int4}", more: "kafka_key: json")
        #expect(mapping.kafkaKey == .jsonArray)
        #expect(
            faults(
                "topics: [t]\ntable: t\nkey: [a, b]\nkafka_key: json_arry\nkafka_key_mismatch: eror\nenvelope: upsert\ncolumns: {a: {path: /a, type: int4}, b: {path: /b, type: int4}}"
            )
                == [
                    "4: kafka_key 'json_arry' is not one of text, json_array, json_object, none; did you mean 'json_array'?",
                    "5: kafka_key_mismatch 'eror' is not one of ignore, warn, fault",
                ])
        #expect(
            faults(
                "topics: [t]\ntable: t\nkey: [a]\nkafka_key: none\nkafka_key_mismatch: fault\nenvelope: upsert\ncolumns: {a: {path: /a, type: int4}}"
            )
                == ["5: kafka_key_mismatch: fault needs a kafka_key that names the row, and not none"])
    }

    /// For each format: keys that name row 12 of the columns, and keys that do not.
    private static let comparisons: [(format: String, equal: [String?], other: [String?])] = [
        ("text", ["12", nil], ["13", "1", "120", "012", "-12", "x", "", " 12", "12.0", "99999999999999999999"]),
        ("json_array", ["[12]", " [ 12 ] ", nil], ["[13]", "[1]", "[12,1]", "12", "[]", "[\"12\"]", "[12"]),
        (
            "json_object",
            [
                #"{"n":12}"#, #"{"id":12}"#, #"{ "x" : 1, "n" : 12 }"#, nil,
                #"{"schema":{"type":"struct","fields":[{"field":"n"}],"optional":false},"payload":{"n":12}}"#,
                #"{"schema":"a,\"payload\":{","payload":{"n":12}}"#, #"{"payload":{"n":12},"schema":null}"#,
            ],
            [
                #"{"n":13}"#, #"{"n":1}"#, #"{"m":12}"#, "12", #"{"schema":{},"payload":{"n":13}}"#, #"{"n":12"#,
                #"{"schema":{},"payload":{"n":12}"#,
            ]
        ),
    ]

    @Test(arguments: [KafkaKeyMismatch.ignore, .warn, .fault])
    func `a key that names another row is counted, or refused`(_ mismatch: KafkaKeyMismatch) throws {
        for (format, equal, other) in Self.comparisons {
            let more = "kafka_key: \(format)\nkafka_key_mismatch: \(mismatch.rawValue)"
            let decoder = Decoder(
                mapping: try mapping(columns: "v: {path: /v, type: text}\nid: {path: /n, type: int4}", more: more))
            for (key, isOther) in equal.map({ ($0, false) }) + other.map({ ($0, true) }) {
                let changes = decoder.decode(batch([Sample(#"{"a":"s","n":12,"v":"w"}"#, key: key)]))
                let label = "\(format) \(key ?? "null")"
                if isOther, mismatch == .fault {
                    #expect(changes.faults.map(\.reason) == ["key_mismatch"], "\(label)")
                    #expect(changes.faults.first?.detail == "the record's key names another row than /n", "\(label)")
                } else {
                    #expect(changes.outcomes == [.row(Row(operation: .upsert, cells: [.text("w"), .int4(12)]))], "\(label)")
                    #expect(changes.keyMismatches == (isOther && mismatch == .warn ? 1 : 0), "\(label)")
                }
            }
        }
    }

    @Test func `texts are compared unescaped`() throws {
        for (format, equal, other) in [
            ("text", ["a\\b"], ["a\u{8}", "ab"]), ("json_array", [#"["a\\b"]"#, #"["a\u005cb"]"#], [#"["a\b"]"#, #"["ab"]"#]),
        ] {
            let decoder = Decoder(mapping: try mapping(columns: "id: {path: /n, type: text}", more: "kafka_key: \(format)"))
            for (key, count) in equal.map({ ($0, 0) }) + other.map({ ($0, 1) }) {
                #expect(decoder.decode(batch([Sample(#"{"a":"s","n":"a\\b"}"#, key: key)])).keyMismatches == count, "\(key)")
            }
        }
    }
}
