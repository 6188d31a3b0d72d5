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

/// The changes of one partition in a transaction, and what fences them.
public struct PartitionBatches: Sendable {
    /// The partition.
    public let source: TopicPartition
    /// Stamp of the assignment the changes were read under.
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

/// What became of the events of a transaction; each event is counted once.
public struct AppliedCounts: Sendable, Equatable {
    /// Events whose effect is in the table, also where they found nothing to do.
    public var applied = 0
    /// Events that a later event of the same key in the same transaction made invisible.
    public var superseded = 0
    /// Records that went to the dead letters, by reason.
    public var deadLetters: [String: Int] = [:]

    /// Nothing happened yet.
    public init() {}
}

/// What came of a transaction.
public enum ApplyResult: Sendable {
    /// Durable.
    case applied(AppliedCounts)
    /// Nothing was written: these partitions belong to someone else by now.
    case fenced([TopicPartition])
    /// Nothing was written: these partitions must not go on; one sentence with the reason and the remedy.
    case stopped([TopicPartition], reason: String)
    /// Nothing was written; the same again later. An outage counts against the circuit breaker.
    case retry(reason: String, isOutage: Bool)
    /// Nothing was written; a smaller transaction may get through.
    case tooLarge(reason: String)
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
