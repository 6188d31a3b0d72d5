// Holds the machines of lag, rates and stalls behind one lock, and samples the pipeline for them.

import Backpressure
import Records
import Synchronization

/// Watches a pipeline. The lag stage and the lanes report to it; a scrape of the metrics and the watch stage make it take a sample.
final class PipelineWatch: Sendable {
    private struct State: ~Copyable {
        var lag = LagMachine()
        var drain = DrainRateMachine()
        var stall = StallMachine()
        /// Since when each lane has been at its present work, monotonic nanoseconds.
        var busySince: [UInt64?]
        var records = 0
        /// When the brokers last answered a question for ends; where they never did, when it was first asked. Monotonic nanoseconds.
        var answered: UInt64?
    }

    /// The pipeline at one moment, consistent in itself.
    struct Sample {
        let positions: [OffsetLedgerMachine.Position]
        let lags: [PipelineSnapshot.Lag]
        let rates: PipelineSnapshot.Rates
        let stall: PipelineSnapshot.Stall?
        let laneBusySeconds: [Double?]
        let pollAgeSeconds: Double
        let wallMilliseconds: Int64
    }

    private let state: Mutex<State>

    init(lanes: Int) { state = Mutex(State(busySince: Array(repeating: nil, count: lanes))) }

    // MARK: Reports

    /// A lane has taken work; it is at it until ``laneIsFree(_:)``, retries included.
    func laneTookWork(_ lane: Int, now: UInt64) { state.withLock { $0.busySince[lane] = now } }

    func laneIsFree(_ lane: Int) { state.withLock { $0.busySince[lane] = nil } }

    /// Records became durable.
    func applied(records: Int) { state.withLock { $0.records += records } }

    func endsAsked(_ sources: [TopicPartition], now: UInt64) {
        state.withLock { state in
            state.lag.asked(sources, now: now)
            if state.answered == nil { state.answered = now }
        }
    }

    func endsRead(_ ends: [TopicPartition: Int64], now: UInt64) {
        state.withLock { state in
            for (source, end) in ends { state.lag.endRead(source, end: end, now: now) }
            state.answered = now
        }
    }

    // MARK: Samples

    /// Samples the pipeline. The ledger is read under this lock, so that no sample is older than an earlier one; no caller reports while
    /// it holds the ledger.
    func sample(_ context: StageContext) -> Sample {
        state.withLock { state in
            let positions = context.ledger.withLock { $0.positions }
            let now = context.clock.now
            let wall = context.clock.wallMilliseconds
            let ages = Self.update(&state, positions, context, now: now, wall: wall)
            let lags = zip(positions, ages).map { position, age in
                PipelineSnapshot.Lag(
                    source: position.source, seconds: age.map { Double($0) / 1e9 },
                    answerAgeSeconds: Double(state.lag.answerAge(of: position.source, now: now)) / 1e9)
            }
            return Sample(
                positions: positions, lags: lags, rates: state.drain.rates(backlogs: positions.map(\.backlog)),
                stall: state.stall.stall.map {
                    PipelineSnapshot.Stall(reason: $0.reason, seconds: Self.seconds(since: $0.since, now: now))
                },
                laneBusySeconds: state.busySince.map { since in since.map { Self.seconds(since: $0, now: now) } },
                pollAgeSeconds: Self.seconds(since: context.source.lastPoll, now: now), wallMilliseconds: wall)
        }
    }

    /// Checks whether the pipeline is stalled. Called by the watch stage at its tick, so that a stall is found without a scrape.
    func checkStall(_ context: StageContext) -> StallMachine.Action {
        state.withLock { state in
            let positions = context.ledger.withLock { $0.positions }
            let now = context.clock.now
            // An age only grows: one that is exact only for a moment between two scrapes is kept.
            _ = Self.update(&state, positions, context, now: now, wall: context.clock.wallMilliseconds)
            let timeout = context.configuration.stallTimeout
            let limits = StallMachine.Limits(
                timeout: timeout, answers: Swift.max(3 * context.configuration.lagInterval, timeout / 3))
            return state.stall.checked(Self.inputs(positions, context, now: now, state), now: now, limits: limits)
        }
    }

    /// Updates rates and lag. Returns the age of each partition's oldest unapplied record, nanoseconds.
    private static func update(
        _ state: inout State, _ positions: [OffsetLedgerMachine.Position], _ context: StageContext, now: UInt64, wall: Int64
    ) -> [UInt64?] {
        let samples = positions.map(\.sample)
        // Ends grow in steps of one interval; a window that holds some of them is smooth enough.
        let window = Swift.max(12_000_000_000, 4 * context.configuration.lagInterval)
        state.drain.sampled(samples, records: state.records, now: now, window: window)
        var ages: [UInt64?] = []
        for sample in samples { ages.append(state.lag.sampled(sample, now: now, wallMilliseconds: wall)) }
        return ages
    }

    private static func inputs(
        _ positions: [OffsetLedgerMachine.Position], _ context: StageContext, now: UInt64, _ state: borrowing State
    ) -> StallMachine.Inputs {
        var inputs = StallMachine.Inputs()
        let assignment = context.assignment.withLock { $0 }
        let pausedByOperator = context.pauses.pausedByOperator
        inputs.isClaiming = assignment.state == .claiming
        inputs.isDraining = assignment.state == .draining
        inputs.isCircuitClosed = context.circuit.withLock { $0.state } == .closed
        let lastPoll = context.source.lastPoll
        inputs.pollAge = now > lastPoll ? now - lastPoll : 0
        inputs.silence = state.answered.map { now > $0 ? now - $0 : 0 } ?? 0
        var stopped = Set(assignment.stopped.map(\.source))
        for position in positions {
            var partition = StallMachine.Partition(position.source, applied: position.applied, backlog: position.backlog)
            partition.isUnderWay = position.outstanding.records > 0
            partition.isStopped = stopped.remove(position.source) != nil
            partition.isFenced = !position.isValid
            partition.waitsForTransaction = position.waitsForTransaction
            partition.isPausedByOperator = pausedByOperator[position.source] != nil
            let level = context.pool.level(slot: position.entry.slot, generation: position.entry.generation)
            partition.hasCredits = level?.free.isPositive ?? false
            partition.isLaneBusy = state.busySince[position.entry.lane] != nil
            partition.answerAge = state.lag.answerAge(of: position.source, now: now)
            inputs.partitions.append(partition)
        }
        // Stopped by its claim: the ledger does not hold it.
        for source in stopped.sorted() {
            var partition = StallMachine.Partition(source, applied: nil, backlog: nil)
            partition.isStopped = true
            inputs.partitions.append(partition)
        }
        for unclaimed in assignment.unclaimed where unclaimed.reason != nil {
            var partition = StallMachine.Partition(unclaimed.source, applied: nil, backlog: nil)
            partition.isFenced = true
            inputs.partitions.append(partition)
        }
        return inputs
    }

    private static func seconds(since: UInt64, now: UInt64) -> Double { now > since ? Double(now - since) / 1e9 : 0 }
}
