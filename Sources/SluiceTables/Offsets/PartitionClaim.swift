// Holds the rows of `sluice_offsets` and what transactions and claims do to them.

public import Records

/// A partition that was claimed in `sluice_offsets`.
public struct PartitionClaim: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// Raised by every claim; the holder of a lower epoch is fenced.
    public let epoch: Int64
    /// The applied offset that the database shows: the next offset to apply.
    public var nextOffset: Int64
    /// The fingerprint of the record before ``nextOffset``, which was applied last; `nil`: not known.
    public let lastApplied: Int64?

    /// A partition that was claimed.
    public init(source: TopicPartition, epoch: Int64, nextOffset: Int64, lastApplied: Int64? = nil) {
        self.source = source
        self.epoch = epoch
        self.nextOffset = nextOffset
        self.lastApplied = lastApplied
    }
}

/// How a transaction moves one partition's applied offset.
public struct OffsetAdvance: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// The epoch of our claim.
    public let epoch: Int64
    /// The applied offset before the transaction; where the row shows another, the transaction is refused.
    public let expected: Int64
    /// The applied offset after the commit.
    public let next: Int64
    /// The fingerprint of the record before ``next``; `nil`: not known.
    public let lastApplied: Int64?

    /// A move of an applied offset.
    public init(source: TopicPartition, epoch: Int64, expected: Int64, next: Int64, lastApplied: Int64? = nil) {
        self.source = source
        self.epoch = epoch
        self.expected = expected
        self.next = next
        self.lastApplied = lastApplied
    }
}

/// A row of `sluice_offsets`.
public struct StoredOffset: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// The epoch of the last claim.
    public let epoch: Int64
    /// The next offset to apply.
    public let nextOffset: Int64
    /// Who claimed it.
    public let member: String
    /// The fingerprint of the record before ``nextOffset``, which was applied last. `nil`: not known, or the offset was moved since.
    public var lastApplied: Int64?
}

/// Where a partition is after a transaction whose connection was lost.
public enum SettledState: String, Sendable, CaseIterable {
    /// The transaction was committed.
    case committed
    /// It was not, and the claim still holds: the transaction can be executed again.
    case notCommitted = "not_committed"
    /// The partition has been claimed by somebody else, or its offset was moved.
    case fenced
}
