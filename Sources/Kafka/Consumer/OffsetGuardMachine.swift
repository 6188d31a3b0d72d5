// Decides which records of a partition are taken: librdkafka may repeat some after a rewind, or skip some.

/// Checks one partition's offsets.
///
/// A gap is answered with one seek to the expected offset; the first record after that is taken whatever its offset, because
/// compaction and transaction markers leave legal gaps. The seek takes effect: the gap shows that the partition is being fetched,
/// and `rd_kafka_seek_partitions` makes everything already queued stale before it returns.
struct OffsetGuardMachine: ~Copyable {
    enum Action: Equatable {
        /// Take the record.
        case accept
        /// Take the record; the gap before it was there after a seek, too.
        case acceptGap
        /// The record was taken before.
        case drop
        /// Seek there; drop the record.
        case reseek(to: Int64)
    }

    enum EndAction: Equatable {
        /// Everything before the end was handed over.
        case none
        /// Seek there.
        case reseek(to: Int64)
        /// There is no record between the last one and the end.
        case report
    }

    /// The offset the next record should have.
    private(set) var expected: Int64
    private var hasReseeked = false

    init(expected: Int64) { self.expected = expected }

    /// A record came.
    @inline(__always)
    mutating func observed(_ offset: Int64) -> Action {
        if offset == expected {
            expected = offset + 1
            hasReseeked = false
            return .accept
        }
        if offset < expected { return .drop }
        guard hasReseeked else {
            hasReseeked = true
            return .reseek(to: expected)
        }
        hasReseeked = false
        expected = offset + 1
        return .acceptGap
    }

    /// The end of the log was reached at this offset. Skipped records before it look like a log that ends in transaction markers,
    /// so the gap is checked by one seek, too, before the end is reported.
    mutating func ended(at offset: Int64) -> EndAction {
        guard offset > expected else { return .none }
        guard hasReseeked else {
            hasReseeked = true
            return .reseek(to: expected)
        }
        return .report
    }

    /// Reading continues at another offset.
    mutating func moved(to offset: Int64) {
        expected = offset
        hasReseeked = false
    }
}
