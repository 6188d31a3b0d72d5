// The port to Kafka: what the pipeline needs of a consumer.

public import Records

/// Events of a source, in the order they happened.
public enum SourceEvent: Sendable {
    /// Records of one assigned partition.
    case records(RecordBatch)
    /// The group gave this member these partitions; it waits for ``RecordSource/assign(_:generation:)``.
    case assigned([TopicPartition])
    /// The group takes all partitions back; it waits for ``RecordSource/unassign()``. Lost: another member may have them already.
    case revoked([TopicPartition], isLost: Bool)
    /// The log was read to its end at `offset`, beyond the last record, with nothing to apply between.
    case reachedEnd(TopicPartition, offset: Int64, generation: UInt64)
    /// A partition cannot be read any further: one sentence with the remedy. `generation`: the assignment under which that was found;
    /// `nil`: the present one.
    case partitionFailed(TopicPartition, generation: UInt64? = nil, reason: String)
    /// The log does not hold the position a partition was read at: a claim decides where to continue. `mismatch`: it does, but the last
    /// record before it is not the one of this fingerprint, which was read there.
    case positionLost(TopicPartition, generation: UInt64? = nil, mismatch: Int64? = nil, reason: String)
    /// The group did not take the offsets of these partitions. `reason`: one sentence.
    case offsetCommitFailed([TopicPartition], reason: String)
    /// A trouble that passes by itself (a broker is down).
    case notice(String)
    /// The source is dead: nothing may be written any more.
    case failed(any Error)
}

/// Where reading a partition begins.
public struct PartitionStart: Sendable, Equatable {
    /// The partition.
    public let source: TopicPartition
    /// First offset to read.
    public let offset: Int64
    /// The fingerprint of the record before it, which was applied last: the source compares it with the log. `nil`: nothing is compared.
    public let lastApplied: Int64?

    /// Where reading a partition begins.
    public init(source: TopicPartition, offset: Int64, lastApplied: Int64? = nil) {
        self.source = source
        self.offset = offset
        self.lastApplied = lastApplied
    }
}

/// The ends of logs, as far as they could be learned.
public struct LogEnds: Sendable {
    /// One past the last record of each partition, that of an open transaction included.
    public var ends: [TopicPartition: Int64]
    /// The partitions whose topic does not exist.
    public var missing: Set<TopicPartition>

    /// The ends of logs.
    public init(_ ends: [TopicPartition: Int64], missing: Set<TopicPartition> = []) {
        self.ends = ends
        self.missing = missing
    }
}

/// The group gave more partitions than the source was made for. Nothing of them was read; a larger source is needed.
public struct TooManyPartitions: Error, Sendable, Equatable, CustomStringConvertible {
    /// Partitions that were assigned.
    public let assigned: Int
    /// ``RecordSource/partitionLimit``.
    public let limit: Int

    /// More partitions than fit.
    public init(assigned: Int, limit: Int) {
        self.assigned = assigned
        self.limit = limit
    }

    /// One sentence.
    public var description: String { "\(assigned) partitions are assigned, and the consumer's memory was divided for \(limit)" }
}

/// A consumer of partitions. Commands return at once; what they lead to comes as events.
public protocol RecordSource: Sendable {
    /// The next event; `nil` once the source is closed. One caller at a time; cancel-safe.
    func next() async throws -> SourceEvent?
    /// Begins reading these partitions, slot by slot in this order; their batches carry `generation`. Replaces the present assignment.
    /// - Parameter unclaimed: further partitions, in the slots behind them, of which nothing may be read before a
    ///   ``seek(_:generation:)``.
    func assign(_ partitions: [PartitionStart], unclaimed: [TopicPartition], generation: UInt64)
    /// Gives all partitions back.
    func unassign()
    /// Continues reading one assigned partition at another offset; its batches carry `generation` from then on.
    func seek(_ start: PartitionStart, generation: UInt64)
    /// Stops fetching a partition; what was prefetched is dropped.
    func pause(_ partition: TopicPartition)
    /// Fetches a paused partition again, from where it was read last.
    func resume(_ partition: TopicPartition)
    /// Credits came back to a reader that had none.
    func creditsReturned()
    /// Commits applied offsets to the group, for lag tools only; asynchronous.
    func commit(_ offsets: [PartitionStart])
    /// The same, and waits for the answer, at most until a monotonic instant, nanoseconds.
    func commitAndWait(_ offsets: [PartitionStart], until deadline: UInt64) async
    /// The ends of these logs, where they could be learned within the deadline.
    func endOffsets(_ partitions: [TopicPartition]) async throws -> LogEnds
    /// The offset up to which each partition can be read: below its end while a transaction is open. As for ``endOffsets(_:)``.
    func readableEnds(_ partitions: [TopicPartition]) async throws -> [TopicPartition: Int64]
    /// Leaves the group: nobody takes events any more, so no rebalance may wait for an answer. Returns at once; the last command.
    func leave()
    /// Most partitions at a time that fit in the source's share of the memory.
    var partitionLimit: Int { get }
    /// Bytes by which the pipeline's budget must be reduced because the source has lately held more than its share.
    var overrun: Int { get }
    /// When the source last proved to be alive in its group, monotonic nanoseconds.
    var lastPoll: UInt64 { get }
    /// Where the stages that take records and decode them should run: on the thread that reads, so that no other has to be woken. `nil`:
    /// anywhere.
    var executor: (any TaskExecutor)? { get }
}

extension RecordSource {
    /// Of a source without transactions.
    public func readableEnds(_ partitions: [TopicPartition]) async throws -> [TopicPartition: Int64] { [:] }

    /// Any number.
    public var partitionLimit: Int { .max }

    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }
}
