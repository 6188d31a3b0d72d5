// Owns what the decoder's tests share: mappings, batches, and cells as comparable values.

import Decode
import Foundation
import Records
import Settings
import Testing

/// The default mapping's text, without its comments.
let messagesText = """
    topics: [messages]
    envelope: action
    table: messages
    mode: upsert
    key: [message_id]
    kafka_key: text
    action: {path: /action, create: [Create], update: [Update], upsert: [Upsert], delete: [Delete]}
    columns:
      message_id: {path: /message_id, type: int4}
      name: {path: /data/name, type: text}
      message: {path: /data/message, type: text}
    on_update:
      last_updated: current_date
    """

/// A mapping whose `columns` are given; key `id`, action at `/a` with the words c, u, s, d.
func mapping(columns: String, key: String = "[id]", more: String = "") throws -> Mapping {
    let indented = columns.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    let text = """
        topics: [t]
        table: t
        key: \(key)
        action: {path: /a, create: [c], update: [u], upsert: [s], delete: [d]}
        \(more.isEmpty ? "envelope: action" : more)
        columns:
        \(indented)
        """
    return try compile(text)
}

func compile(_ text: String) throws -> Mapping {
    try #require(try Mapping.compile([YAML.parse(text: text, file: "test.yaml")]).first)
}

/// The faults of a mapping text, as `line: message`.
func faults(_ texts: String...) -> [String] {
    var nodes: [YAMLNode] = []
    for (index, text) in texts.enumerated() {
        do throws(SettingsFaults) {
            nodes.append(try YAML.parse(text: text, file: "\(index).yaml"))
        } catch {
            Issue.record("no YAML: \(error)")
        }
    }
    do throws(MappingFaults) {
        _ = try Mapping.compile(nodes)
        return []
    } catch {
        return error.faults.map { "\($0.line): \($0.message)" }
    }
}

/// One record of a test.
struct Sample {
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [(String, [UInt8]?)] = []
    var timestamp: Int64 = -1

    init(_ value: String?, key: String? = nil) {
        self.value = value.map { Array($0.utf8) }
        self.key = key.map { Array($0.utf8) }
    }

    init(bytes: [UInt8]) { value = bytes }
}

func batch(_ samples: [Sample], topic: String = "t", partition: Int32 = 3) -> RecordBatch {
    let batch = RecordBatch(source: TopicPartition(topic, partition), generation: 1)
    for (index, sample) in samples.enumerated() {
        var headers = ByteBuffer()
        for (name, value) in sample.headers {
            var name = name
            name.withUTF8 { name in
                if let value {
                    value.withUnsafeBytes { RecordHeaders.append(name: UnsafeRawBufferPointer(name), value: $0, to: &headers) }
                } else {
                    RecordHeaders.append(name: UnsafeRawBufferPointer(name), value: nil, to: &headers)
                }
            }
        }
        // An empty array has an address here, so that an empty value is not null.
        withBytes(sample.key) { key in
            withBytes(sample.value) { value in
                batch.append(
                    offset: 100 + Int64(index), timestamp: sample.timestamp, key: key, value: value,
                    headers: sample.headers.isEmpty ? nil : headers.bytes)
            }
        }
    }
    return batch
}

private func withBytes(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> Void) {
    guard let bytes else { return body(nil) }
    bytes.withUnsafeBytes { body($0) }
}

/// A cell as a value.
enum Cell: Equatable, CustomStringConvertible {
    case absent, null
    case bytes([UInt8])

    static func int2(_ value: Int16) -> Cell { big(value) }
    static func int4(_ value: Int32) -> Cell { big(value) }
    static func int8(_ value: Int64) -> Cell { big(value) }
    static func text(_ value: String) -> Cell { .bytes(Array(value.utf8)) }

    private static func big<T: FixedWidthInteger>(_ value: T) -> Cell {
        withUnsafeBytes(of: value.bigEndian) { .bytes(Array($0)) }
    }

    var description: String {
        switch self {
        case .absent: "absent"
        case .null: "null"
        case .bytes(let bytes): "\(bytes) '\(String(decoding: bytes, as: UTF8.self))'"
        }
    }
}

/// One decoded event as a value.
struct Row: Equatable {
    var operation: Records.Operation
    var cells: [Cell]
}

/// The result for a record.
enum Outcome: Equatable {
    case row(Row)
    case fault(String)
}

extension ChangeBatch {
    func row(_ change: Int) -> Row {
        Row(
            operation: changes[change].operation,
            cells: (0..<columnCount).map { column in
                let cell = cell(change: change, column: column)
                if cell.isAbsent { return .absent }
                return value(cell).map { .bytes(Array($0)) } ?? .null
            })
    }

    /// The result for each record, in the batch's order.
    var outcomes: [Outcome] {
        var outcomes: [Int32: Outcome] = [:]
        for index in changes.indices { outcomes[changes[index].record] = .row(row(index)) }
        for fault in faults { outcomes[fault.record] = .fault(fault.reason) }
        return (0..<Int32(records.count)).compactMap { outcomes[$0] }
    }
}

extension Decoder {
    /// Decodes records and returns the result for each.
    func outcomes(_ samples: [Sample]) -> [Outcome] { decode(batch(samples)).outcomes }

    /// Decodes one event that must be valid.
    func row(_ json: String) throws -> Row {
        let changes = decode(batch([Sample(json)]))
        if let fault = changes.faults.first { Issue.record("\(json): \(fault.reason): \(fault.detail)") }
        _ = try #require(changes.changes.first)
        return changes.row(0)
    }

    /// Decodes one record that must be a fault, between two valid ones that must not be affected. Returns `reason: detail`.
    func fault(_ sample: Sample, good: Sample) throws -> String {
        let changes = decode(batch([good, sample, good]))
        try #require(changes.faults.count == 1, "\(changes.outcomes)")
        #expect(changes.changes.map(\.record) == [0, 2])
        #expect(changes.row(0) == changes.row(1))
        #expect(changes.faults[0].record == 1)
        return "\(changes.faults[0].reason): \(changes.faults[0].detail)"
    }
}

/// Runs the ingress check on one event: its fault, and the Kafka key.
func validate(_ decoder: any EventValidator, _ json: [UInt8]) -> (fault: DecodeFault?, key: [UInt8]) {
    var event = ByteBuffer(capacity: json.count)
    json.withUnsafeBytes { event.append($0) }
    var key = ByteBuffer()
    let fault = decoder.validate(event.bytes, key: &key)
    return (fault, Array(key.bytes))
}
