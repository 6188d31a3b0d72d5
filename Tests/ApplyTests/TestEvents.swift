// Events as the tests write them down, and their way into change batches.

import Records
import SluiceTables

@testable import Apply

/// A column's value in an event.
enum TestValue: Equatable {
    case absent, null, int(Int32), text(String)
    /// A value in its type's binary form, and as SQL writes it.
    case value(literal: String, bytes: [UInt8])

    /// As SQL writes it.
    var literal: String {
        switch self {
        case .absent, .null: "NULL"
        case .int(let value): "\(value)"
        case .value(let literal, _): literal
        case .text(let value): "'" + value.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
        }
    }
}

extension TableShape {
    /// The same table with other columns.
    func with(_ columns: [ColumnShape]) -> TableShape {
        TableShape(
            schema: schema, name: name, columns: columns, key: key, mode: mode, onUpdate: onUpdate, write: write,
            deletion: deletion,
            skipsUnchanged: skipsUnchanged, version: version)
    }

    /// The same table, written as a mapping asks.
    func written(_ strategy: WriteChoice.Strategy, triggers: WriteChoice.Triggers = .unknown) -> TableShape {
        TableShape(
            schema: schema, name: name, columns: columns, key: key, mode: mode, onUpdate: onUpdate,
            write: WriteChoice(strategy, triggers: triggers), deletion: deletion, skipsUnchanged: skipsUnchanged,
            version: version)
    }
}

/// A record of a partition's log.
enum TestRecord {
    case event(Operation, [TestValue])
    case fault(String)
    /// Neither a change nor a fault: nothing is to be done.
    case nothing
}

extension TestRecord {
    var isFault: Bool { if case .fault = self { true } else { false } }
}

/// A batch with these records, from offset `start` on with every second offset missing, as compaction leaves a log.
func changeBatch(_ source: TopicPartition, from start: Int64, _ records: [TestRecord], shape: TableShape) -> ChangeBatch {
    changeBatch(recordBatch(source, from: start, records.count), records, shape: shape)
}

/// A batch of a routed topic: each record with the part it belongs to, or a fault of the route where that is `nil`.
func routedBatch(
    _ source: TopicPartition, from start: Int64, _ records: [(part: Int?, record: TestRecord)], shapes: [TableShape]
) -> ChangeBatch {
    let batch = recordBatch(source, from: start, records.count)
    let parts = shapes.enumerated().map { part, shape -> ChangeBatch? in
        guard records.contains(where: { $0.part == part }) else { return nil }
        return changeBatch(batch, records.map { $0.part == part ? $0.record : .nothing }, shape: shape)
    }
    let faults = records.enumerated().filter { $0.element.part == nil }.map {
        DecodeFault(record: Int32($0.offset), reason: "no_route", detail: "no table")
    }
    return ChangeBatch(records: batch, parts: parts, faults: faults)
}

private func recordBatch(_ source: TopicPartition, from start: Int64, _ count: Int) -> RecordBatch {
    let batch = RecordBatch(source: source, generation: 1)
    for index in 0..<count {
        Array("key \(index)".utf8).withUnsafeBytes { key in
            Array("payload \(start + Int64(index) * 2)".utf8).withUnsafeBytes { value in
                batch.append(offset: start + Int64(index) * 2, timestamp: 1_700_000_000_000, key: key, value: value)
            }
        }
    }
    return batch
}

private func changeBatch(_ batch: RecordBatch, _ records: [TestRecord], shape: TableShape) -> ChangeBatch {
    var rows = ChangeRows(columnCount: shape.columns.count)
    for (index, record) in records.enumerated() {
        switch record {
        case .nothing: break
        case .fault(let reason): rows.append(DecodeFault(record: Int32(index), reason: reason, detail: "field x is odd"))
        case .event(let operation, let values):
            for value in values {
                switch value {
                case .absent: rows.append(cell: .absent)
                case .null: rows.append(cell: .null)
                case .int(let value): rows.append(cell: rows.appendValue(bigEndian: value))
                case .text(let text): rows.append(cell: Array(text.utf8).withUnsafeBytes { rows.values.appendSlice($0) })
                case .value(_, let bytes): rows.append(cell: bytes.withUnsafeBytes { rows.values.appendSlice($0) })
                }
            }
            let prefix: UInt64 =
                switch shape.key.first.map({ values[$0] }) {
                case .int(let value): KeyPrefix.of(value)
                case .text(let text): Array(text.utf8).withUnsafeBytes { KeyPrefix.of($0) }
                case .value(_, let bytes) where bytes.count == 8:
                    KeyPrefix.of(bytes.withUnsafeBytes { Int64(bigEndian: $0.loadUnaligned(as: Int64.self)) })
                case .value(_, let bytes): bytes.withUnsafeBytes { KeyPrefix.of($0) }
                case .absent, .null, nil: 0
                }
            rows.append(record: index, operation: operation, keyPrefix: prefix)
        }
    }
    return ChangeBatch(records: batch, rows: rows)
}

/// The table `messages` as the default mapping writes it.
let messagesShape = TableShape(
    name: "messages",
    columns: [
        ColumnShape(name: "message_id", type: .int4), ColumnShape(name: "name", type: .text),
        ColumnShape(name: "message", type: .text),
    ], key: [0], onUpdate: [("last_updated", .currentDate)])

/// An event of ``messagesShape``.
func message(_ operation: Operation, _ id: Int, _ name: String = "n", _ text: String = "m") -> TestRecord {
    .event(operation, [.int(Int32(id)), .text(name), .text(text)])
}

extension TableWriter {
    /// A transaction of whole batches.
    func prepare(_ batches: [ChangeBatch], claims: [PartitionClaim]) throws(ApplyError) -> PreparedTransaction {
        try prepare(batches.map { BatchSlice($0) }, claims: claims)
    }
}
