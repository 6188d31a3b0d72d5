// The port to logs and metrics: every event worth a log line or a metric, once, by batch.

public import Backpressure
public import Records

/// Something that happened in the pipeline.
public enum PipelineEvent: Sendable {
    /// The group gave or took partitions.
    case rebalanced(assigned: [TopicPartition], revoked: [TopicPartition], isLost: Bool)
    /// Partitions were claimed and reading began.
    case claimed([Claim])
    /// Partitions could not be claimed; they are tried again after `retryIn` nanoseconds at most.
    case claimFailed([TopicPartition], reason: String, retryIn: UInt64)
    /// A partition was stopped.
    case stopped(TopicPartition, reason: StopReason)
    /// Another member has claimed a partition.
    case fenced(TopicPartition)
    /// A partition's next record waits for a row that another partition may bring or remove, or for its decoder; it is claimed again after
    /// the wait.
    case waits(WaitingPartition)
    /// The log does not hold the position a partition was read at; it is claimed again.
    case positionLost(TopicPartition, reason: String)
    /// Work was finished before partitions were given back; incomplete where the deadline came first.
    case drained(isComplete: Bool, nanoseconds: UInt64)
    /// A transaction is durable. `seconds` counts from its start.
    case applied(lane: Int, work: [PartitionBatches], counts: AppliedCounts, seconds: Double)
    /// A transaction is tried again after `wait` nanoseconds.
    case retrying(lane: Int, reason: String, wait: UInt64)
    /// The circuit to the database changed.
    case circuit(CircuitBreakerMachine.State)
    /// A partition was paused for lack of credits.
    case paused(TopicPartition)
    /// The pause before this event came soon after a resume.
    case flapped(TopicPartition)
    /// A partition was resumed because credits are back.
    case resumed(TopicPartition)
    /// The worker has had records to apply for `nanoseconds` and makes no progress; also where a stall continues for another reason.
    case stalled(StallReason, nanoseconds: UInt64)
    /// The worker makes progress again, or has nothing left to apply, after `nanoseconds`. The reason is the last one.
    case stallEnded(StallReason, nanoseconds: UInt64)
    /// The source holds `bytes` more than its share of the memory, 0: no longer; the pipeline's budget is reduced to `budget` bytes.
    case overran(bytes: Int, budget: Int)
    /// A trouble of the source that passes by itself.
    case sourceNotice(String)

    /// A partition that was claimed.
    public struct Claim: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Epoch of the claim.
        public let epoch: Int64
        /// First offset that is read.
        public let offset: Int64
        /// The lane it belongs to.
        public let lane: Int
    }
}

/// Observes the pipeline. Called from its stages: must be quick and must not wait.
public protocol PipelineObserver: Sendable {
    /// An event happened.
    func observed(_ event: PipelineEvent)
}
