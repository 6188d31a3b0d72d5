// Holds what the assignment machine tells its stage to do.

import Records

extension AssignmentMachine {
    /// What to do, in this order.
    enum Action: Equatable, Sendable {
        /// Claim partitions in the database and report under this number.
        case claim(claimRound: UInt64, [ClaimRequest])
        /// Give the source its assignment and start reading `entries`, their credit accounts open. The partitions of `unclaimed`, in the
        /// slots behind them, are read once they are claimed.
        case begin(generation: UInt64, [OffsetLedgerMachine.Entry], unclaimed: [TopicPartition])
        /// Answer the group with no partition.
        case assignNothing
        /// Start reading one partition that was claimed later, or again. No other partition is touched.
        case restart(OffsetLedgerMachine.Entry)
        /// Read and write nothing more of a partition under this generation.
        case retract(TopicPartition, slot: Int, generation: UInt64)
        /// Stop reading, and report when the pipeline is empty.
        case drain
        /// Drop what is under way, commit the applied offsets where they are still ours, and give the partitions back.
        /// - Parameter commitUntil: how long to wait for the commit's answer at most, monotonic; `nil`: nothing is committed.
        case release(commitUntil: UInt64?)
        /// A partition is stopped.
        case reportStopped(TopicPartition, reason: StopReason)
        /// Draining is over.
        case reportDrained(isComplete: Bool, nanoseconds: UInt64)
        /// These partitions could not be claimed, and are tried again.
        case reportClaimFailed([TopicPartition], reason: String, retryIn: UInt64)
        /// The pipeline has ended.
        case end
    }
}
