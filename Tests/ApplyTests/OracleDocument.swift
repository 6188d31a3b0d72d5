// The oracle's mappings as texts, and their events as records of a topic: each in an envelope, decoded as a worker decodes it.

import Decode
import Records
import Settings
import TestSupport
import Testing

@testable import Apply

/// A mapping in one of the envelopes.
struct OracleDocument: Sendable {
    enum Form: CaseIterable { case action, upsert, debezium, cloudevents }

    let form: Form
    private let keysAreObjects: Bool
    /// Which columns the mapping's text says are optional.
    private let mayBeLeftOut: [Bool]
    private let mapping: Mapping

    /// As the mapping has it: of Debezium's events a text may lack its value, the placeholder.
    var shape: TableShape { mapping.table }

    /// A mapping's text that says what a shape says.
    init(_ shape: TableShape, _ random: inout SeededRandom) throws {
        form = Form.allCases[Int(random.next() % 4)]
        keysAreObjects = random.chance(0.5)
        mayBeLeftOut = shape.columns.map(\.isOptional)
        let sources = shape.columns.enumerated().map { index, column in
            var keys = ["path: \(Self.path(index, column))", "type: \(column.type.rawValue)"]
            if column.isOptional { keys.append("optional: true") }
            if column.isNullable { keys.append("nullable: true") }
            if column.policy.occasion != .always { keys.append("on: \(column.policy.occasion == .insert ? "insert" : "update")") }
            if column.policy.keepsIfNull { keys.append("if_null: keep") }
            return "  \(column.name): {\(keys.joined(separator: ", "))}"
        }
        var lines = [
            "topics: [a, b]", "table: \(shape.name)",
            "mode: \(shape.mode == .insertOnly ? "insert_only" : shape.mode.rawValue)",
            "write: \(shape.write.strategy.rawValue)", "triggers: \(shape.write.triggers.rawValue)",
            "where: [{header: use, equals: y}]",
            "skip_unchanged: \(shape.skipsUnchanged)",
        ]
        if !shape.key.isEmpty {
            lines.append("key: [\(shape.key.map { shape.columns[$0].name }.joined(separator: ", "))]")
            lines += ["kafka_key: \(keysAreObjects ? "json_object" : "json_array")", "kafka_key_mismatch: fault"]
        }
        let envelope =
            switch form {
            case .action: "action: {path: /a, create: c, update: u, upsert: s, delete: d}"
            case .upsert: "envelope: upsert"
            case .debezium: "envelope: debezium"
            case .cloudevents: "envelope: cloudevents"
            }
        lines.append(envelope)
        if !shape.onUpdate.isEmpty { lines.append("on_update: {\(shape.onUpdate[0].column): current_date}") }
        if !shape.deletion.isEmpty { lines.append("delete: {set: {\(shape.deletion[0].column): current_date}}") }
        if let version = shape.version {
            lines.append(
                "version: {column: \(shape.columns[version.column].name), equal: \(version.keepsFirst ? "first" : "last"), "
                    + "null_payload: headers.v}")
        }
        lines += ["columns:"] + sources
        let text = lines.joined(separator: "\n")
        mapping = try #require(try Mapping.compile([YAML.parse(text: text, file: "test.yaml")]).first)
        let columns = shape.columns.enumerated().map { index, column in
            let isOptional =
                column.isOptional || (form == .debezium && Self.isLong(column) && !shape.key.contains(index))
            return ColumnShape(
                name: column.name, type: column.type, isOptional: isOptional, isNullable: column.isNullable, policy: column.policy
            )
        }
        #expect(mapping.table == shape.with(columns), "\(text)")
    }

    /// Whether the source may leave a value out that did not change.
    private static func isLong(_ column: ColumnShape) -> Bool { column.type == .text || column.type == .numeric }

    /// Every third column is in an object of the row.
    private static func path(_ index: Int, _ column: ColumnShape) -> String {
        index % 3 == 2 ? "/more/\(column.name)" : "/\(column.name)"
    }

    /// What an operation is in the envelope: only `action` tells an insert from an update.
    func stated(_ operation: Operation) -> Operation {
        form == .action || operation == .delete || shape.mode == .insertOnly ? operation : .upsert
    }

    /// The records of a batch, decoded.
    func batch(_ source: TopicPartition, from start: Int64, _ records: [TestRecord], _ random: inout SeededRandom) -> ChangeBatch
    {
        let batch = RecordBatch(source: source, generation: 1)
        for (index, record) in records.enumerated() {
            var headers = ByteBuffer(capacity: 64)
            var (key, value): (String?, String?) = (nil, nil)
            var isUsed = true
            switch record {
            case .nothing:
                isUsed = false
                value = "{}"
            case .fault: value = document(.create, row: "{}")
            case .event(let operation, let values):
                key = shape.key.isEmpty ? nil : self.key(values)
                let isTombstone = operation == .delete && (form == .upsert || form == .cloudevents || random.chance(0.5))
                if !isTombstone { value = document(operation, row: row(values, &random)) }
                if let version = shape.version, isTombstone { Self.append("v", values[version.column].literal, &headers) }
            }
            if isUsed { Self.append("use", "y", &headers) }
            let keyBytes = Self.bytes(key)
            let valueBytes = Self.bytes(value)
            batch.append(
                offset: start + Int64(index) * 2, timestamp: 1_700_000_000_000, key: key == nil ? nil : keyBytes.bytes,
                value: value == nil ? nil : valueBytes.bytes, headers: headers.bytes)
        }
        return Decoder(mapping: mapping).decode(batch)
    }

    private static func bytes(_ text: String?) -> ByteBuffer {
        var buffer = ByteBuffer(capacity: 64)
        Array((text ?? "").utf8).withUnsafeBytes { buffer.append($0) }
        return buffer
    }

    private static func append(_ name: String, _ value: String, _ headers: inout ByteBuffer) {
        Array(name.utf8).withUnsafeBytes { name in
            Array(value.utf8).withUnsafeBytes { RecordHeaders.append(name: name, value: $0, to: &headers) }
        }
    }

    private func key(_ values: [TestValue]) -> String {
        let members = shape.key.map { (shape.columns[$0].name, Self.json(values[$0])) }
        return keysAreObjects
            ? "{\(members.map { #""\#($0)":\#($1)"# }.joined(separator: ","))}"
            : "[\(members.map(\.1).joined(separator: ","))]"
    }

    private static func json(_ value: TestValue) -> String {
        switch value {
        case .absent, .null: "null"
        case .text(let text): #""\#(text)""#
        case .int, .value: value.literal
        }
    }

    private func row(_ values: [TestValue], _ random: inout SeededRandom) -> String {
        var (fields, more): ([String], [String]) = ([], [])
        for (index, value) in values.enumerated() {
            let column = shape.columns[index]
            var text = Self.json(value)
            if value == .absent {
                // What did not change and was not read by the source.
                guard form == .debezium, Self.isLong(column), !mayBeLeftOut[index] || random.chance(0.5) else { continue }
                text = #""__debezium_unavailable_value""#
            }
            let field = #""\#(column.name)":\#(text)"#
            if index % 3 == 2 { more.append(field) } else { fields.append(field) }
        }
        if !more.isEmpty || random.chance(0.5) { fields.append("\"more\":{\(more.joined(separator: ","))}") }
        return "{\(fields.shuffled(using: &random).joined(separator: ","))}"
    }

    private func document(_ operation: Operation, row: String) -> String {
        switch form {
        case .action:
            #"{"a":"\#(["c", "u", "s", "d"][Int(operation.rawValue)])"\#(row == "{}" ? "}" : "," + row.dropFirst())"#
        case .upsert: row
        case .debezium:
            operation == .delete
                ? #"{"before":\#(row),"after":null,"op":"d","ts_ms":1}"# : #"{"before":null,"after":\#(row),"op":"c","ts_ms":1}"#
        case .cloudevents: #"{"specversion":"1.0","id":"1","source":"/","type":"x","data":\#(row)}"#
        }
    }
}
