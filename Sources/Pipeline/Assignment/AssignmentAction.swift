// Holds what the assignment machine tells its stage to do.

import Records

extension AssignmentMachine {
    /// What to do, in this order.
    enum Action: Equatable, Sendable {
        /// Claim partitions in the database and report under this number.
        case claim(claimRound: UInt64, [TopicPartition])
        /// Start reading these partitions, all credit accounts open.
        case begin([OffsetLedgerMachine.Entry])
        /// Answer the group although nothing is claimed yet.
        case assignNothing
        /// Continue with one partition that was claimed again.
        case restart(OffsetLedgerMachine.Entry)
        /// Read and write nothing more of a partition under this generation.
        case retract(TopicPartition, slot: Int, generation: UInt64)
        /// Stop reading, and report when the pipeline is empty.
        case drain
        /// Drop what is under way, commit the applied offsets where they are still ours, and give the partitions back.
        case release(commitsOffsets: Bool)
        /// A partition is stopped.
        case reportStopped(TopicPartition, reason: StopReason)
        /// Draining is over.
        case reportDrained(isComplete: Bool, nanoseconds: UInt64)
        /// Claiming failed and is tried again.
        case reportClaimFailed(reason: String, retryIn: UInt64)
        /// The pipeline has ended.
        case end
    }
}
