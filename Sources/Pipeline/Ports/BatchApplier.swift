// The port to the database: claims of partitions, and transactions of changes.

public import Records

/// A partition to claim.
public struct ClaimRequest: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// The log did not hold the partition's position: the claim asks for the log's bounds and decides where to continue. Otherwise a
    /// stored offset is taken as it is.
    public let checksBounds: Bool
    /// The fingerprint of a record that was read before the partition's position, and that the log does not have there. Where it is that of
    /// the record applied last, the log is another one.
    public let mismatch: Int64?

    /// A partition to claim.
    public init(source: TopicPartition, checksBounds: Bool = false, mismatch: Int64? = nil) {
        self.source = source
        self.checksBounds = checksBounds
        self.mismatch = mismatch
    }
}

/// A claim on a partition: from now on only its holder can move the partition's offset.
public enum ClaimResult: Sendable, Equatable {
    /// The partition is ours under this epoch; the next record to apply is the one at `nextOffset`. `lastApplied`: the fingerprint of the
    /// record before it, which was applied last; `nil`: not known.
    case claimed(epoch: Int64, nextOffset: Int64, lastApplied: Int64? = nil)
    /// The partition must not be read.
    case held(reason: StopReason)
    /// It cannot be claimed now: it has no leader, or a server does not answer. It is tried again after a back-off.
    case later(reason: String)
}

/// Claims partitions in the database.
public protocol OffsetClaimer: Sendable {
    /// Claims partitions for this member, until all are answered. Cancellation ends it at once.
    ///
    /// Those that can be claimed do not wait for the others: `answer` is called for some of the partitions at a time. Partitions that were
    /// not answered when this returns were not claimed.
    /// - Parameter isWanted: whether the claims are still wanted. Asked right before they are written, so that a claim that is late does
    ///   not fence the next owner.
    func claim(
        _ requests: [ClaimRequest], isWanted: @escaping @Sendable () -> Bool,
        answer: @escaping @Sendable ([TopicPartition: ClaimResult]) -> Void
    ) async throws
}

/// Writes one lane's transactions, one at a time.
public protocol BatchApplier: Sendable {
    /// Writes all of the work in one transaction, or nothing of it. Resolves unknown outcomes itself before it returns. The work is of
    /// one table, or of a route.
    /// - Parameter attempt: how often the same work was tried before.
    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult
    /// Which table a partition's events are written to; a route, whose events are written to several tables together, counts as one. Events
    /// of different ones are never in one transaction.
    func table(of source: TopicPartition) -> Int
    /// Where the lane's stage should run: on the connection's thread, so that no other has to be woken. `nil`: anywhere.
    var executor: (any TaskExecutor)? { get }
}

extension BatchApplier {
    /// The only one.
    public func table(of source: TopicPartition) -> Int { 0 }

    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }
}
