// The port to the database: claims of partitions, and transactions of changes.

public import Records

/// A claim on a partition: from now on only its holder can move the partition's offset.
public enum ClaimResult: Sendable, Equatable {
    /// The partition is ours under this epoch; the next record to apply is the one at `nextOffset`.
    case claimed(epoch: Int64, nextOffset: Int64)
    /// The partition must not be read.
    case held(reason: StopReason)
}

/// Claims partitions in the database.
public protocol OffsetClaimer: Sendable {
    /// Claims partitions for this member. Partitions that are missing from the answer were not claimed.
    func claim(_ partitions: [TopicPartition]) async throws -> [TopicPartition: ClaimResult]
}

/// Writes one lane's transactions, one at a time.
public protocol BatchApplier: Sendable {
    /// Writes all of the work in one transaction, or nothing of it. Resolves unknown outcomes itself before it returns.
    /// - Parameter attempt: how often the same work was tried before.
    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult
    /// Where the lane's stage should run: on the connection's thread, so that no other has to be woken. `nil`: anywhere.
    var executor: (any TaskExecutor)? { get }
}

extension BatchApplier {
    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }
}
