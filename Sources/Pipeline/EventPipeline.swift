// Wires the stages into one task group and answers what is going on in it.

public import Backpressure
public import Records
import Synchronization

/// The way from a log's partitions to a database: poll → decode → apply → commit, with credits flowing back.
///
/// All stages are children of the task that calls ``run()``; its cancellation, a stage's error and ``shutdown(within:)`` travel
/// through that one tree.
public final class EventPipeline: Sendable {
    let context: StageContext
    private let decoder: any RecordDecoder
    private let claimer: any OffsetClaimer
    private let appliers: [any BatchApplier]
    private let board = PublishedAssignment()
    private let control = PauseControl()

    /// - Parameters:
    ///   - pool: the credit accounts the source's reader asks; shared with it.
    ///   - appliers: one per lane.
    public init(
        configuration: PipelineConfiguration, source: any RecordSource, decoder: any RecordDecoder,
        claimer: any OffsetClaimer, appliers: [any BatchApplier], pool: CreditPool, clock: any PipelineClock,
        observer: any PipelineObserver
    ) {
        precondition(appliers.count == configuration.lanes, "a pipeline needs one applier per lane")
        context = StageContext(
            configuration: configuration, source: source, clock: clock, observer: observer, pool: pool)
        self.decoder = decoder
        self.claimer = claimer
        self.appliers = appliers
    }

    /// Runs until ``shutdown(within:)`` has drained the pipeline, or until it fails.
    ///
    /// - Throws: the source's error where it died, a stage's error, or `CancellationError`. Nothing is lost by any of them: what is
    ///   not durable is read again from the offsets in the database.
    public func run() async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            let context = self.context
            // A record is on its way through three threads: the reader's, its lane's, and the database's.
            group.addStage(on: context.source.executor) {
                try await PollStage(context: context).run()
                return false
            }
            group.addStage(on: context.source.executor) { [decoder] in
                try await DecodeStage(context: context, decoder: decoder).run()
                return false
            }
            for (lane, applier) in appliers.enumerated() {
                group.addStage(on: applier.executor) {
                    try await ApplyStage(context: context, lane: lane, applier: applier).run()
                    return false
                }
            }
            group.addTask {
                try await CommitStage(context: context).run()
                return false
            }
            group.addTask {
                try await CommitStage(context: context).commitOffsets()
                return false
            }
            group.addTask {
                try await LagStage(context: context).run()
                return false
            }
            group.addTask { [surroundings] in
                try await WatchStage(context: context, surroundings: surroundings).run()
                return false
            }
            group.addTask { [tick = context.configuration.tick] in
                while true {
                    try await context.clock.sleep(until: context.clock.now + tick)
                    try await context.inbox.send(.tick)
                }
            }
            group.addTask { [claimer, board, control] in
                try await AssignmentStage(context: context, claimer: claimer, board: board, control: control).run()
                return true
            }
            while let hasEnded = try await group.next() {
                guard hasEnded else { continue }
                group.cancelAll()
                // What the others throw from here on is the answer to this cancellation.
                while let result = await group.nextResult() {
                    if case .failure(let error) = result, !(error is CancellationError) { throw error }
                }
            }
        }
    }

    /// The lane a partition belongs to, whoever holds which others: neighbours of a topic on different lanes, topics of one partition
    /// spread by name (FNV-1a).
    public static func lane(of source: TopicPartition, among lanes: Int) -> Int {
        let hash = fnv1a(source.topic)
        return Int((hash &+ UInt64(source.partition)) % UInt64(lanes))
    }

    /// Asks the pipeline to stop reading, finish what is under way, commit the applied offsets to the group and end. ``run()`` returns when it has.
    /// - Parameter within: nanoseconds the drain may take; what is not durable by then is read again next time.
    public func shutdown(within: UInt64) async throws {
        try await context.inbox.send(.shutdown(deadline: context.clock.now + within))
    }

    /// Puts another configuration in force while the pipeline runs. Credits under way stay counted; waits that have begun end as they
    /// were begun. The number of lanes cannot change.
    /// - Throws: `CancellationError`.
    public func reconfigure(_ configuration: PipelineConfiguration) async throws {
        precondition(configuration.lanes == appliers.count, "the number of lanes is fixed for the life of a pipeline")
        context.swap(configuration)
        context.circuit.withLock { $0.thresholdChanged(to: configuration.circuitThreshold) }
        for lane in context.lanes { lane.resize(to: configuration.budget) }
        try await context.inbox.send(.reconfigured)
    }

    /// Tells the pipeline all that operators have paused; it replaces what was said before and holds over rebalances. Said before a
    /// claim is answered, it counts before the first record is read.
    public func operatorDecided(_ pauses: OperatorPauses) async throws { try await context.inbox.send(.operatorPauses(pauses)) }

    /// What the watchdog sees of the assignment.
    private var surroundings: @Sendable () -> PipelineWatch.Surroundings {
        { [board, control] in
            PipelineWatch.Surroundings(board: board, pausedByOperator: Set(control.pausedByOperator.keys))
        }
    }

    /// What is going on, without stopping a stage.
    public func snapshot() -> PipelineSnapshot {
        let pausedByOperator = control.pausedByOperator
        let stopped = board.stopped
        let level = context.pool.level()
        let look = context.watch.look(at: context)
        return PipelineSnapshot(
            summary: board.summary,
            stopped: stopped.map { PipelineSnapshot.Stopped(source: $0.source, reason: $0.reason) },
            paused: board.paused.union(pausedByOperator.keys),
            pausedByOperator: pausedByOperator,
            positions: look.positions, lags: look.lags, rates: look.rates, stall: look.stall,
            laneBusySeconds: look.laneBusySeconds, pollAgeSeconds: look.pollAgeSeconds,
            circuit: context.circuit.withLock { $0.state },
            freeCredits: level.free, totalCredits: level.total,
            decodeQueue: context.decode.level,
            laneQueues: zip(context.lanes, context.waiting).map { $0.level + $1.value },
            wallMilliseconds: look.wallMilliseconds)
    }
}

extension ThrowingTaskGroup<Bool, any Error> {
    /// Adds a stage where its port wants it. Without a wish it runs where the group does: `nil` as a preference would send it to Swift's
    /// own threads instead.
    fileprivate mutating func addStage(
        on executor: (any TaskExecutor)?, _ operation: sending @escaping @isolated(any) () async throws -> Bool
    ) {
        if let executor {
            addTask(executorPreference: executor, operation: operation)
        } else {
            addTask(operation: operation)
        }
    }
}

/// The state of a pipeline at one moment.
public struct PipelineSnapshot: Sendable {
    /// A partition that is out of service.
    public struct Stopped: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Why, and what helps.
        public let reason: String
    }

    /// How far a partition is behind in time.
    public struct Lag: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// Age of the oldest unapplied record, as ``LagMachine`` knows it; 0 where the partition is caught up, `nil` where its end is
        /// not known.
        public let seconds: Double?
        /// How long ago its end was answered last; where it never was, since it was first asked for.
        public let answerAgeSeconds: Double
    }

    /// How fast all partitions together move, as ``DrainRateMachine`` measures it.
    public struct Rates: Sendable, Equatable {
        /// Records applied a second.
        public let drain: Double
        /// Offsets by which the logs grow a second.
        public let arrival: Double
        /// Until all is applied, if all goes on like this: 0 where it is, infinity where nothing drains or more arrives; `nil` where a
        /// partition's end is not known, or there is none.
        public let secondsToDrain: Double?
    }

    /// The worker has something to do and does not move.
    public struct Stall: Sendable, Equatable {
        /// What holds it up.
        public let reason: StallReason
        /// For how long.
        public let seconds: Double
    }

    /// A few words for health.
    public let summary: String
    /// Partitions out of service.
    public let stopped: [Stopped]
    /// Partitions that are not fetched: their second brake is pulled, or an operator has paused them.
    public let paused: Set<TopicPartition>
    /// Those that an operator has paused, with the reason.
    public let pausedByOperator: [TopicPartition: String]
    /// The ledger's positions.
    public let positions: [OffsetLedgerMachine.Position]
    /// How far each is behind in time, in the order of ``positions``.
    public let lags: [Lag]
    /// How fast they move.
    public let rates: Rates
    /// The present stall.
    public let stall: Stall?
    /// For how long each lane has had its present work in hand, retries included; `nil`: it has none.
    public let laneBusySeconds: [Double?]
    /// How long ago the member last polled.
    public let pollAgeSeconds: Double
    /// The circuit to the database.
    public let circuit: CircuitBreakerMachine.State
    /// Credits that are free, over all partitions; negative: a debt.
    public let freeCredits: Credits
    /// Credits there are, over all partitions.
    public let totalCredits: Credits
    /// What lies before the decoder.
    public let decodeQueue: Credits
    /// What lies before each lane.
    public let laneQueues: [Credits]
    /// When the snapshot was taken, milliseconds since 1970.
    public let wallMilliseconds: Int64
}
