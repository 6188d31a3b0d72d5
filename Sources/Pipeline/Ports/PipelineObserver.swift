// The port for those who watch: every event worth a log line or a metric, once, by batch.

public import Backpressure
public import Records

/// Something that happened in the pipeline.
public enum PipelineEvent: Sendable {
    /// The group gave or took partitions.
    case rebalanced(assigned: [TopicPartition], revoked: [TopicPartition], isLost: Bool)
    /// Partitions were claimed and reading began.
    case claimed([Claim])
    /// Claiming failed and is tried again after a wait in nanoseconds.
    case claimFailed(reason: String, retryIn: UInt64)
    /// A partition was taken out of service until a restart or a rebalance.
    case stopped(TopicPartition, reason: String)
    /// A partition turned out to belong to someone else.
    case fenced(TopicPartition)
    /// The log does not hold the position a partition was read at; it is claimed again.
    case positionLost(TopicPartition, reason: String)
    /// Work was finished before partitions were given back; incomplete where the deadline came first.
    case drained(isComplete: Bool, nanoseconds: UInt64)
    /// A transaction is durable. `seconds` counts from its start.
    case applied(lane: Int, work: [PartitionBatches], counts: AppliedCounts, seconds: Double)
    /// A transaction is tried again after a wait in nanoseconds.
    case retrying(lane: Int, reason: String, wait: UInt64)
    /// The circuit to the database changed.
    case circuit(CircuitBreakerMachine.State)
    /// The second brake was pulled.
    case paused(TopicPartition)
    /// The pause told of last came soon after a resume.
    case flapped(TopicPartition)
    /// The second brake was released.
    case resumed(TopicPartition)
    /// The worker has had something to do for so long, and does not move; also where a stall goes on for another reason.
    case stalled(StallReason, nanoseconds: UInt64)
    /// The worker moves again after so long, or has nothing left to do. The reason is the last one.
    case stallEnded(StallReason, nanoseconds: UInt64)
    /// The source holds more than its share of the memory, in bytes of the budget, which has become so small for it; 0: no more.
    case overran(bytes: Int, budget: Int)
    /// The source said something that passes by itself.
    case sourceNotice(String)

    /// A partition that is ours now.
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

/// Watches the pipeline. Called from its stages: must be quick and must not wait.
public protocol PipelineObserver: Sendable {
    /// Something happened.
    func observed(_ event: PipelineEvent)
}
