// What a member knows about the partitions it applies: whose they are, and where they stand.

public import Records

/// A partition that was claimed in `sluice_offsets`.
public struct PartitionClaim: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// Raised by every claim: whoever holds an older one is fenced.
    public let epoch: Int64
    /// The next offset as the database has it: what we last committed, or where to begin.
    public var nextOffset: Int64

    /// A partition that was claimed.
    public init(source: TopicPartition, epoch: Int64, nextOffset: Int64) {
        self.source = source
        self.epoch = epoch
        self.nextOffset = nextOffset
    }
}

/// What a transaction does to one partition's row in `sluice_offsets`.
public struct OffsetAdvance: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// The epoch of our claim.
    public let epoch: Int64
    /// The offset the row must show.
    public let expected: Int64
    /// The offset it shows after the commit.
    public let next: Int64
}

/// A row of `sluice_offsets`.
public struct StoredOffset: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// The claim that holds.
    public let epoch: Int64
    /// The offset to apply next.
    public let nextOffset: Int64
    /// Who claimed it.
    public let member: String
}
