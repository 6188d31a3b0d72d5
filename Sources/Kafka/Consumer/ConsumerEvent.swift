// Says what a consumer tells its user, and what it asks before it reads.

public import Records

/// Decides how much may be read from each partition. Thread-safe; called from the poll thread, which it must not hold up.
public protocol FetchGate: Sendable {
    /// How much may be read now from one partition: at least one record is read where both are above 0; 0 is closed.
    ///
    /// A gate that hands out single records makes single-record batches: answer 0 until a useful amount is free.
    /// - Parameters:
    ///   - slot: the partition's position in the list given to `assign`.
    ///   - assignment: the generation the records would carry.
    func allowance(_ slot: Int, assignment: UInt64) -> (records: Int, bytes: Int)

    /// Nanoseconds until the first partition that was refused for a time alone can be read; the reader looks again then. `nil`: none
    /// was, or a wake-up comes. Asked once before each sleep.
    func opensIn() -> UInt64?

    /// A batch was sealed. Bytes overshoot the allowance by one record at most, records never.
    func spent(slot: Int, assignment: UInt64, records: Int, bytes: Int)

    /// What each record takes of the allowed bytes besides its own. 0 where it is not said.
    var recordOverhead: Int { get }
}

extension FetchGate {
    /// Nothing: the gate counts bytes of keys, payloads and headers.
    public var recordOverhead: Int { 0 }

    /// A gate that only opens with a wake-up.
    public func opensIn() -> UInt64? { nil }
}

/// What happened at a consumer, in order.
public enum ConsumerEvent: Sendable {
    /// The group gave these partitions. Until `assign` is called the whole group waits: call it within a deadline, with a closed
    /// gate if need be.
    case assigned([TopicPartition])
    /// The group takes these partitions away. Reading has stopped. Drain, commit, then call `unassign`, within a deadline; where
    /// `isLost`, somebody else may own them already: drop the work and call `unassign` at once.
    case revoked([TopicPartition], isLost: Bool)
    /// Records of one partition.
    case records(RecordBatch, slot: Int)
    /// The log was read up to here, beyond the last record handed over: what lies between are markers of transactions, or is compacted.
    case reachedEnd(TopicPartition, offset: Int64, assignment: UInt64)
    /// A partition cannot be read: its position is outside the log, it is gone, or it is not allowed. It stays idle until a `seek`
    /// or the next assignment.
    case partitionFailed(TopicPartition, KafkaError)
    /// An asynchronous commit was answered.
    case committed([(TopicPartition, Int64)], KafkaError?)
    /// The consumer is useless from now on (fenced, fatal): stop writing at once; no revoke follows.
    case failed(KafkaError)
    /// Something that may pass or that only an operator can change: brokers out of reach, a topic missing or not allowed.
    case notice(KafkaError)
}

/// Counters of one consumer since its start.
public struct KafkaConsumerStatistics: Sendable, Equatable {
    /// Records handed over.
    public var records = 0
    /// Bytes of keys, payloads and headers handed over.
    public var bytes = 0
    /// Batches handed over.
    public var batches = 0
    /// Records below the expected offset, dropped.
    public var duplicates = 0
    /// Forward jumps that were answered with a seek.
    public var reseeks = 0
    /// Forward jumps that stood and were accepted (compaction and transaction markers leave such gaps).
    public var gaps = 0
    /// Times librdkafka's broker threads were kicked awake.
    public var kicks = 0
}
