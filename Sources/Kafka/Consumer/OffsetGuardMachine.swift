// Decides which records of a partition are the next ones: librdkafka may repeat some after a rewind, or jump over some.

/// Watches one partition's offsets.
///
/// A jump forward is answered with one seek to what was expected; the first record after it is then taken as it comes, because
/// compaction and transaction markers leave legal gaps. The seek works: the jump shows that the partition is being fetched, and
/// `rd_kafka_seek_partitions` makes everything already queued stale before it returns.
struct OffsetGuardMachine: ~Copyable {
    enum Action: Equatable {
        /// Take the record.
        case accept
        /// Take the record; the gap before it stood after a seek.
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
        /// Nothing that would be handed over lies between the last record and the end.
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

    /// The log's end came at this offset. A jump over its last records looks like one that ends in markers, so it is answered in the same
    /// way: with one seek, and where it stands the end is told.
    mutating func ended(at offset: Int64) -> EndAction {
        guard offset > expected else { return .none }
        guard hasReseeked else {
            hasReseeked = true
            return .reseek(to: expected)
        }
        return .report
    }

    /// The reader was told to go on elsewhere.
    mutating func moved(to offset: Int64) {
        expected = offset
        hasReseeked = false
    }
}
