// Owns a decoded record batch: for each record an operation and column values in PostgreSQL's binary form.

/// What an event does to its row: Create inserts it if absent, Update changes it if present, Upsert does one or the other, Delete
/// removes it if present.
public enum Operation: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case create, update, upsert, delete
}

/// One decoded event of a ``ChangeBatch``.
public struct Change: Sendable, BitwiseCopyable {
    /// Position of the event's record in the batch's ``RecordBatch/records``.
    public let record: Int32
    /// The event's operation.
    public let operation: Operation
    /// The first bytes of the key in a form that sorts as an unsigned integer; see ``KeyPrefix``.
    public let keyPrefix: UInt64

    /// One decoded event.
    @inlinable @inline(__always)
    public init(record: Int32, operation: Operation, keyPrefix: UInt64) {
        self.record = record
        self.operation = operation
        self.keyPrefix = keyPrefix
    }
}

/// A record that could not be decoded, and why.
public struct DecodeFault: Sendable, Equatable {
    /// Position of the record in the batch's ``RecordBatch/records``.
    public let record: Int32
    /// A short stable code, also for metrics: `malformed_json`, `missing_field`, `wrong_type`, …
    public let reason: String
    /// One sentence that names the field. It never contains the payload.
    public let detail: String

    /// A record that could not be decoded, and why.
    public init(record: Int32, reason: String, detail: String) {
        self.record = record
        self.reason = reason
        self.detail = detail
    }
}

/// The decoded form of one ``RecordBatch``: changes in log order, their cells, and the records that could not be decoded.
///
/// A record that is neither a change nor a fault is skipped: the mapping takes no event from it.
///
/// Cells are stored row by row in the column order of the mapping's ``TableShape``. Each is a slice of the batch's value buffer
/// in PostgreSQL's binary format (int4: 4 bytes big-endian; text: UTF-8; date: days since 2000-01-01 as int4).
public final class ChangeBatch: @unchecked Sendable {
    // Licence for @unchecked, and for the unchecked exclusivity: filled by one decoder call and then read-only. The check would
    // cost a third of reading a cell.

    /// The records of the changes. Kept for their coordinates, and for the bytes of dead letters.
    public let records: RecordBatch
    /// Number of cells of a change.
    public let columnCount: Int
    @exclusivity(unchecked) @usableFromInline var rows: ChangeRows

    /// Of a routed topic: the changes and faults of each of the route's mappings, over the same records; `nil` where a mapping has decoded
    /// none of them. The batch itself then has no changes, and the faults of records that no mapping decodes. Otherwise empty.
    public let parts: [ChangeBatch?]

    /// A batch of rows that were filled before.
    public init(records: RecordBatch, rows: consuming ChangeRows) {
        self.records = records
        parts = []
        columnCount = rows.columnCount
        self.rows = rows
    }

    /// A batch of a routed topic.
    /// - Parameters:
    ///   - parts: see ``parts``.
    ///   - faults: of the records that no mapping decodes, in log order.
    public init(records: RecordBatch, parts: [ChangeBatch?], faults: [DecodeFault]) {
        self.records = records
        self.parts = parts
        columnCount = 0
        rows = ChangeRows(columnCount: 0)
        for fault in faults { rows.append(fault) }
        for part in parts.compactMap(\.self) {
            rows.keyMismatches += part.keyMismatches
            if let stop = part.stop, stop.record < rows.stop?.record ?? .max { rows.stop(before: stop.record, stop.reason) }
        }
    }

    /// Decoded events in log order.
    public var changes: ContiguousArray<Change> { rows.changes }
    /// Records that could not be decoded, in log order.
    public var faults: [DecodeFault] { rows.faults }

    /// The record before which the partition must stop, and why: it and those that follow are not decoded.
    public var stop: (record: Int, reason: StopReason)? { rows.stop }
    /// Decoded events whose record key names another row than their payload.
    public var keyMismatches: Int { rows.keyMismatches }

    /// The cell of a change in a column.
    @inlinable @inline(__always)
    public func cell(change: Int, column: Int) -> Slice { rows.cell(change: change, column: column) }

    /// The binary form of a cell; `nil` where it is null or absent.
    @inlinable @inline(__always)
    public func value(_ cell: Slice) -> UnsafeRawBufferPointer? { rows.values.bytes(of: cell) }
}

/// The order-preserving prefix of a key, by which batches are sorted before longer keys are compared byte by byte.
public enum KeyPrefix {
    /// Of an integer key: exact, so equal prefixes mean equal keys.
    @inlinable @inline(__always)
    public static func of<T: FixedWidthInteger & SignedInteger>(_ value: T) -> UInt64 {
        UInt64(bitPattern: Int64(value)) ^ (1 << 63)
    }

    /// Of any other key: its first eight bytes. With equal prefixes the keys must be compared.
    @inlinable @inline(__always)
    public static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        if bytes.count >= 8 { return UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)) }
        var prefix: UInt64 = 0
        for (index, byte) in bytes.enumerated() { prefix |= UInt64(byte) << UInt64(56 - 8 * index) }
        return prefix
    }
}
