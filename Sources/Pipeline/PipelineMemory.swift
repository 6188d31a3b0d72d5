// Reports how much of the memory budget the pipeline's own work takes.

public import Backpressure
import Synchronization

/// What is under way in a pipeline, over all partitions and assignments, in the units it is charged in.
public struct PipelineMemory: Sendable, Equatable {
    /// Charged for batches in the pipeline; more than ``total`` where a record was larger than what was free.
    public let outstanding: Credits
    /// What may be under way.
    public let total: Credits
    /// Charged bytes of the batches whose transaction is under way, a part of ``outstanding``.
    public let bytesInTransactions: Int
}

extension EventPipeline {
    /// What is under way now, without stopping a stage.
    public var memory: PipelineMemory {
        let (outstanding, total) = context.pool.memory
        return PipelineMemory(
            outstanding: outstanding, total: total,
            bytesInTransactions: context.bytesInTransactions.load(ordering: .relaxed))
    }
}
