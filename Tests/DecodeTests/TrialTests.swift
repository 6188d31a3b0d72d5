// Tests what `sluice try` prints of a record, and the files of events that it reads.

import Decode
import Records
import Testing

@Suite struct TrialTests {
    private func lines(_ mapping: Mapping, _ samples: Sample...) -> [String] {
        let decoder = Decoder(mapping: mapping)
        return samples.map { decoder.trial(of: batch([$0])).line }
    }

    @Test func `a line has the operation, the key, and the columns that are written`() throws {
        let mapping = try compile(messagesText)
        #expect(
            lines(
                mapping, Sample(#"{"action":"Create","message_id":7,"data":{"name":"Ada","message":"a, b"}}"#),
                Sample(#"{"action":"Update","message_id":7,"data":{"name":"","message":"null"}}"#),
                Sample(#"{"action":"Upsert","message_id":7,"data":{"name":"A\nb","message":"x"}}"#),
                Sample(#"{"action":"Delete","message_id":7}"#), Sample(nil, key: "7"),
                Sample(#"{"action":"Delete","message_id":7}"#, key: "8"))
                == [
                    #"create message_id = 7 | name = Ada, message = "a, b""#,
                    #"update message_id = 7 | name = "", message = "null", last_updated = current_date"#,
                    #"upsert message_id = 7 | name = "A\nb", message = x, last_updated = current_date (on update)"#,
                    "delete message_id = 7", "delete message_id = 7",
                    "delete message_id = 7; the record's key names another row",
                ])
    }

    @Test func `what an update or an insert leaves as it is stands in no line of it`() throws {
        let mapping = try mapping(
            columns: """
                id: {path: /id, type: int4}
                i: {path: /i, type: text, on: insert}
                u: {path: /u, type: text, on: update}
                k: {path: /k, type: text, nullable: true, if_null: keep}
                m: {path: /m, type: jsonb, merge: jsonb_concat}
                o: {path: /o, type: text, optional: true}
                """, more: "delete: {set: {gone: now}}")
        func event(_ word: String) -> Sample { Sample(#"{"a":"\#(word)","id":1,"i":"i","u":"u","k":null,"m":{"x": 1}}"#) }
        #expect(
            lines(mapping, event("c"), event("u"), event("s"), event("d"))
                == [
                    #"create id = 1 | i = i, k = null, m = {"x": 1}"#,
                    #"update id = 1 | u = u, m = {"x": 1} (merged)"#,
                    #"upsert id = 1 | i = i (on insert), u = u (on update), k = null (on insert), m = {"x": 1} (merged)"#,
                    "delete id = 1 | gone = now",
                ])
    }

    @Test func `values are shown as PostgreSQL does`() throws {
        let values: [(type: String, json: String, text: String)] = [
            ("int2", "-3", "-3"), ("int8", "9007199254740993", "9007199254740993"), ("bool", "true", "true"),
            ("float8", "12.50", "12.5"), ("float8", "100000", "100000"), ("float8", "-0.0001", "-0.0001"),
            ("float8", "0.00001234", "1.234e-05"), ("float8", "123456789012345", "123456789012345"),
            ("float8", "1e15", "1e+15"), ("float8", "-1.5e300", "-1.5e+300"), ("float8", "5e-324", "5e-324"),
            ("float8", "0.1", "0.1"), ("float8", "-0.0", "-0"), ("float8", #""NaN""#, "NaN"),
            ("float8", #""-Infinity""#, "-Infinity"), ("float4", "123456.7", "123456.7"), ("float4", "1000000", "1e+06"),
            ("float4", "123456789", "1.2345679e+08"), ("float4", "0.25", "0.25"),
            ("\"float8[]\"", "[100000]", "{1e+05}"), ("\"bool[]\"", "[true]", "{true}"), ("numeric", "1.10", "1.10"),
            ("numeric", "-0.001", "-0.001"),
            ("text", #""Zoë""#, "Zoë"),
            ("uuid", #""6B1F0C1E-0C52-4A53-9D3E-2F6F5F7F0001""#, "6b1f0c1e-0c52-4a53-9d3e-2f6f5f7f0001"),
            ("date", #""2026-03-01""#, "2026-03-01"), ("time", #""10:00:00.500""#, "10:00:00.5"),
            ("timestamp", #""2026-03-01T10:00:00""#, "2026-03-01 10:00:00"),
            ("timestamptz", #""2026-03-01T11:00:00.25+01:00""#, "2026-03-01 10:00:00.25+00"),
            ("timestamptz, format: epoch_ms", "1772359200000", "2026-03-01 10:00:00+00"),
            ("timestamptz", #""infinity""#, "infinity"),
            ("date, format: days", "-56270", "1815-12-10"), ("bytea", #""AAH/""#, "\\x0001ff"),
            ("interval", #""1 day""#, "1 day"),
            ("jsonb", #"{"a": [1]}"#, #"{"a": [1]}"#),
            ("\"text[]\"", #"["a","b c","",null,"NULL"]"#, #"{a,"b c","",NULL,"NULL"}"#),
            ("\"int4[]\"", "[1,-2]", "{1,-2}"), ("\"text[]\"", #"["a\"b","{"]"#, #"{"a\"b","{"}"#),
            ("numeric, format: base64_decimal, scale: 2", #""B88=""#, "19.99"),
        ]
        for (type, json, text) in values {
            let mapping = try mapping(columns: "id: {path: /id, type: int4}\nv: {path: /v, type: \(type)}")
            #expect(
                lines(mapping, Sample(#"{"a":"s","id":1,"v":\#(json)}"#)) == ["upsert id = 1 | v = \(text)"], "\(type) \(json)")
        }
    }

    @Test func `where the table has a version each event but a Delete is an Upsert`() throws {
        let mapping = try mapping(
            columns: """
                id: {path: /id, type: int4}
                v: {path: /v, type: int8}
                i: {path: /i, type: text, on: insert}
                u: {path: /u, type: text, on: update}
                k: {path: /k, type: text, nullable: true, if_null: keep}
                """, more: "version: {column: v, null_payload: skip}\nenvelope: action\non_update: {t: now}")
        func event(_ word: String) -> Sample { Sample(#"{"a":"\#(word)","id":1,"v":5,"i":"i","u":"u","k":null}"#) }
        let written =
            "upsert id = 1 | v = 5, i = i (on insert), u = u (on update), k = null (on insert), t = now (on update)"
        #expect(
            lines(mapping, event("c"), event("u"), event("s"), event("d")) == [
                written, written, written, "delete id = 1 | v = 5",
            ])
    }

    @Test func `what is not applied is said with its reason`() throws {
        let columns = "id: {path: /id, type: int4}"
        let conditions = try mapping(columns: columns, more: "where: [{path: /kind, equals: order}, {header: h, exists: true}]")
        var other = Sample(#"{"a":"s","id":1,"kind":"order"}"#)
        other.headers = [("g", nil)]
        var lacking = Sample(#"{"a":"s","id":1}"#)
        lacking.headers = [("h", [1])]
        #expect(
            lines(
                conditions, Sample(#"{"a":"s","id":1,"kind":"invoice"}"#), lacking, other,
                Sample(nil, key: "1"),
                Sample("{"))
                == [
                    "skipped: condition header h exists is not met", "skipped: condition /kind equals order is not met",
                    "skipped: condition header h exists is not met",
                    "skipped: condition /kind equals order is not met by a record without payload",
                    "refused (decode:malformed_json): malformed JSON at byte 1",
                ])
        #expect(
            lines(try mapping(columns: columns, more: "mode: insert_only"), Sample(#"{"a":"u","id":1}"#), Sample(nil, key: "1"))
                == ["skipped: mode insert_only takes no update", "skipped: mode insert_only takes no delete"])
        #expect(
            lines(try mapping(columns: columns), Sample(#"{"a":"s","id":"1"}"#), Sample(#"{"a":"x","id":1}"#)) == [
                "refused (decode:wrong_type): /id must be an integer, not a string",
                "refused (decode:unknown_action): /a must be one of c, u, s, d",
            ])
        let debezium = try compile("topics: [t]\ntable: t\nenvelope: debezium\nkey: [id]\ncolumns: {id: {path: /id, type: int4}}")
        let trials = lines(debezium, Sample(#"{"op":"t"}"#), Sample(#"{"op":"m"}"#), Sample(#"{"ts_ms":1}"#))
        #expect(trials[0].hasPrefix("stops the partition: offset 100: the source table was truncated"), "\(trials)")
        #expect(
            trials.dropFirst() == [
                "skipped: op m, a message of the application", "skipped: a heartbeat or a transaction record of Debezium",
            ])
        let kinds = try compile(
            "topics: [t]\ntable: t\nenvelope: debezium\nkey: [id]\ncolumns: {id: {path: /id, type: int4}}\n"
                + "where: {path: /kind, equals: a}")
        #expect(
            lines(
                kinds, Sample(#"{"op":"d","before":{"id":1,"kind":"b"}}"#), Sample(#"{"op":"u","after":{"id":1,"kind":"b"}}"#),
                Sample(#"{"op":"d","before":{"id":1,"kind":"b"}}"#), Sample(nil)) == [
                    "skipped: condition /before/kind equals a is not met", "skipped: condition /after/kind equals a is not met",
                    "skipped: condition /before/kind equals a is not met",
                    "skipped: condition /after/kind equals a is not met by a record without payload",
                ])
    }

    @Test func `JSON has the values as texts, and apart from them what depends on the row`() throws {
        let mapping = try mapping(
            columns: "id: {path: /id, type: int4}\nv: {path: /v, type: text, nullable: true, on: insert}",
            more: "on_update: {t: now}")
        let decoder = Decoder(mapping: mapping)
        #expect(
            decoder.trial(of: batch([Sample(#"{"a":"s","id":1,"v":null}"#, key: "2")])).json(position: "t[0]@5")
                == #"{"position":"t[0]@5","operation":"upsert","key":{"id":"1"},"values":{"v":null},"expressions":{"t":"now"},"#
                + #""occasions":{"v":"on insert","t":"on update"},"names_other_row":true}"#)
        #expect(
            decoder.trial(of: batch([Sample("[]")])).json(position: "1")
                == #"{"position":"1","refused":"decode:not_an_object","detail":"the event must be a JSON object, not an array"}"#)
    }

    // MARK: Files of events

    private func records(_ text: String) throws -> [String] {
        try EventFile.lines(of: Array(text.utf8), file: "e", topic: "t").map { line in
            let record = line.batch.records[0]
            func text(_ slice: Slice) -> String {
                line.batch.bytes(of: slice).map { String(decoding: $0, as: UTF8.self) } ?? "nil"
            }
            var headers: [String] = []
            if let bytes = line.batch.bytes(of: record.headers) {
                RecordHeaders.forEach(in: bytes) { name, value in
                    headers.append(
                        "\(String(decoding: name, as: UTF8.self))=\(value.map { String(decoding: $0, as: UTF8.self) } ?? "nil")")
                }
            }
            return
                "\(line.number) \(line.batch.source)@\(record.offset) \(record.timestamp) \(text(record.key)) \(text(record.value)) "
                + headers.joined(separator: ",")
        }
    }

    @Test func `a line is a payload, or a record with its parts`() throws {
        let text = """
            {"a":1}\r
            # a comment

            record {"value":null,"key":"7"}
            record {"value":{"a": 12345678901234567890123},"key":{"id": 7},"headers":{"h":"x","n":null},"timestamp":5,"topic":"u","partition":2,"offset":9}
            not JSON
            record {"value":"text","key":""}
            """
        #expect(
            try records(text) == [
                #"1 t[0]@0 0 nil {"a":1} "#, "4 t[0]@1 0 7 nil ",
                #"5 u[2]@9 5 {"id": 7} {"a": 12345678901234567890123} h=x,n=nil"#, "6 t[0]@10 0 nil not JSON ",
                #"7 t[0]@11 0  "text" "#,
            ])
    }

    @Test func `a byte order mark is no part of the first line`() throws {
        #expect(try records("\u{FEFF}{}\n{}") == ["1 t[0]@0 0 nil {} ", "2 t[0]@1 0 nil {} "])
        #expect(try records("\u{FEFF}").isEmpty)
    }

    @Test(arguments: ["{}", #"record {"value":1}"#])
    func `no record follows the last offset`(_ next: String) throws {
        let last = #"record {"value":{},"offset":9223372036854775806}"#
        #expect(try records(last + "\n" + #"record {"value":1,"offset":0}"#).count == 2)
        let fault = #expect(throws: EventFileFault.self) { try records(last + "\n" + next) }
        #expect(
            fault?.description == "e:2: no offset is left after that of the record before: "
                + "offset must be an integer from 0 to 9223372036854775806")
    }

    @Test(arguments: [
        ("record {}", "a record needs 'value'"), ("record 5", "must stand a JSON object"),
        ("record {", "must stand a JSON object"),
        (#"record {"value":1,"kay":2}"#, "a record has no 'kay'"), (#"record {"value":1,"value":2}"#, "'value' is given twice"),
        (#"record {"value":1,"headers":{"h":1}}"#, "header 'h' must be a string or null"),
        (#"record {"value":1,"timestamp":"x"}"#, "timestamp must be an integer"),
        (#"record {"value":1,"partition":-1}"#, "partition must be an integer from 0"),
        (#"record {"value":1,"topic":null}"#, "topic must be a string"),
        (#"record {"value":1,"headers":[]}"#, "headers must be an object"),
    ])
    func `a faulty line is named`(_ line: String, _ says: String) {
        let fault = #expect(throws: EventFileFault.self) { try records("{}\n" + line) }
        #expect(
            fault?.description.hasPrefix("e:2: ") == true && fault?.description.contains(says) == true,
            "\(String(describing: fault))")
    }
}
