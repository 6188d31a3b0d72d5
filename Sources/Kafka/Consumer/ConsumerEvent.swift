// Declares what a consumer reports, and what it asks before it reads.

public import Records

/// Limits how much the poll thread reads from each partition. Thread-safe; called from the poll thread, which it must not block.
public protocol ReadLimit: Sendable {
    /// How many records and bytes may be read from one partition now. Where both are above 0, at least one record is read;
    /// otherwise none.
    ///
    /// Allowing single records makes batches of single records: return 0 until a useful amount is free.
    /// - Parameters:
    ///   - slot: the partition's position in the list given to ``KafkaConsumer/assign(_:generation:)``.
    ///   - generation: the assignment generation its batches would carry.
    func allowance(slot: Int, generation: UInt64) -> (records: Int, bytes: Int)

    /// Nanoseconds until the first partition may be read that was refused by a rate alone; `nil` where there is none. Asked once
    /// before each sleep of the poll thread.
    func nanosecondsUntilAllowed() -> UInt64?

    /// A batch was read. Its bytes exceed the allowance by less than one record, its records never do.
    func spent(slot: Int, generation: UInt64, records: Int, bytes: Int)

    /// Bytes that each record takes of the allowance in addition to its key, payload and headers.
    var recordOverhead: Int { get }
}

extension ReadLimit {
    /// 0: the limit counts bytes of keys, payloads and headers only.
    public var recordOverhead: Int { 0 }

    /// `nil`: an allowance grows only together with ``KafkaConsumer/creditsReturned()``.
    public func nanosecondsUntilAllowed() -> UInt64? { nil }
}

/// What happened at a consumer, in order.
public enum ConsumerEvent: Sendable {
    /// The group assigned these partitions. The whole group waits until ``KafkaConsumer/assign(_:generation:)`` is called: call
    /// it within a deadline, with an allowance of 0 if need be.
    case assigned([TopicPartition])
    /// The group revokes these partitions; reading has stopped. Drain, commit, then call ``KafkaConsumer/unassign()``, within a
    /// deadline. Where `isLost`, another member may own them already: drop the work and call `unassign` at once.
    case revoked([TopicPartition], isLost: Bool)
    /// Records of one partition.
    case records(RecordBatch)
    /// The end of the log was reached at this offset, which is beyond the last record handed over: between them are only
    /// transaction markers or compacted records.
    case reachedEnd(TopicPartition, offset: Int64, generation: UInt64)
    /// A partition cannot be read: its position is outside the log, it does not exist any more, or it is not allowed. It is not
    /// read until a `seek` or the next assignment.
    case partitionFailed(TopicPartition, KafkaError, generation: UInt64?)
    /// The log of a partition has another record where the last one before the position was, whose fingerprint is `lastApplied`: its topic
    /// was deleted and created again. It is not read until a `seek` or the next assignment.
    case otherLog(TopicPartition, lastApplied: Int64, generation: UInt64, reason: String)
    /// An asynchronous commit was answered.
    case committed([(TopicPartition, Int64)], KafkaError?)
    /// The consumer cannot be used any more (fenced, fatal): stop writing at once; no revoke follows.
    case failed(KafkaError)
    /// A fault that may pass, or that an operator must remedy: brokers unreachable, a topic missing or not allowed.
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
    /// Seeks because reading began beyond the offset it was told to begin at.
    public var reseeks = 0
    /// Gaps between offsets (left by compaction or transaction markers), before a record or before the end of the log.
    public var gaps = 0
    /// New assignments of all partitions because one was not fetched (see ``FetchStartMachine``), or the thread stood still.
    public var restarts = 0
    /// Fetch wake-ups (see ``KafkaConsumerConfiguration/fetchWakeUp``).
    public var wakeUps = 0

    /// All counters at 0.
    public init() {}
}
