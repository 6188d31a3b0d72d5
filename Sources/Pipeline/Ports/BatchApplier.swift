// The port to the database: claims of partitions, and transactions of changes.

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

/// The changes of one partition in a transaction, and what fences them.
public struct PartitionWork: Sendable {
    /// The partition.
    public let source: TopicPartition
    /// Generation of the assignment the changes were read under.
    public let generation: UInt64
    /// Epoch of the claim.
    public let epoch: Int64
    /// The offset the database must have for the partition: what was committed last.
    public let expected: Int64
    /// Batches in log order.
    public var batches: [ChangeBatch]

    /// The offset the database has once the changes are durable.
    public var next: Int64 { batches.last?.records.nextOffset ?? expected }

    /// The changes of one partition in a transaction.
    public init(source: TopicPartition, generation: UInt64, epoch: Int64, expected: Int64, batches: [ChangeBatch]) {
        self.source = source
        self.generation = generation
        self.epoch = epoch
        self.expected = expected
        self.batches = batches
    }
}

/// Outcomes of the events of a transaction; each event is counted once.
public struct AppliedCounts: Sendable, Equatable {
    /// Events whose effect is in the table, also where they found nothing to do.
    public var applied = 0
    /// Events whose effect a later event of the same key in the same transaction has replaced.
    public var superseded = 0
    /// Records that became dead letters, by reason.
    public var deadLetters: [String: Int] = [:]

    /// All zero.
    public init() {}
}

/// The outcome of a transaction.
public enum ApplyResult: Sendable {
    /// Durable.
    case applied(AppliedCounts)
    /// Nothing was written: another member has claimed these partitions.
    case fenced([TopicPartition])
    /// Nothing was written: these partitions must stop; one sentence with the reason and the remedy.
    case stopped([TopicPartition], reason: String)
    /// Nothing was written; the same work is tried again later. An outage counts for the circuit breaker.
    case retry(reason: String, isOutage: Bool)
    /// Nothing was written; a smaller transaction may succeed.
    case tooLarge(reason: String)
}

/// Writes one lane's transactions, one at a time.
public protocol BatchApplier: Sendable {
    /// Writes all of the work in one transaction, or nothing of it. Resolves unknown outcomes itself before it returns.
    /// - Parameter attempt: how often the same work was tried before.
    func apply(_ work: [PartitionWork], attempt: Int) async throws -> ApplyResult
    /// Where the lane's stage should run: on the connection's thread, so that no other has to be woken. `nil`: anywhere.
    var executor: (any TaskExecutor)? { get }
}

extension BatchApplier {
    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }
}
