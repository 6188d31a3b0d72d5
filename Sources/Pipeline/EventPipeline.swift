// Runs the stages in one task group, and shows their state.

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

    /// - Parameters:
    ///   - pool: the credit accounts that limit the source's reader; shared with it.
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
    /// - Throws: the source's error where it died, ``TooManyPartitions``, a stage's error, or `CancellationError`. No record is lost by any of them: what is
    ///   not durable is read again from the offsets in the database.
    public func run() async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            let context = self.context
            group.addStage(on: context.source.executor) { try await PollStage(context: context).run() }
            group.addStage(on: context.source.executor) { [decoder] in
                try await DecodeStage(context: context, decoder: decoder).run()
            }
            for (lane, applier) in appliers.enumerated() {
                group.addStage(on: applier.executor) {
                    try await ApplyStage(context: context, lane: lane, applier: applier).run()
                }
            }
            group.addStage { try await CommitStage(context: context).run() }
            group.addStage { try await CommitStage(context: context).commitOffsets() }
            group.addStage { try await LagStage(context: context).run() }
            group.addStage { try await WatchStage(context: context).run() }
            group.addStage { [tick = context.configuration.tick] in
                while true {
                    try await context.clock.sleep(until: context.clock.now + tick)
                    context.inbox.send(.tick)
                }
            }
            group.addTask { [claimer] in
                try await AssignmentStage(context: context, claimer: claimer).run()
                return true
            }
            while let hasEnded = try await group.next() {
                guard hasEnded else { continue }
                group.cancelAll()
                // From here on `CancellationError` is the answer of the other stages to this cancellation.
                while let result = await group.nextResult() {
                    if case .failure(let error) = result, !(error is CancellationError) { throw error }
                }
            }
        }
    }

    /// The lane a partition belongs to, whatever else is assigned: neighbours of a topic on different lanes, topics of one partition
    /// spread by name (FNV-1a).
    public static func lane(of source: TopicPartition, among lanes: Int) -> Int {
        let hash = fnv1a(source.topic)
        return Int((hash &+ UInt64(source.partition)) % UInt64(lanes))
    }

    /// Asks the pipeline to stop reading, finish what is under way, commit the applied offsets to the group and end. ``run()`` returns when it has.
    /// - Parameter within: nanoseconds the drain may take; what is not durable by then is read again after the next start.
    public func shutdown(within: UInt64) {
        context.inbox.send(.shutdown(deadline: context.clock.now + within))
    }

    /// Changes the configuration while the pipeline runs. Credits under way stay counted; waits that have begun keep their length.
    /// The number of lanes cannot change.
    public func reconfigure(_ configuration: PipelineConfiguration) {
        precondition(configuration.lanes == appliers.count, "the number of lanes is fixed for the life of a pipeline")
        context.swap(configuration)
        context.circuit.withLock { $0.thresholdChanged(to: configuration.circuitThreshold) }
        context.inbox.send(.reconfigured)
    }

    /// Replaces what operators have paused; it holds over rebalances. Called before a claim is answered, it takes effect before the
    /// first record is read.
    public func operatorDecided(_ pauses: OperatorPauses) { context.inbox.send(.operatorPauses(pauses)) }

    /// Claims stopped partitions again at once, whatever stopped them. Others are not touched.
    public func retry(_ partitions: [TopicPartition]) { context.inbox.send(.retryRequested(partitions)) }

    /// The state of the pipeline now, without stopping a stage.
    public func snapshot() -> PipelineSnapshot {
        let pausedByOperator = context.pauses.pausedByOperator
        let assignment = context.assignment.withLock { $0 }
        let level = context.pool.level()
        let sample = context.watch.sample(context)
        return PipelineSnapshot(
            state: assignment.state,
            stopped: assignment.stopped.map { PipelineSnapshot.Stopped(source: $0.source, reason: $0.reason) },
            unclaimed: assignment.unclaimed.map { PipelineSnapshot.Unclaimed(source: $0.source, reason: $0.reason) },
            paused: context.pauses.pausedForCredits.union(pausedByOperator.keys),
            pausedByOperator: pausedByOperator,
            positions: sample.positions, lags: sample.lags, rates: sample.rates, stall: sample.stall,
            laneBusySeconds: sample.laneBusySeconds, pollAgeSeconds: sample.pollAgeSeconds,
            circuit: context.circuit.withLock { $0.state },
            freeCredits: level.free, totalCredits: level.total,
            decodeQueue: context.decode.level,
            laneQueues: zip(context.lanes, context.waiting).map { $0.level + $1.value },
            wallMilliseconds: sample.wallMilliseconds)
    }
}

extension ThrowingTaskGroup<Bool, any Error> {
    /// Adds a stage, whose end does not end the pipeline, on its port's executor, or where the group runs if it has none: `nil` as a preference would send it to Swift's own
    /// threads instead.
    fileprivate mutating func addStage(
        on executor: (any TaskExecutor)? = nil, _ stage: @escaping @Sendable () async throws -> Void
    ) {
        let operation: @Sendable () async throws -> Bool = {
            try await stage()
            return false
        }
        if let executor {
            addTask(executorPreference: executor, operation: operation)
        } else {
            addTask(operation: operation)
        }
    }
}
