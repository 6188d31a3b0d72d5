// Owns what was read from one partition in one go: one padded buffer of bytes and an index of the records in it.

/// One record of a ``RecordBatch``: its coordinates and where its parts lie in the batch's buffer.
public struct Record: Sendable, Equatable {
    /// Position in the partition's log.
    public let offset: Int64
    /// Milliseconds since 1970, as the producer or the broker stamped it; −1 where there is none.
    public let timestamp: Int64
    /// The key's bytes, null where the record has no key.
    public let key: Slice
    /// The payload's bytes; null for a tombstone.
    public let value: Slice
    /// The headers in the layout of ``RecordHeaders``; null where the record has none.
    public let headers: Slice

    /// A record whose parts already lie in a batch's buffer.
    public init(offset: Int64, timestamp: Int64, key: Slice, value: Slice, headers: Slice) {
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers
    }
}

/// Records of one partition in log order, copied out of librdkafka's memory once: the unit that travels through the pipeline.
///
/// The reader fills a batch and hands it over; from then on nobody writes to it.
public final class RecordBatch: @unchecked Sendable {
    // Licence for @unchecked: written by the reader's thread only until it is handed over through a lock-protected queue, and
    // read-only from then on. Nothing here enforces it but that `append` has one caller.

    /// Where the records come from.
    public let source: TopicPartition
    /// Stamp of the assignment under which they were read. Work of an older assignment of the same partition is dropped.
    public let assignment: UInt64
    // For the same reason the check of exclusive access, which every use of a class's variable pays for, has nothing to find.

    /// The records, in ascending offset order.
    @exclusivity(unchecked) public private(set) var records: ContiguousArray<Record> = []
    /// Position after the last record: the offset to apply next once this batch is durable.
    @exclusivity(unchecked) public private(set) var nextOffset: Int64 = 0
    /// Earliest timestamp of a record, milliseconds since 1970; −1 where no record carries one.
    @exclusivity(unchecked) public private(set) var earliestTimestamp: Int64 = -1
    @exclusivity(unchecked) private var buffer: ByteBuffer

    /// - Parameters:
    ///   - records: how many records to make room for.
    ///   - bytes: how many bytes to make room for.
    public init(source: TopicPartition, assignment: UInt64, records: Int = 0, bytes: Int = 0) {
        self.source = source
        self.assignment = assignment
        self.records.reserveCapacity(records)
        buffer = ByteBuffer(capacity: bytes)
    }

    /// Number of records.
    public var count: Int { records.count }
    /// Bytes of keys, payloads and headers: what the batch is charged for.
    public var byteCount: Int { buffer.count }

    /// Copies one record in. `nil` stands for null.
    public func append(
        offset: Int64, timestamp: Int64, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
        headers: UnsafeRawBufferPointer? = nil
    ) {
        let keySlice = key.map { buffer.appendSlice($0) } ?? .null
        let valueSlice = value.map { buffer.appendSlice($0) } ?? .null
        let headerSlice = headers.map { buffer.appendSlice($0) } ?? .null
        records.append(
            Record(offset: offset, timestamp: timestamp, key: keySlice, value: valueSlice, headers: headerSlice))
        nextOffset = offset + 1
        if timestamp >= 0, earliestTimestamp < 0 || timestamp < earliestTimestamp { earliestTimestamp = timestamp }
    }

    /// The first byte of the batch's buffer, which every ``Slice`` of its records counts from. Valid as long as the batch lives.
    public var base: UnsafeRawPointer { buffer.base }

    /// The bytes of one part of a record; `nil` where it is null. Valid as long as the batch lives; padded as ``ByteBuffer`` says.
    @inline(__always)
    public func bytes(of slice: Slice) -> UnsafeRawBufferPointer? { buffer.bytes(of: slice) }
}

/// The layout of a record's headers in a batch's buffer: for each header the name's length (UInt32), the name, the value's length
/// (Int32, −1 for null), the value; all integers in network byte order.
public enum RecordHeaders {
    /// Appends one header to `buffer`.
    public static func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?, to buffer: inout ByteBuffer) {
        buffer.append(bigEndian: UInt32(name.count))
        buffer.append(name)
        buffer.append(bigEndian: value.map { Int32($0.count) } ?? -1)
        if let value { buffer.append(value) }
    }

    /// Calls `body` with the name and the value of each header in turn.
    public static func forEach(
        in encoded: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) throws -> Void
    ) rethrows {
        var at = 0
        func length() -> Int {
            defer { at += 4 }
            return Int(Int32(bigEndian: encoded.loadUnaligned(fromByteOffset: at, as: Int32.self)))
        }
        func take(_ count: Int) -> UnsafeRawBufferPointer {
            defer { at += count }
            return UnsafeRawBufferPointer(rebasing: encoded[at..<at + count])
        }
        while at < encoded.count {
            let name = take(length())
            let valueLength = length()
            try body(name, valueLength < 0 ? nil : take(valueLength))
        }
    }
}
