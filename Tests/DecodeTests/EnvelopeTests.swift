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
                Sample(nil, key: "3"), Sample(#"{"name":"b"}"#), Sample("null"),
            ]) == [
                row(.upsert, .int4(1), .text("a"), .null), row(.upsert, .int4(2), .text("b"), .absent),
                row(.delete, .int4(3), .absent, .absent), .fault("missing_field"), .fault("not_an_object"),
            ])
        #expect(validate(decoder, Array(#"{"id":-4,"name":"b"}"#.utf8)).key == Array("-4".utf8))
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
                // A field that is missing is another matter: the source's column may have been renamed.
                Sample(Self.event("u", after: #"{"id":1,"note":"n"}"#)),
            ]))
        #expect(
            changes.outcomes == [
                row(.upsert, .int4(1), .absent, .text("n")), row(.upsert, .int4(1), .text("a"), .absent),
                row(.upsert, .int4(1), .absent, .null), row(.upsert, .int4(1), .absent, .text("n")),
                row(.upsert, .int4(1), .text("__debezium_unavailable_valuE"), .text("n")), .fault("missing_field"),
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
        #expect(validate(decoder, Array(truncate.utf8)).fault?.reason == "unknown_action")
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
