// The port on the database's side: claims of partitions, and transactions of changes.

public import Records

/// A claim on a partition: from now on only its holder can move the partition's offset.
public enum ClaimResult: Sendable, Equatable {
    /// The partition is ours under this epoch; the next record to apply is the one at `nextOffset`.
    case claimed(epoch: Int64, nextOffset: Int64)
    /// The partition must not be read: one sentence with the reason and the remedy.
    case held(reason: String)
}

/// Claims partitions in the database.
public protocol OffsetClaimer: Sendable {
    /// Claims partitions for this member. Partitions that are missing from the answer were not claimed.
    func claim(_ partitions: [TopicPartition]) async throws -> [TopicPartition: ClaimResult]
}

/// One lane's way into the database: one transaction at a time.
public protocol BatchApplier: Sendable {
    /// Writes all of the work in one transaction, or nothing of it. Settles unknown outcomes itself before it answers.
    /// - Parameter attempt: how often this same work was tried before.
    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult
    /// Where the lane's stage had best run: beside the connection, so that no thread has to be woken in between. `nil`: anywhere.
    var executor: (any TaskExecutor)? { get }
}

extension BatchApplier {
    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }
}
