// What an apply stage hands to its lane, and what the lane answers.

/// The batches of one partition in a transaction, and what fences them.
public struct PartitionBatches: Sendable {
    /// The partition.
    public let source: TopicPartition
    /// Generation of the assignment under which the records were read.
    public let generation: UInt64
    /// Epoch of the claim.
    public let epoch: Int64
    /// The applied offset that the database must show: what was committed last.
    public let expected: Int64
    /// Batches in log order.
    public var batches: [ChangeBatch]

    /// The applied offset that the database shows once the batches are durable.
    public var next: Int64 { batches.last?.records.nextOffset ?? expected }

    /// The batches of one partition.
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
    /// Events that a later event of the same key in the same transaction replaced.
    public var superseded = 0
    /// Of those applied, events that wrote nothing; counted where a mapping skips unchanged rows.
    public var unchanged = 0
    /// Records of which the mapping takes no event.
    public var skipped = 0
    /// Dead letters by reason.
    public var deadLetters: [String: Int] = [:]
    /// Of a route: what became of the events that each of its mappings has decoded, which is counted above, too. Otherwise empty.
    public var parts: [AppliedCounts] = []

    /// All zero.
    public init() {}
}

/// A partition whose next record waits for something that is to come.
public struct WaitingPartition: Sendable, Equatable {
    /// What a record waits for.
    public enum Cause: Sendable {
        /// A row that another partition may bring or remove.
        case row
        /// What its decoder lacks.
        case decoder
    }

    /// The partition.
    public let source: TopicPartition
    /// When it is to be tried again, nanoseconds from now.
    public let retryIn: UInt64
    /// One sentence on what it waits for.
    public let reason: String
    /// What it waits for.
    public let cause: Cause

    /// A partition that waits.
    public init(source: TopicPartition, retryIn: UInt64, reason: String, cause: Cause = .row) {
        self.source = source
        self.retryIn = retryIn
        self.reason = reason
        self.cause = cause
    }
}

/// The result of a transaction.
public enum ApplyResult: Sendable, Equatable {
    /// Durable.
    case applied(AppliedCounts)
    /// Durable, except for what is left of these partitions: they are to be claimed again later, while the others go on.
    case appliedInPart(AppliedCounts, waiting: [WaitingPartition])
    /// Nothing was written: these partitions have been claimed by somebody else.
    case fenced([TopicPartition])
    /// Nothing was written, and these partitions must stop.
    case stopped([TopicPartition], reason: StopReason)
    /// Nothing was written; try the same again later. An outage counts against the circuit breaker.
    case retry(reason: String, isOutage: Bool)
    /// Nothing was written; a smaller transaction may get through.
    case tooLarge(reason: String)
}
