// Wires the stages into one task group and answers what is going on in it.

public import Backpressure
public import Records
import Synchronization

/// The way from a log's partitions to a database: poll → decode → apply → commit, with credits flowing back.
///
/// All stages are children of the task that calls ``run()``; its cancellation, a stage's error and ``shutdown(within:)`` travel
/// through that one tree.
public final class EventPipeline: Sendable {
    private let context: StageContext
    private let decoder: any RecordDecoder
    private let claimer: any OffsetClaimer
    private let appliers: [any BatchApplier]
    private let board = AssignmentBoard()

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
            group.addTask {
                try await PollStage(context: context).run()
                return false
            }
            group.addTask { [decoder] in
                try await DecodeStage(context: context, decoder: decoder).run()
                return false
            }
            for (lane, applier) in appliers.enumerated() {
                group.addTask {
                    try await ApplyStage(context: context, lane: lane, applier: applier).run()
                    return false
                }
            }
            group.addTask {
                try await CommitStage(context: context).run()
                return false
            }
            group.addTask {
                try await CommitStage(context: context).mirror()
                return false
            }
            group.addTask {
                try await LagStage(context: context).run()
                return false
            }
            group.addTask { [tick = context.configuration.tick] in
                while true {
                    try await context.clock.sleep(until: context.clock.now + tick)
                    try await context.inbox.send(.tick)
                }
            }
            group.addTask { [claimer, board] in
                try await AssignmentStage(context: context, claimer: claimer, board: board).run()
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
        let hash = source.topic.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return Int((hash &+ UInt64(source.partition)) % UInt64(lanes))
    }

    /// Asks the pipeline to stop reading, finish what is under way, mirror the frontier and end. ``run()`` returns when it has.
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

    /// What is going on, without stopping a stage.
    public func snapshot() -> PipelineSnapshot {
        let stopped = board.stopped
        let level = context.pool.level()
        return PipelineSnapshot(
            summary: board.summary,
            stopped: stopped.map { PipelineSnapshot.Stopped(source: $0.source, reason: $0.reason) },
            paused: board.paused,
            positions: context.ledger.withLock { $0.positions },
            circuit: context.circuit.withLock { $0.state },
            freeCredits: level.free, totalCredits: level.total,
            decodeQueue: context.decode.level,
            laneQueues: zip(context.lanes, context.waiting).map { $0.level + $1.value },
            wallMilliseconds: context.clock.wallMilliseconds)
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

    /// A few words for health.
    public let summary: String
    /// Partitions out of service.
    public let stopped: [Stopped]
    /// Partitions whose second brake is pulled.
    public let paused: Set<TopicPartition>
    /// The ledger's positions.
    public let positions: [OffsetLedgerMachine.Position]
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
