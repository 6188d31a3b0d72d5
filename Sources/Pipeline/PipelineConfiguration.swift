// Declares the sizes, intervals and deadlines of a pipeline.

public import Backpressure

/// Sizes and deadlines of a pipeline. Durations are nanoseconds.
public struct PipelineConfiguration: Sendable {
    /// Apply lanes: one connection each.
    public var lanes = 2
    /// Credits of all partitions together, from the reader to the commit.
    public var budget = Credits(records: 65_536, bytes: 32 << 20)
    /// Most records of one partition that may be under way, however few partitions there are.
    public var partitionRecords = 16_384
    /// The largest transaction.
    public var batch = Credits(records: 5_000, bytes: 8 << 20)
    /// The least pause of a lane between small transactions.
    public var commitInterval: UInt64 = 0
    /// Free share below which a partition counts as starved, and at which a refused reader is woken.
    public var lowWatermark = 0.25
    /// Free share at which a paused partition is resumed.
    public var highWatermark = 0.75
    /// How long a partition is starved before it is paused.
    public var pauseDwell: UInt64 = 750_000_000
    /// How long work may take to finish when partitions are revoked.
    public var drainDeadline: UInt64 = 5_000_000_000
    /// How long after an assignment reading begins at the latest, with the partitions that are claimed by then.
    public var claimDeadline: UInt64 = 2_000_000_000
    /// How long partitions that are claimed wait for the others before reading begins.
    public var stragglerWait: UInt64 = 500_000_000
    /// How often applied offsets are committed to the group.
    public var offsetCommitInterval: UInt64 = 1_000_000_000
    /// How long the partitions' return waits at most for the answer to the last offset commit.
    public var finalCommitTimeout: UInt64 = 1_000_000_000
    /// How often end offsets are asked for.
    public var lagInterval: UInt64 = 1_000_000_000
    /// How long a partition with records to apply may make no progress before the worker counts as stalled.
    public var stallTimeout: UInt64 = 30_000_000_000
    /// How often deadlines and watermarks are checked.
    public var tick: UInt64 = 100_000_000
    /// Waits between tries of a transaction or a claim.
    public var retry = Backoff(initial: 50_000_000, maximum: 10_000_000_000)
    /// Waits before a fenced partition is claimed again.
    public var reclaim = Backoff(initial: 500_000_000, maximum: 30_000_000_000)
    /// How long after it was stopped a partition is claimed again, in case what was wrong has been mended; see ``StopReason``.
    public var recheckInterval: UInt64 = 60_000_000_000
    /// Outages in a row that open the circuit to the database.
    public var circuitThreshold = 5
    /// How long the circuit stays open.
    public var circuit = Backoff(initial: 1_000_000_000, maximum: 15_000_000_000)
    /// How long a probe through the half-open circuit may take before another lane tries.
    public var circuitProbeTimeout: UInt64 = 60_000_000_000

    /// The defaults.
    public init() {}

    /// The same while the source holds `bytes` more than its share of the memory: the budget is smaller by as much, but at least a
    /// quarter of itself.
    public func reduced(byOverrun bytes: Int) -> PipelineConfiguration {
        var configuration = self
        configuration.budget.bytes = Swift.max(1, budget.bytes / 4, budget.bytes - bytes)
        return configuration
    }

    /// The credits of one of `partitions` partitions.
    public func share(partitions: Int) -> Credits {
        let count = Swift.max(1, partitions)
        return Credits(
            records: Swift.max(1, Swift.min(partitionRecords, budget.records / count)),
            bytes: Swift.max(1, budget.bytes / count))
    }
}
