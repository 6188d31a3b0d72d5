// Tests what each envelope makes of an event: literal records, and the operations and cells they must become.

import Decode
import Foundation
import Records
import Testing

/// A table of customers as each envelope's mapping fills it.
private func customers(_ more: String, key: String = "[id]") throws -> Decode.Mapping {
    try compile(
        """
        topics: [t]
        table: t
        key: \(key)
        columns:
          id: {path: /id, type: int4}
          name: {path: /name, type: text}
          note: {path: /note, type: text, optional: true, nullable: true}
        \(more)
        """)
}

private func row(_ operation: Records.Operation, _ cells: Cell...) -> Outcome { .row(Row(operation: operation, cells: cells)) }

@Suite struct UpsertEnvelopeTests {
    @Test func `a plain object is an Upsert, a null payload deletes the row of its key`() throws {
        let decoder = Decoder(mapping: try customers("envelope: upsert"))
        #expect(
            decoder.outcomes([
                Sample(#"{"id":1,"name":"a","note":null,"action":"Delete","op":"d"}"#), Sample(#"{"id":2,"name":"b"}"#),
                Sample(nil, key: "3"), Sample(#"{"name":"b"}"#), Sample("null", key: "4"),
                Sample(" \r\n\tnull ", key: "5"), Sample("[null]"), Sample("    "),
            ]) == [
                row(.upsert, .int4(1), .text("a"), .null), row(.upsert, .int4(2), .text("b"), .absent),
                row(.delete, .int4(3), .absent, .absent), .fault("missing_field"), row(.delete, .int4(4), .absent, .absent),
                row(.delete, .int4(5), .absent, .absent), .fault("not_an_object"), .fault("malformed_json"),
            ])
        #expect(validate(decoder, Array(#"{"id":-4,"name":"b"}"#.utf8)).key == Array("-4".utf8))
        #expect(validate(decoder, Array("null".utf8)).fault?.reason == "not_an_object")
    }

    /// Records of Debezium 3.6 with the transform ExtractNewRecordState, without schemas: its default, and
    /// `delete.tombstone.handling.mode: rewrite`.
    @Test func `rows that Debezium's transform has flattened`() throws {
        func decoder(_ envelope: String) throws -> Decoder {
            Decoder(
                mapping: try compile(
                    """
                    topics: [t]
                    table: t
                    key: [doc, line]
                    kafka_key: json_object
                    \(envelope)
                    columns:
                      doc: {path: /doc, type: text}
                      line: {path: /line, type: int4}
                      qty: {path: /qty, type: int4, nullable: true}
                    """))
        }
        let at = #""note":null,"at":"2049-05-17T00:18:37.798722Z""#
        let expected = [
            row(.upsert, .text("D4"), .int4(2), .int4(5)), row(.delete, .text("D1"), .int4(6), .absent),
        ]
        let keys = [#"{"doc":"D4","line":2}"#, #"{"doc":"D1","line":6}"#]
        #expect(
            try decoder("envelope: upsert").outcomes([
                Sample(#"{"doc":"D4","line":2,"qty":5,\#(at)}"#, key: keys[0]), Sample("null", key: keys[1]),
            ]) == expected)
        #expect(
            try decoder(#"action: {path: /__deleted, upsert: ["false"], delete: ["true"]}"#).outcomes([
                Sample(#"{"doc":"D4","line":2,"qty":5,\#(at),"__deleted":"false"}"#, key: keys[0]),
                Sample(#"{"doc":"D1","line":6,"qty":null,"note":null,"at":null,"__deleted":"true"}"#, key: keys[1]),
            ]) == expected)
    }
}

@Suite struct DebeziumTests {
    private let mapping: Decode.Mapping
    private let decoder: Decoder

    init() throws {
        mapping = try customers("envelope: debezium")
        decoder = Decoder(mapping: mapping)
    }

    private static let source =
        #""source":{"version":"3.0.0.Final","connector":"postgresql","name":"shop","ts_ms":1700000000000,"snapshot":"false","db":"shop","schema":"public","table":"customers","txId":556,"lsn":24023128}"#

    private static func event(_ op: String, before: String = "null", after: String = "null", more: String = "") -> String {
        #"{"before":\#(before),"after":\#(after),\#(source),"transaction":null,"op":"\#(op)","ts_ms":1700000000001\#(more)}"#
    }

    private static let noOperation =
        "bad_envelope: /op is missing: this is no change event of Debezium; rows without an envelope need 'envelope: upsert'"

    private static func wrapped(_ payload: String) -> String {
        #"{"schema":{"type":"struct","fields":[{"type":"struct","optional":true,"field":"before"},{"type":"string","field":"op"}],"optional":false,"name":"shop.public.customers.Envelope","version":2},"payload":\#(payload)}"#
    }

    private static let ana = #"{"id":1,"name":"Ana","note":"x"}"#
    private static let bob = #"{"id":1,"name":"Bob","note":null}"#
    /// As PostgreSQL's default replica identity leaves it.
    private static let keyOnly = #"{"id":1,"name":null,"note":null}"#

    @Test(arguments: [false, true]) func `a captured stream, with and without its schema`(isWrapped: Bool) {
        let events = [
            Self.event("c", after: Self.ana), Self.event("r", after: Self.ana),
            Self.event("u", before: Self.ana, after: Self.bob),
            Self.event("d", before: Self.keyOnly),
        ]
        let key =
            isWrapped
            ? #"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,"name":"shop.public.customers.Key"},"payload":{"id":1}}"#
            : #"{"id":1}"#
        let samples = events.map { Sample(isWrapped ? Self.wrapped($0) : $0, key: key) } + [Sample(nil, key: key)]
        let changes = decoder.decode(batch(samples))
        #expect(
            changes.outcomes == [
                row(.upsert, .int4(1), .text("Ana"), .text("x")), row(.upsert, .int4(1), .text("Ana"), .text("x")),
                row(.upsert, .int4(1), .text("Bob"), .null), row(.delete, .int4(1), .absent, .absent),
                row(.delete, .int4(1), .absent, .absent),
            ])
        #expect(changes.keyMismatches == 0)
        #expect(changes.changes.allSatisfy { $0.keyPrefix == KeyPrefix.of(Int32(1)) })
    }

    @Test func `a Delete without the key in before takes it from the record's key`() {
        let delete = Self.event("d")
        #expect(
            decoder.outcomes([
                Sample(delete, key: #"{"id":7}"#), Sample(Self.event("d", before: #"{"name":"x"}"#), key: #"{"id":8}"#),
                Sample(delete), Sample(delete, key: #"{"name":"x"}"#), Sample(delete, key: "7"),
            ]) == [
                row(.delete, .int4(7), .absent, .absent), row(.delete, .int4(8), .absent, .absent),
                .fault("bad_key"), .fault("bad_key"), .fault("bad_key"),
            ])
    }

    @Test func `the placeholder for an unchanged value keeps the column`() throws {
        let changes = decoder.decode(
            batch([
                Sample(Self.event("u", after: #"{"id":1,"name":"__debezium_unavailable_value","note":"n"}"#)),
                Sample(Self.event("u", after: #"{"id":1,"name":"a","note":"__debezium_unavailable_value"}"#)),
                Sample(Self.event("u", after: #"{"id":1,"name":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","note":null}"#)),
                Sample(Self.event("u", after: #"{"id":1,"name":["__debezium_unavailable_value"],"note":"n"}"#)),
                Sample(Self.event("u", after: #"{"id":1,"name":"__debezium_unavailable_valuE","note":"n"}"#)),
                Sample(Self.event("u", after: #"{"id":1,"name":"b68a35a7-17ad-35b3-af2a-ae46edb4545a","note":"n"}"#)),
                // A field that is missing is another matter: the source's column may have been renamed.
                Sample(Self.event("u", after: #"{"id":1,"note":"n"}"#)),
            ]))
        #expect(
            changes.outcomes == [
                row(.upsert, .int4(1), .absent, .text("n")), row(.upsert, .int4(1), .text("a"), .absent),
                row(.upsert, .int4(1), .absent, .null), row(.upsert, .int4(1), .absent, .text("n")),
                row(.upsert, .int4(1), .text("__debezium_unavailable_valuE"), .text("n")),
                row(.upsert, .int4(1), .text("b68a35a7-17ad-35b3-af2a-ae46edb4545a"), .text("n")), .fault("missing_field"),
            ])
        // The table's writer must expect that the value is missing.
        #expect(mapping.table.columns.map(\.isOptional) == [false, true, true])
        let strict = try compile(
            "topics: [t]\ntable: t\nkey: [id]\nenvelope: debezium\ncolumns: "
                + "{id: {path: /id, type: int4}, at: {path: /at, type: date}, name: {path: /name, type: text, optional: false}}")
        #expect(strict.table.columns.map(\.isOptional) == [false, false, false])
        #expect(
            Decoder(mapping: strict).outcomes([
                Sample(Self.event("c", after: #"{"id":1,"at":"2024-01-01","name":"__debezium_unavailable_value"}"#))
            ]) == [row(.upsert, .int4(1), .int4(8766), .text("__debezium_unavailable_value"))])
    }

    @Test func `arrays and hstores have placeholders of their own`() throws {
        let text = "__debezium_unavailable_value"
        let bytes = text.utf8.map { "\($0)" }
        let uuid = "b68a35a7-17ad-35b3-af2a-ae46edb4545a"
        let decoder = Decoder(
            mapping: try compile(
                """
                topics: [t]
                table: t
                envelope: debezium
                key: [id]
                columns:
                  id: {path: /id, type: int4}
                  i: {path: /i, type: 'int8[]'}
                  u: {path: /u, type: 'uuid[]'}
                  h: {path: /h, cast: text}
                """))
        func event(_ i: String, _ u: String, _ h: String) -> Sample {
            Sample(Self.event("u", after: #"{"id":1,"i":\#(i),"u":\#(u),"h":\#(h)}"#))
        }
        let all = "[\(bytes.joined(separator: ","))]"
        let fewer = "[\(bytes.dropLast().joined(separator: ","))]"
        let more = "[\((bytes + ["1"]).joined(separator: ","))]"
        func literal(_ elements: String) -> Cell {
            .text("{" + elements.dropFirst().dropLast().split(separator: ",").map { "\"\($0)\"" }.joined(separator: ",") + "}")
        }
        let other = "[\"01234567-89ab-cdef-0123-456789abcdef\"]"
        #expect(
            decoder.outcomes([
                event(all, #"["\#(uuid)"]"#, #"{"\#(text)":"\#(text)"}"#),
                event(#"["\#(text)"]"#, #"["\#(text)"]"#, #"["\#(text)"]"#),
                // An hstore that travels as a JSON text, as Debezium 3.6 writes it.
                event(all, #"["\#(uuid)"]"#, #""{\"\#(text)\":\"\#(text)\"}""#),
                event(fewer, #"["\#(uuid)","\#(uuid)"]"#, #"{"\#(text)":"x"}"#),
                event(more, other, #"{"\#(text)":"\#(text)","x":"y"}"#), event("[]", "[]", "{}"),
            ]) == [
                row(.upsert, .int4(1), .absent, .absent, .absent), row(.upsert, .int4(1), .absent, .absent, .absent),
                row(.upsert, .int4(1), .absent, .absent, .absent),
                row(
                    .upsert, .int4(1), literal(fewer), .text(#"{"\#(uuid)","\#(uuid)"}"#), .text(#"{"\#(text)":"x"}"#)),
                row(
                    .upsert, .int4(1), literal(more), .text("{" + other.dropFirst().dropLast() + "}"),
                    .text(#"{"\#(text)":"\#(text)","x":"y"}"#)),
                row(.upsert, .int4(1), .text("{}"), .text("{}"), .text("{}")),
            ])
    }

    @Test func `two columns may read a field that has the placeholder`() throws {
        func decoder(_ more: String) throws -> Decoder {
            Decoder(
                mapping: try compile(
                    "topics: [t]\ntable: t\nkey: [id]\nenvelope: debezium\ncolumns: {id: {path: /id, type: int4}, "
                        + "a: {path: /v, type: text, optional: true}, b: {path: /v, type: text\(more)}}"))
        }
        let events = [#"{"id":1,"v":"__debezium_unavailable_value"}"#, #"{"id":1,"v":"x"}"#, #"{"id":1}"#].map {
            Sample(Self.event("u", after: $0))
        }
        let rows = [row(.upsert, .int4(1), .absent, .absent), row(.upsert, .int4(1), .text("x"), .text("x"))]
        #expect(try decoder("").outcomes(events) == rows + [.fault("missing_field")])
        #expect(try decoder(", optional: true").outcomes(events) == rows + [row(.upsert, .int4(1), .absent, .absent)])
    }

    @Test func `heartbeats, transactions and messages are skipped`() {
        let changes = decoder.decode(
            batch([
                Sample(#"{"ts_ms":1700000000000}"#, key: #"{"serverName":"shop"}"#),
                Sample(Self.wrapped(#"{"ts_ms":1700000000000}"#)),
                Sample(
                    #"{"status":"BEGIN","id":"571:53195829","ts_ms":1486500577125,"event_count":null,"data_collections":null}"#),
                Sample(
                    #"{"status":"END","id":"571:53195829","ts_ms":1486500577691,"event_count":2,"data_collections":[{"data_collection":"s1.a","event_count":2}]}"#
                ),
                Sample(#"{"op":"m","ts_ms":1,"source":{},"message":{"prefix":"foo","content":"Ym9v"}}"#),
                Sample(Self.event("c", after: Self.ana)),
            ]))
        #expect(changes.faults.isEmpty)
        #expect(changes.changes.map(\.record) == [5])
    }

    @Test(arguments: [
        (#"{"id":1,"name":"a"}"#, noOperation), (#"{"ts_ms":1,"id":1,"name":"a"}"#, noOperation),
        (#"{"status":"BEGIN","id":1}"#, noOperation),
        (#"{"op":"x","after":{"id":1}}"#, "unknown_action: /op must be one of c, r, u, d"),
        (#"{"op":"","after":{"id":1}}"#, "unknown_action: /op must be one of c, r, u, d"),
        (#"{"op":null,"after":{"id":1}}"#, "wrong_type: /op must be a string, not null"),
        (#"{"op":"c","op":"d","after":{"id":1}}"#, "duplicate_field: /op appears twice"),
        (#"{"op":"c","after":{"id":1,"name":5}}"#, "wrong_type: /after/name must be a string, not an integer"),
        (#"{"op":"c","after":null}"#, "missing_field: /after/name is missing"),
        (#"{"op":"u","after":[1]}"#, "wrong_type: /after must be an object, not an array"),
        (#"{"op":"d","before":{"id":"7"}}"#, "wrong_type: /before/id must be an integer, not a string"),
        (#"{"op":"d","before":{"id":7,"id":7}}"#, "duplicate_field: /before/id appears twice"),
        (#"{"op":"d","before":[7]}"#, "wrong_type: /before must be an object, not an array"),
        (#"{"op":"d","before":null}"#, "bad_key: the Delete has the key of its row neither in /before nor as the record's key"),
    ])
    func `what is no change event is a fault`(json: String, expected: String) throws {
        #expect(try decoder.fault(Sample(json), good: Sample(Self.event("c", after: Self.ana))) == expected)
    }

    @Test func `a truncate stops the partition before it`() throws {
        let truncate = Self.event("t")
        let changes = decoder.decode(
            batch([Sample(Self.event("c", after: Self.ana)), Sample(truncate), Sample(Self.event("c", after: Self.bob))]))
        #expect(changes.changes.map(\.record) == [0])
        #expect(changes.faults.isEmpty)
        let stop = try #require(changes.stop)
        #expect(stop.record == 1 && stop.reason.kind == .truncate && !stop.reason.isRechecked)
        #expect(stop.reason.description.hasPrefix("offset 101: the source table was truncated (op t)"))
        // The ingress refuses what would stop the worker.
        let fault = validate(decoder, Array(truncate.utf8)).fault
        #expect(fault?.reason == "unknown_action")
        #expect(fault?.detail == "/op t (the source table was truncated) is not applied: a record with it stops its partition")
    }

    @Test func `a truncate of which the mapping takes nothing is skipped`() throws {
        func isStop(_ more: String, _ headers: [(String, [UInt8]?)] = []) throws -> Bool {
            var sample = Sample(Self.event("t"))
            sample.headers = headers
            let changes = Decoder(mapping: try customers("envelope: debezium\n\(more)")).decode(batch([sample]))
            #expect(changes.changes.isEmpty && changes.faults.isEmpty)
            return changes.stop != nil
        }
        #expect(try isStop("where: {event_path: /source/table, equals: customers}"))
        #expect(try !isStop("where: {event_path: /source/table, equals: orders}"))
        // It has no row whose fields could be compared.
        #expect(try isStop("where: {path: /name, equals: a}"))
        #expect(try !isStop("where: [{path: /name, equals: a}, {event_path: /source/table, equals: orders}]"))
        let condition = "where: {header: h, equals: a}"
        #expect(try isStop(condition, [("h", Array("a".utf8))]))
        #expect(try !isStop(condition, [("h", Array("b".utf8))]))
        #expect(try !isStop("mode: append") && !isStop("mode: insert_only"))
    }

    @Test func `the key of an earlier event is not that of a skipped one`() throws {
        let mapping = try customers("envelope: debezium\nwhere: {path: /name, equals: Ana}")
        let decoder = Decoder(mapping: mapping)
        for skipped in [#"{"ts_ms":1}"#, #"{"op":"m","ts_ms":1,"source":{},"message":{"prefix":"foo"}}"#] {
            #expect(validate(decoder, Array(Self.event("c", after: Self.ana).utf8)).fault == nil && decoder.hasKey)
            let (fault, key) = validate(decoder, Array(skipped.utf8))
            #expect(fault == nil && !decoder.hasKey && key.isEmpty, "\(skipped)")
        }
    }

    @Test func `the mapping of the page compiles`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/debezium.md"), encoding: .utf8)
        let block = try #require(page.firstMatch(of: /(?s)```yaml\n(.*?)```/)).output.1
        let event = Self.event("u", after: #"{"id":1,"name":"Ana","bio":"__debezium_unavailable_value"}"#)
        #expect(
            Decoder(mapping: try compile(String(block))).outcomes([Sample(event)])
                == [row(.upsert, .int4(1), .text("Ana"), .absent, .int8(24_023_128))])
    }

    @Test func `columns may read what is around the row`() throws {
        let mapping = try compile(
            """
            topics: [t]
            table: t
            envelope: debezium
            key: [id]
            columns:
              id: {path: /id, type: int4}
              lsn: {event_path: /source/lsn, type: int8}
              op: {event_path: /op, type: text}
            """)
        let decoder = Decoder(mapping: mapping)
        for event in [Self.event("c", after: Self.ana), Self.wrapped(Self.event("c", after: Self.ana))] {
            #expect(decoder.outcomes([Sample(event)]) == [row(.upsert, .int4(1), .int8(24_023_128), .text("c"))])
        }
        #expect(mapping.table.columns.map(\.isOptional) == [false, false, false])
    }

    @Test func `the ingress gives an event the record key of a connector`() {
        for event in [Self.event("c", after: Self.ana), Self.wrapped(Self.event("d", before: Self.keyOnly))] {
            let (fault, key) = validate(decoder, Array(event.utf8))
            #expect(fault == nil)
            #expect(String(decoding: key, as: UTF8.self) == #"{"id":1}"#)
        }
        #expect(validate(decoder, Array(#"{"ts_ms":1}"#.utf8)).fault == nil)
        #expect(!decoder.hasKey)
    }
}

@Suite struct CloudEventTests {
    private static let noVersion =
        "bad_envelope: /specversion must be 1.0: this is no CloudEvent in structured mode; in binary mode the payload is the row, "
        + "which needs 'envelope: upsert'"

    private static func event(_ data: String, type: String = "customer.changed", version: String = #""1.0""#) -> String {
        #"{"specversion":\#(version),"id":"b2","source":"/shop","type":"\#(type)","datacontenttype":"application/json"\#(data)}"#
    }

    @Test func `the row is in data, and every event is an Upsert`() throws {
        let decoder = Decoder(mapping: try customers("envelope: cloudevents"))
        #expect(
            decoder.outcomes([
                Sample(Self.event(#","data":{"id":1,"name":"a"}"#)),
                Sample(Self.event(#","data":{"id":1,"name":"a"}"#, version: #""1.1""#)), Sample(nil, key: "5"),
            ]) == [
                row(.upsert, .int4(1), .text("a"), .absent), row(.upsert, .int4(1), .text("a"), .absent),
                row(.delete, .int4(5), .absent, .absent),
            ])
    }

    @Test(arguments: [
        (#"{"id":1,"name":"a"}"#, noVersion),
        (event("", version: #""2.0""#), noVersion),
        (event("", version: "1.0"), noVersion),
        (event(#","data_base64":"e30=""#), "bad_envelope: /data_base64 has data that is no JSON; a row needs /data"),
        (event(""), "missing_field: /data/id is missing"),
        (event(#","data":"text""#), "wrong_type: /data must be an object, not a string"),
    ])
    func `what is no CloudEvent with a row is a fault`(json: String, expected: String) throws {
        let decoder = Decoder(mapping: try customers("envelope: cloudevents"))
        #expect(try decoder.fault(Sample(json), good: Sample(Self.event(#","data":{"id":1,"name":"a"}"#))) == expected)
    }

    @Test(arguments: ["event_path: /type", "path: /type"]) func `an action names the operation`(place: String) throws {
        let decoder = Decoder(
            mapping: try customers(
                "envelope: cloudevents\naction: {\(place), create: [customer.created], delete: [customer.deleted]}"))
        func event(_ type: String) -> Sample {
            place == "path: /type"
                ? Sample(Self.event(#","data":{"id":1,"name":"a","type":"\#(type)"}"#))
                : Sample(Self.event(#","data":{"id":1,"name":"a"}"#, type: type))
        }
        #expect(
            decoder.outcomes([event("customer.created"), event("customer.deleted"), event("customer.seen")]) == [
                row(.create, .int4(1), .text("a"), .absent), row(.delete, .int4(1), .absent, .absent),
                .fault("unknown_action"),
            ])
    }
}
