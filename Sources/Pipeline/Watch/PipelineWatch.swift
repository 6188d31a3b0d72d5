// Holds what is known about lag, rates and stalls behind one lock, and takes looks at the pipeline.

import Backpressure
import Records
import Synchronization

/// The machines that watch a pipeline. The lag stage and the lanes report to them; whoever looks, a scrape or the watch stage, makes
/// them see the pipeline as it is.
final class PipelineWatch: Sendable {
    private struct State: ~Copyable {
        var lag = LagMachine()
        var drain = DrainRateMachine()
        var stall = StallMachine()
        /// Since when each lane has had work in hand, monotonic nanoseconds.
        var busySince: [UInt64?]
        var records = 0
        /// The last question for ends that the brokers answered; where none was, the first one. Monotonic nanoseconds.
        var answered: UInt64?
    }

    /// What others may see of the assignment.
    struct Surroundings {
        let board: PublishedAssignment
        let pausedByOperator: Set<TopicPartition>
    }

    /// The pipeline at one moment, consistent in itself.
    struct Look {
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

    /// A lane has taken work; it has it in hand until ``laneIsFree(_:)``, however often it tries.
    func laneTookWork(_ lane: Int, now: UInt64) { state.withLock { $0.busySince[lane] = now } }

    func laneIsFree(_ lane: Int) { state.withLock { $0.busySince[lane] = nil } }

    /// So many records became durable.
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

    // MARK: Looks

    /// Looks at the pipeline. The ledger is read under the watch's own lock, so that no look sees less than an earlier one; nobody
    /// reports while holding the ledger.
    func look(at context: StageContext) -> Look {
        state.withLock { state in
            let positions = context.ledger.withLock { $0.positions }
            let now = context.clock.now
            let wall = context.clock.wallMilliseconds
            Self.count(positions, context, now: now, &state)
            let lags = positions.map { position in
                let age = state.lag.sampled(position, now: now, wallMilliseconds: wall)
                return PipelineSnapshot.Lag(
                    source: position.source, seconds: age.map { Double($0) / 1e9 },
                    answerAgeSeconds: Double(state.lag.answerAge(of: position.source, now: now)) / 1e9)
            }
            return Look(
                positions: positions, lags: lags, rates: Self.rates(positions, state.drain),
                stall: state.stall.stall.map {
                    PipelineSnapshot.Stall(reason: $0.reason, seconds: Self.seconds(since: $0.since, now: now))
                },
                laneBusySeconds: state.busySince.map { since in since.map { Self.seconds(since: $0, now: now) } },
                pollAgeSeconds: Self.seconds(since: context.source.lastPoll, now: now), wallMilliseconds: wall)
        }
    }

    /// Looks whether the pipeline stands still. Called by the watch stage at its tick, so that it is found without a scrape.
    func lookForStall(at context: StageContext, _ surroundings: Surroundings) -> StallMachine.Action {
        state.withLock { state in
            let positions = context.ledger.withLock { $0.positions }
            let now = context.clock.now
            let wall = context.clock.wallMilliseconds
            Self.count(positions, context, now: now, &state)
            // An age only grows: what is exact for a moment between two scrapes is kept.
            for position in positions { _ = state.lag.sampled(position, now: now, wallMilliseconds: wall) }
            let timeout = context.configuration.stallTimeout
            let limits = StallMachine.Limits(
                timeout: timeout, answers: Swift.max(3 * context.configuration.lagInterval, timeout / 3))
            return state.stall.checked(Self.facts(positions, context, surroundings, now: now, state), now: now, limits: limits)
        }
    }

    private static func count(
        _ positions: [OffsetLedgerMachine.Position], _ context: StageContext, now: UInt64, _ state: inout State
    ) {
        // Ends grow in steps of one interval; a window that holds some of them is smooth enough.
        let window = Swift.max(12_000_000_000, 4 * context.configuration.lagInterval)
        state.drain.sampled(positions, records: state.records, now: now, window: window)
    }

    private static func rates(
        _ positions: [OffsetLedgerMachine.Position], _ drain: borrowing DrainRateMachine
    ) -> PipelineSnapshot.Rates {
        let backlogs = positions.compactMap(\.backlog)
        let isKnown = !positions.isEmpty && backlogs.count == positions.count
        return PipelineSnapshot.Rates(
            drain: drain.drainRate, arrival: drain.arrivalRate,
            secondsToDrain: isKnown ? drain.secondsToDrain(backlogs.reduce(0, +)) : nil)
    }

    private static func facts(
        _ positions: [OffsetLedgerMachine.Position], _ context: StageContext, _ surroundings: Surroundings, now: UInt64,
        _ state: borrowing State
    ) -> StallMachine.Facts {
        var facts = StallMachine.Facts()
        let summary = surroundings.board.summary
        facts.isClaiming = summary == AssignmentMachine.claimingSummary
        facts.isDraining = summary == AssignmentMachine.drainingSummary
        facts.isCircuitClosed = context.circuit.withLock { $0.state } == .closed
        let lastPoll = context.source.lastPoll
        facts.pollAge = now > lastPoll ? now - lastPoll : 0
        facts.silence = state.answered.map { now > $0 ? now - $0 : 0 } ?? 0
        var stopped = Set(surroundings.board.stopped.map(\.source))
        for position in positions {
            var partition = StallMachine.Partition(position.source, applied: position.applied, backlog: position.backlog)
            partition.isUnderWay = position.outstanding.records > 0
            partition.isStopped = stopped.remove(position.source) != nil
            partition.isFenced = !position.isValid
            partition.isPausedByOperator = surroundings.pausedByOperator.contains(position.source)
            let level = context.pool.level(slot: position.entry.slot, generation: position.entry.generation)
            partition.hasCredits = level?.free.isPositive ?? false
            partition.isLaneBusy = state.busySince[position.entry.lane] != nil
            partition.answerAge = state.lag.answerAge(of: position.source, now: now)
            facts.partitions.append(partition)
        }
        // Out of service since its claim: the ledger does not know it.
        for source in stopped.sorted() {
            var partition = StallMachine.Partition(source, applied: nil, backlog: nil)
            partition.isStopped = true
            facts.partitions.append(partition)
        }
        return facts
    }

    private static func seconds(since: UInt64, now: UInt64) -> Double { now > since ? Double(now - since) / 1e9 : 0 }
}
