// What others may see of the assignment, and the second brakes of its partitions.

import Backpressure
import Records
import Synchronization

/// The assignment stage writes here what metrics and health read.
final class PublishedAssignment: Sendable {
    private struct State: ~Copyable {
        var summary = "starting"
        var stopped: [(source: TopicPartition, reason: String)] = []
        var paused: Set<TopicPartition> = []
        var brakes: [TopicPartition: PauseDecisionState] = [:]
        /// The pipeline as a whole, over assignments.
        var starvation = StarvationMachine()
    }

    /// A brake machine in a box, because dictionaries hold no non-copyable values.
    private final class PauseDecisionState {
        var machine: PauseDecisionMachine
        init(starvedSince: UInt64?) { machine = PauseDecisionMachine(starvedSince: starvedSince) }
    }

    private let state = Mutex(State())

    /// A new assignment: its partitions start unpaused, for an assign forgets pauses, but starved where the pipeline as a whole is.
    func assigned(_ entries: [OffsetLedgerMachine.Entry]) {
        state.withLock { state in
            state.paused = []
            state.brakes = [:]
            for entry in entries { state.brakes[entry.source] = PauseDecisionState(starvedSince: state.starvation.since) }
        }
    }

    func update(summary: String, stopped: [(source: TopicPartition, reason: String)]) {
        state.withLock { state in
            state.summary = summary
            state.stopped = stopped
        }
    }

    var summary: String { state.withLock { $0.summary } }
    var stopped: [(source: TopicPartition, reason: String)] { state.withLock { $0.stopped } }
    var paused: Set<TopicPartition> { state.withLock { $0.paused } }

    /// Reads every account's level and answers the brakes that change, and whether a pause came too soon after a resume.
    func brakes(
        now: UInt64, pool: CreditPool, ledger: OffsetLedger, _ configuration: PipelineConfiguration
    ) -> [(entry: OffsetLedgerMachine.Entry, action: PauseDecisionMachine.Action, isFlap: Bool)] {
        let limits = PauseDecisionMachine.Limits(
            dwell: configuration.pauseDwell, low: configuration.lowWatermark, high: configuration.highWatermark)
        let entries = ledger.withLock { $0.entries }
        return state.withLock { state in
            var changed: [(entry: OffsetLedgerMachine.Entry, action: PauseDecisionMachine.Action, isFlap: Bool)] = []
            let wholeHadRoom = pool.roomOfWholeRead()
            var starved = 0
            for entry in entries {
                guard let level = pool.roomRead(slot: entry.slot, generation: entry.generation),
                    let brake = state.brakes[entry.source]
                else { continue }
                let flaps = brake.machine.flaps
                let action = brake.machine.levelRead(
                    free: level.free, total: level.total, hadRoom: wholeHadRoom && level.hadRoom, now: now, limits: limits)
                if brake.machine.isStarved { starved += 1 }
                guard action != .none else { continue }
                if brake.machine.isPaused { state.paused.insert(entry.source) } else { state.paused.remove(entry.source) }
                changed.append((entry, action, brake.machine.flaps > flaps))
            }
            state.starvation.levelRead(isStarved: !wholeHadRoom || (starved > 0 && starved == entries.count), now: now)
            return changed
        }
    }
}
