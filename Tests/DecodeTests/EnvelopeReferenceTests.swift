// Writes random events in every envelope, and compares what they decode to with what they were made from.

import Decode
import Foundation
import Records
import TestSupport
import Testing

@Suite struct EnvelopeReferenceTests {
    /// An event before it has an envelope.
    private struct Event {
        var operation: Records.Operation
        var id: Int32
        var tag: String
        /// The fields of the row besides the key, as JSON; `nil`: absent.
        var name: String?
        var note: String?
    }

    private enum Form: CaseIterable { case action, upsert, debezium, debeziumWithSchema, cloudevents, cloudeventsWithAction }

    @Test func `an event means the same in every envelope, mode and form of key`() throws {
        let seed = testSeed("envelopes")
        var random = SeededRandom(seed: seed)
        for round in 0..<150 {
            let form = Form.allCases[Int(random.next() % 6)]
            let mode = ["upsert", "append", "insert_only"][Int(random.next() % 3)]
            let key = ["json_array", "json_object"][Int(random.next() % 2)]
            let hasCondition = random.chance(0.4)
            let mapping = try compile(Self.mapping(form, mode, key, hasCondition))
            let decoder = Decoder(mapping: mapping)
            var samples: [Sample] = []
            var expected: [Row?] = []
            for _ in 0..<40 {
                let event = Self.event(&random)
                let isTombstone = event.operation == .delete && (form == .upsert || form == .cloudevents || random.chance(0.3))
                samples.append(Sample(isTombstone ? nil : Self.json(event, form, &random), key: Self.key(event, key, &random)))
                // A null payload meets no condition on fields.
                expected.append(isTombstone && hasCondition ? nil : Self.row(event, form, mode, hasCondition))
            }
            let changes = decoder.decode(batch(samples))
            #expect(changes.faults.isEmpty && changes.keyMismatches == 0, "seed \(seed), round \(round): \(changes.faults)")
            let rows = Dictionary(
                uniqueKeysWithValues: changes.changes.indices.map { (Int(changes.changes[$0].record), changes.row($0)) })
            for index in samples.indices {
                let text = samples[index].value.map { String(decoding: $0, as: UTF8.self) } ?? "tombstone"
                #expect(rows[index] == expected[index], "seed \(seed), round \(round), \(form) \(mode) \(hasCondition): \(text)")
            }
        }
    }

    private static func mapping(_ form: Form, _ mode: String, _ key: String, _ hasCondition: Bool) -> String {
        let envelope =
            switch form {
            case .action: "envelope: action\naction: {path: /a, create: c, update: u, upsert: s, delete: d}"
            case .upsert: "envelope: upsert"
            case .debezium, .debeziumWithSchema: "envelope: debezium"
            case .cloudevents: "envelope: cloudevents"
            case .cloudeventsWithAction:
                "envelope: cloudevents\naction: {event_path: /type, create: c, update: u, upsert: s, delete: d}"
            }
        return """
            topics: [t]
            table: t
            key: [tag, id]
            mode: \(mode)
            kafka_key: \(key)
            kafka_key_mismatch: fault
            \(envelope)
            columns:
              name: {path: /data/name, type: text, optional: true, nullable: true}
              id: {path: /id, type: int4}
              note: {path: /note, type: text, optional: true}
              tag: {path: /tag, type: text}
            \(hasCondition ? "where: [{path: /tag, in: [t0, t1, t2]}, {path: /data/name, exists: true}]" : "")
            """
    }

    private static func event(_ random: inout SeededRandom) -> Event {
        Event(
            operation: Records.Operation.allCases[Int(random.next() % 4)], id: Int32(truncatingIfNeeded: random.next()) % 1000,
            tag: "t\(random.next() % 4)",
            name: random.chance(0.2) ? nil : random.chance(0.2) ? "null" : "\"n\(random.next() % 9)\"",
            note: random.chance(0.3) ? nil : "\"é \(random.next() % 9)\"")
    }

    private static func json(_ event: Event, _ form: Form, _ random: inout SeededRandom) -> String {
        var fields = ["\"id\":\(event.id)", "\"tag\":\"\(event.tag)\""]
        if let name = event.name { fields.append("\"data\":{\"name\":\(name)}") }
        if let note = event.note {
            fields.append("\"note\":\(note)")
        } else if form == .debezium || form == .debeziumWithSchema, random.chance(0.5) {
            fields.append("\"note\":\"__debezium_unavailable_value\"")
        }
        let word = ["c", "u", "s", "d"][Int(event.operation.rawValue)]
        if form == .action { fields.append("\"a\":\"\(word)\"") }
        fields.shuffle(using: &random)
        let row = "{\(fields.joined(separator: ","))}"
        switch form {
        case .action, .upsert: return row
        case .debezium, .debeziumWithSchema:
            let (before, after) = event.operation == .delete ? (row, "null") : (random.chance(0.5) ? "null" : #"{"id":0}"#, row)
            let op = event.operation == .delete ? "d" : ["c", "r", "u"][Int(random.next() % 3)]
            let payload = #"{"before":\#(before),"after":\#(after),"source":{"table":"x"},"op":"\#(op)","ts_ms":1}"#
            return form == .debezium ? payload : #"{"schema":{"type":"struct","payload":null},"payload":\#(payload)}"#
        case .cloudevents, .cloudeventsWithAction:
            return #"{"specversion":"1.0","id":"1","source":"/","type":"\#(word)","data":\#(row)}"#
        }
    }

    private static func key(_ event: Event, _ format: String, _ random: inout SeededRandom) -> String {
        if format == "json_array" {
            return random.chance(0.5) ? #"["\#(event.tag)",\#(event.id)]"# : #"[ "\#(event.tag)", \#(event.id) ]"#
        }
        let object = #"{"tag":"\#(event.tag)","id":\#(event.id)}"#
        return random.chance(0.5) ? object : #"{"schema":{"type":"struct"},"payload":\#(object)}"#
    }

    /// What the mapping promises of an event; `nil`: it is skipped.
    private static func row(_ event: Event, _ form: Form, _ mode: String, _ hasCondition: Bool) -> Row? {
        let isStated = form == .action || form == .cloudeventsWithAction
        let operation = event.operation == .delete || isStated ? event.operation : .upsert
        let isDelete = operation == .delete
        if hasCondition {
            if event.tag == "t3" { return nil }
            // A Delete may lack fields.
            if !isDelete, event.name == nil || event.name == "null" { return nil }
        }
        let effect: Records.Operation
        switch (mode, operation) {
        case ("append", .delete), ("insert_only", .delete), ("insert_only", .update): return nil
        case ("insert_only", _): effect = .create
        default: effect = operation
        }
        func cell(_ json: String?) -> Cell {
            guard let json, !isDelete else { return .absent }
            return json == "null" ? .null : .text(String(json.dropFirst().dropLast()))
        }
        return Row(operation: effect, cells: [cell(event.name), .int4(event.id), cell(event.note), .text(event.tag)])
    }
}
