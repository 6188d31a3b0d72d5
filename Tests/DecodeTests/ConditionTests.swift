// Tests `where`, and the modes that insert only: which records are skipped, and that what is skipped is not checked.

import Decode
import Foundation
import Records
import Testing

@Suite struct ConditionTests {
    /// What becomes of each sample: the operation's name, `skipped`, or the fault's reason.
    private func words(_ more: String, _ samples: [Sample], columns: String = "id: {path: /id, type: int4}") throws -> [String] {
        let changes = Decoder(mapping: try mapping(columns: columns, more: more)).decode(batch(samples))
        return samples.indices.map { index in
            if let fault = changes.faults.first(where: { $0.record == index }) { return fault.reason }
            return changes.changes.first { $0.record == index }.map { "\($0.operation)" } ?? "skipped"
        }
    }

    private func event(_ fields: String, _ operation: String = "s") -> Sample {
        Sample(#"{"a":"\#(operation)","id":1,\#(fields)}"#)
    }

    @Test func `a value equals one of the words`() throws {
        let values = [#""order""#, #""Order""#, "5", #""5""#, "-7", "5.0", "true", "null", "[5]", #"{"order":5}"#]
        func met(_ condition: String) throws -> [Int] {
            let words = try words("where: [{path: /kind, \(condition)}]", values.map { event(#""kind":\#($0)"#) })
            #expect(words.allSatisfy { ["upsert", "skipped"].contains($0) }, "\(words)")
            return words.indices.filter { words[$0] == "upsert" }
        }
        #expect(try met("equals: order") == [0])
        #expect(try met("equals: 5") == [2, 3])
        #expect(try met("in: [order, -7, 'true']") == [0, 4, 6])
        #expect(try met("equals: '05'") == [])
        #expect(try met("exists: true") == [0, 1, 2, 3, 4, 5, 6, 8, 9])
        #expect(try met("exists: false") == [7])
    }

    @Test func `a field may be absent, nested, an element, or the container of columns`() throws {
        let samples = [
            event(#""x":1"#), event(#""k":{"kind":"a"}"#), event(#""k":[{"kind":"a"},{"kind":"b"}]"#), event(#""k":5"#),
            event(#""k":{"kind":"a","kind":"b"}"#),
        ]
        #expect(
            try words("where: {path: /k/kind, equals: a}", samples)
                == ["skipped", "upsert", "skipped", "skipped", "duplicate_field"])
        #expect(
            try words("where: {path: /k/1/kind, exists: true}", samples) == [
                "skipped", "skipped", "upsert", "skipped", "skipped",
            ])
        #expect(
            try words(
                "where: {path: /k, exists: false}", [event(#""x":1"#), event(#""k":{"v":1}"#)],
                columns: "id: {path: /id, type: int4}\nv: {path: /k/v, type: int4, optional: true}") == ["upsert", "skipped"])
    }

    @Test func `all conditions must be met, on headers as well`() throws {
        var sample = event(#""kind":"a""#)
        var samples = [sample]
        for (value, other) in [("x", "a"), ("y", "a"), ("x", "b")] {
            sample = event(#""kind":"\#(other)""#)
            sample.headers = [("h", Array("first".utf8)), ("h", Array(value.utf8)), ("null", nil)]
            samples.append(sample)
        }
        var tombstone = Sample(nil, key: "1")
        samples.append(tombstone)
        tombstone.headers = [("h", Array("x".utf8))]
        samples.append(tombstone)
        let conditions = "where: [{path: /kind, equals: a}, {header: h, in: [x, z]}, {header: null, exists: false}]"
        #expect(try words(conditions, samples) == ["skipped", "upsert", "skipped", "skipped", "skipped", "skipped"])
    }

    @Test func `what is skipped is not checked`() throws {
        let columns = "id: {path: /k/id, type: int4}\nv: {path: /v/x, type: int4}"
        let samples = [
            Sample(#"{"kind":"b"}"#), Sample(#"{"kind":"b","a":5,"k":"text","v":[]}"#), Sample(#"{"kind":"a"}"#),
            Sample(#"{"kind":"a","a":"s","k":{"id":"1"}}"#), Sample(#"{"kind":"b""#), Sample("[]"),
        ]
        #expect(
            try words("where: [{path: /kind, equals: a}]", samples, columns: columns)
                == ["skipped", "skipped", "missing_field", "wrong_type", "malformed_json", "not_an_object"])
    }

    @Test func `what a header tells apart may be in no envelope`() throws {
        let other = Sample(#"{"what":"a record of another kind"}"#)
        var own = Sample(#"{"what":"no change event, as it says"}"#)
        own.headers = [("kind", Array("row".utf8))]
        for envelope in ["debezium", "cloudevents"] {
            let mapping = try compile(
                "topics: [t]\ntable: t\nkey: [id]\nenvelope: \(envelope)\nwhere: [{header: kind, equals: row}]\n"
                    + "columns: {id: {path: /id, type: int4}}")
            let changes = Decoder(mapping: mapping).decode(batch([other, own]))
            #expect(changes.changes.isEmpty && changes.faults.map(\.record) == [1], "\(envelope)")
        }
    }

    @Test func `a Delete that lacks the field is none to skip`() throws {
        let condition = "where: {path: /d/kind, equals: a}"
        let found = try words(
            condition,
            [
                event(#""d":{"kind":"a"}"#, "d"), event(#""d":{"kind":"b"}"#, "d"), event(#""d":null"#, "d"),
                event(#""d":null"#, "u"), Sample(nil, key: "1"), Sample(#"{"id":1}"#),
            ])
        #expect(found == ["delete", "skipped", "delete", "skipped", "skipped", "skipped"])
        let debezium = Decoder(
            mapping: try compile(
                "topics: [t]\ntable: t\nkey: [id]\nenvelope: debezium\nwhere: [{path: /kind, equals: a}, "
                    + "{event_path: /source/table, equals: t}]\ncolumns: {id: {path: /id, type: int4}}"))
        func change(_ op: String, _ row: String, table: String = "t") -> Sample {
            let (before, after) = op == "d" ? (row, "null") : ("null", row)
            return Sample(#"{"before":\#(before),"after":\#(after),"source":{"table":"\#(table)"},"op":"\#(op)"}"#)
        }
        let changes = debezium.decode(
            batch([
                change("c", #"{"id":1,"kind":"a"}"#), change("c", #"{"id":1,"kind":"b"}"#), change("d", #"{"id":1,"kind":null}"#),
                change("d", #"{"id":1,"kind":"b"}"#), change("c", #"{"id":1,"kind":"a"}"#, table: "u"),
                change("c", #"{"id":1,"kind":null}"#),
            ]))
        #expect(changes.changes.map(\.record) == [0, 2] && changes.faults.isEmpty)
        #expect(changes.changes.map(\.operation) == [.upsert, .delete])
    }

    @Test func `a null payload meets no condition on a field`() throws {
        var tombstones = [Sample(nil, key: "1"), Sample(nil, key: "1"), Sample(nil)]
        tombstones[1].headers = [("h", Array("x".utf8))]
        #expect(try words("where: {header: h, equals: x}", tombstones) == ["skipped", "delete", "skipped"])
        for test in ["equals: a", "exists: true", "exists: false"] {
            let condition = "where: [{path: /kind, \(test)}, {header: h, equals: x}]"
            #expect(try words(condition, tombstones) == ["skipped", "skipped", "skipped"], "\(test)")
        }
        // Nor need its key be one of this mapping.
        #expect(try words("where: {path: /kind, equals: a}", [Sample(nil, key: "x"), Sample(nil)]) == ["skipped", "skipped"])
        #expect(try words("kafka_key: none\nwhere: {path: /kind, equals: a}", [Sample(nil, key: "1")]) == ["skipped"])
        for envelope in ["upsert", "debezium", "cloudevents"] {
            let decoder = Decoder(
                mapping: try compile(
                    "topics: [t]\ntable: t\nkey: [id]\nkafka_key: text\nenvelope: \(envelope)\n"
                        + "where: {path: /kind, equals: a}\ncolumns: {id: {path: /id, type: int4}}"))
            let changes = decoder.decode(batch([Sample(nil, key: "1")]))
            #expect(changes.changes.isEmpty && changes.faults.isEmpty, "\(envelope)")
        }
    }

    @Test func `what meets the conditions has the faults that it has without them`() throws {
        let columns = "id: {path: /id, type: int4}\nv: {path: /k/v, type: int4, optional: true}"
        let samples = [event(#""k":5"#), event(#""k":5"#, "d"), event(#""k":null"#), event(#""k":{"v":6}"#), event(#""x":1"#)]
        let plain = try words("", samples, columns: columns)
        #expect(plain == ["wrong_type", "delete", "upsert", "upsert", "upsert"])
        #expect(try words("where: {path: /k/kind, exists: false}", samples, columns: columns) == plain)
        // Nothing but the condition reads fields of it.
        #expect(
            try words("where: {path: /k/kind, exists: false}", samples)
                == ["upsert", "delete", "upsert", "upsert", "upsert"])
        let inKey = "id: {path: /k/id, type: int4}"
        let keyed = [Sample(#"{"a":"d","k":5}"#), Sample(#"{"a":"s","k":[]}"#), Sample(#"{"a":"s","k":{"id":1}}"#)]
        #expect(
            try words("where: {path: /k/kind, exists: false}", keyed, columns: inKey) == ["wrong_type", "wrong_type", "upsert"])
    }

    @Test func `the ingress takes what is skipped, with its key where it has one`() throws {
        let decoder = Decoder(
            mapping: try mapping(
                columns: "id: {path: /k/id, type: int4}", more: "where: [{path: /kind, equals: a}, {header: h, equals: b}]"))
        for (json, key) in [
            (#"{"kind":"a","a":"s","k":{"id":1}}"#, "1"), (#"{"kind":"b","k":{"id":12}}"#, "12"),
            (#"{"kind":"b","k":{"id":"12"}}"#, nil), (#"{"kind":"b","k":5}"#, nil), (#"{"kind":"b"}"#, nil),
            (#"{"k":{"id":3}}"#, "3"),
        ] {
            let (fault, found) = validate(decoder, Array(json.utf8))
            #expect(fault == nil, "\(json)")
            #expect(decoder.hasKey == (key != nil), "\(json)")
            #expect(String(decoding: found, as: UTF8.self) == key ?? "", "\(json)")
        }
        #expect(validate(decoder, Array(#"{"kind":"a","a":"s","k":{}}"#.utf8)).fault?.reason == "missing_field")
    }

    @Test func `every fault of a condition has its line`() {
        let found = faults(
            """
            topics: [t]
            table: t
            key: [id]
            envelope: upsert
            columns: {id: {path: /id, type: int4}}
            where:
              - {pat: /kind, equals: a}
              - {path: /kind, header: h, equals: a}
              - {path: /kind}
              - {path: kind, equals: a}
              - {path: /kind, exists: yes}
              - {path: /kind, in: []}
              - {path: /kind, equals: [a]}
              - text
            """)
        let needs = "a condition of where needs one of path, event_path, header and one of equals, in, exists"
        #expect(
            found == [
                "7: unknown key 'pat' in a condition of where; did you mean 'path'?", "8: \(needs)", "9: \(needs)",
                "10: path 'kind' is not a JSON Pointer: write '/' before each name, and in names '~1' for '/' and '~0' for '~'; did "
                    + "you mean '/kind'?",
                "11: where: exists must be true or false", "12: where: in must not be empty",
                "13: where: equals must be a single value", "14: a condition of where must be a mapping of names to values",
            ], "\(found.joined(separator: "\n"))")
    }
}

@Suite struct ModeTests {
    private static let events = ["c", "u", "s", "d"].map { Sample(#"{"a":"\#($0)","id":1}"#) } + [Sample(nil, key: "1")]

    @Test func `append makes a row of every event but a Delete`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: int4}", key: "[id]", more: "mode: append\nkafka_key: none")
        #expect(mapping.table.mode == .append && mapping.kafkaKey == .none)
        let changes = Decoder(mapping: mapping).decode(batch(Self.events))
        #expect(changes.faults.isEmpty)
        #expect(changes.changes.map(\.record) == [0, 1, 2])
    }

    @Test func `append needs no key, not even of the ingress`() throws {
        let mapping = try compile(
            "topics: [t]\ntable: t\nmode: append\nenvelope: upsert\ncolumns: {page: {path: /page, type: text}, at: {metadata: timestamp}}"
        )
        let decoder = Decoder(mapping: mapping)
        #expect(validate(decoder, Array(#"{"page":"/"}"#.utf8)).fault == nil)
        #expect(!decoder.hasKey)
        #expect(
            faults(
                "topics: [t]\ntable: t\nmode: append\nenvelope: upsert\nkafka_key: text\non_update: {x: now}\n"
                    + "columns: {page: {path: /page, type: text}}") == [
                    "5: kafka_key: text needs 'key'", "6: on_update needs mode upsert; mode append changes no row",
                ])
    }

    @Test func `insert_only inserts, and changes nothing`() throws {
        let mapping = try mapping(columns: "id: {path: /id, type: int4}", more: "mode: insert_only")
        #expect(mapping.table.mode == .insertOnly)
        let changes = Decoder(mapping: mapping).decode(batch(Self.events))
        #expect(changes.faults.isEmpty)
        #expect(changes.changes.map(\.record) == [0, 2])
        #expect(changes.changes.allSatisfy { $0.operation == .create })
    }
}
