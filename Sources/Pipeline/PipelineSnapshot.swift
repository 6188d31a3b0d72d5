// Holds the state of a pipeline at one moment.

public import Backpressure
public import Records

/// The state of a pipeline at one moment.
public struct PipelineSnapshot: Sendable {
    /// A partition that is stopped: not read until something changes.
    public struct Stopped: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// The reason and the remedy.
        public let reason: StopReason
    }

    /// A partition that has not been claimed in this assignment, and is tried again.
    public struct Unclaimed: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Why the last try failed; `nil`: the first one is under way.
        public let reason: String?
    }

    /// The lag of a partition in time.
    public struct Lag: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Age of the oldest unapplied record, as ``LagMachine`` knows it; 0 where the partition is caught up, `nil` where its end is
        /// not known.
        public let seconds: Double?
        /// Time since its end was last answered; where it never was, since it was first requested.
        public let answerAgeSeconds: Double
    }

    /// How fast all partitions together progress, as ``DrainRateMachine`` measures it.
    public struct Rates: Sendable, Equatable {
        /// Records applied per second.
        public let drain: Double
        /// Offsets by which the logs grow per second.
        public let arrival: Double
        /// Time until everything is applied at these rates: 0 where it is, infinity where nothing drains or more arrives; `nil` where
        /// a partition's end is not known, or there is none.
        public let secondsToDrain: Double?
    }

    /// The worker has records to apply and does not progress.
    public struct Stall: Sendable, Equatable {
        /// Why.
        public let reason: StallReason
        /// For how long it has.
        public let seconds: Double
    }

    /// What the member is doing.
    public let state: AssignmentState
    /// The same in words, for health.
    public var summary: String { state.rawValue }
    /// Stopped partitions.
    public let stopped: [Stopped]
    /// Partitions that are not read because they could not be claimed yet.
    public let unclaimed: [Unclaimed]
    /// Partitions that are not fetched: paused for lack of credits, or by an operator.
    public let paused: Set<TopicPartition>
    /// Those that an operator has paused, with the reason.
    public let pausedByOperator: [TopicPartition: String]
    /// The ledger's positions.
    public let positions: [OffsetLedgerMachine.Position]
    /// The lag of each in time, in the order of ``positions``.
    public let lags: [Lag]
    /// How fast they progress.
    public let rates: Rates
    /// The present stall.
    public let stall: Stall?
    /// For how long each lane has been at its present work, retries included; `nil`: it has none.
    public let laneBusySeconds: [Double?]
    /// Time since the member last polled.
    public let pollAgeSeconds: Double
    /// The circuit to the database.
    public let circuit: CircuitBreakerMachine.State
    /// Credits that are free, over all partitions; negative: a debt.
    public let freeCredits: Credits
    /// All credits, free or spent, over all partitions.
    public let totalCredits: Credits
    /// Records and bytes queued for the decoder.
    public let decodeQueue: Credits
    /// Records and bytes queued for each lane.
    public let laneQueues: [Credits]
    /// When the snapshot was taken, milliseconds since 1970.
    public let wallMilliseconds: Int64
}
