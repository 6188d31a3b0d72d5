// Owns the records of one read of a partition: one padded buffer of bytes and an index of the records in it.

/// One record of a ``RecordBatch``: its offset, timestamp, and the positions of its parts in the batch's buffer.
public struct Record: Sendable, Equatable {
    /// Offset in the partition.
    public let offset: Int64
    /// Milliseconds since 1970, set by the producer or the broker; −1 where there is none.
    public let timestamp: Int64
    /// The key's bytes, null where the record has no key.
    public let key: Slice
    /// The payload's bytes; null for a tombstone.
    public let value: Slice
    /// The headers in the layout of ``RecordHeaders``; null where the record has none.
    public let headers: Slice

    /// A record whose parts are already in a batch's buffer.
    public init(offset: Int64, timestamp: Int64, key: Slice, value: Slice, headers: Slice) {
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers
    }

    /// ``timestamp`` as a `timestamptz`: microseconds since 2000-01-01 UTC. `nil` where there is none, and for what the type cannot hold: a
    /// producer may have stamped anything.
    public var timestamptz: Int64? {
        // The end of timestamptz, in the year 294276 (END_TIMESTAMP in src/include/datatype/timestamp.h).
        guard timestamp >= 0, timestamp < 9_224_318_016_000_000 else { return nil }
        return (timestamp - 946_684_800_000) * 1000
    }

    /// FNV-1a 64 over the timestamp, and the length (−1 for null) and bytes of key and payload, as a signed number of the same bits.
    public static func fingerprint(
        timestamp: Int64, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?
    ) -> Int64 {
        var hash = FNV1a()
        hash.add(timestamp)
        for bytes in [key, value] {
            hash.add(Int64(bytes?.count ?? -1))
            if let bytes { hash.add(bytes) }
        }
        return Int64(bitPattern: hash.value)
    }
}

/// Records of one partition in log order, copied out of librdkafka's memory: what the pipeline's stages pass on.
///
/// The poll thread fills a batch and hands it over; from then on it is read-only.
public final class RecordBatch: @unchecked Sendable {
    // Licence for @unchecked, and for the unchecked exclusivity: written by the poll thread only until it is handed over through
    // a queue with a lock, and read-only from then on. Nothing enforces this but that `append` has one caller.

    /// The partition of the records.
    public let source: TopicPartition
    /// Generation of the assignment they were read under. Work of an older one is dropped.
    public let generation: UInt64

    /// The records, in ascending offset order.
    @exclusivity(unchecked) public private(set) var records: ContiguousArray<Record> = []
    /// Offset after the last record: the next one to apply once this batch is durable.
    @exclusivity(unchecked) public private(set) var nextOffset: Int64 = 0
    /// Earliest timestamp of a record, milliseconds since 1970; −1 where no record carries one.
    @exclusivity(unchecked) public private(set) var earliestTimestamp: Int64 = -1
    @exclusivity(unchecked) private var buffer: ByteBuffer

    /// - Parameters:
    ///   - records: number of records to reserve space for.
    ///   - bytes: bytes to reserve space for.
    public init(source: TopicPartition, generation: UInt64, records: Int = 0, bytes: Int = 0) {
        self.source = source
        self.generation = generation
        self.records.reserveCapacity(records)
        buffer = ByteBuffer(capacity: bytes)
    }

    /// Number of records.
    public var count: Int { records.count }
    /// Bytes of keys, payloads and headers.
    public var byteCount: Int { buffer.count }

    /// Appends a copy of one record. `nil` stands for null.
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

    /// The start of the batch's buffer, which every ``Slice`` of its records is relative to. Valid as long as the batch exists.
    public var base: UnsafeRawPointer { buffer.base }

    /// The bytes of one part of a record; `nil` where it is null. Valid as long as the batch exists; padded as described for
    /// ``ByteBuffer``.
    @inline(__always)
    public func bytes(of slice: Slice) -> UnsafeRawBufferPointer? { buffer.bytes(of: slice) }

    /// The fingerprint of one of the batch's records.
    public func fingerprint(of record: Record) -> Int64 {
        Record.fingerprint(timestamp: record.timestamp, key: bytes(of: record.key), value: bytes(of: record.value))
    }
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

    /// Calls `body` with the name and the value of each header, in order.
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
