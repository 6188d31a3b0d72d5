// Holds the pause state of the assigned partitions, and what operators have paused, behind one lock.

import Backpressure
import Records
import Synchronization

/// Pauses of all kinds: by operators, and for lack of credits. The assignment stage decides here; metrics and health read.
final class PauseController: Sendable {
    /// One action on one partition.
    struct Step: Sendable, Equatable {
        let source: TopicPartition
        let slot: Int
        let generation: UInt64
        let action: PauseMachine.Action
    }

    /// A partition was paused for lack of credits, or resumed.
    struct CreditPause: Sendable {
        let source: TopicPartition
        let isPaused: Bool
        /// The pause came too soon after a resume.
        let isFlap: Bool
        let steps: [Step]
    }

    /// All pause state of one partition; in a box, because dictionaries hold no non-copyable values.
    private final class Partition {
        /// As it was claimed last.
        var entry: OffsetLedgerMachine.Entry
        var decision: PauseDecisionMachine
        var machine = PauseMachine()

        init(_ entry: OffsetLedgerMachine.Entry, starvedSince: UInt64?) {
            self.entry = entry
            decision = PauseDecisionMachine(starvedSince: starvedSince)
        }

        func steps(_ actions: [PauseMachine.Action]) -> [Step] {
            actions.map { Step(source: entry.source, slot: entry.slot, generation: entry.generation, action: $0) }
        }
    }

    private struct State: ~Copyable {
        var pauses = OperatorPauses.none
        /// By topic and partition.
        var partitions: [Partition] = []
        /// Of the pipeline as a whole, over assignments.
        var starvation = StarvationMachine()

        func operatorDecided() -> [Step] {
            partitions.flatMap { partition in
                let isPaused = pauses.reason(for: partition.entry.source) != nil
                return partition.steps(partition.machine.operatorDecided(isPaused: isPaused))
            }
        }

        func partition(_ source: TopicPartition) -> Partition? { partitions.first { $0.entry.source == source } }
    }

    private let state = Mutex(State())

    /// A new assignment, or none. Its partitions start unpaused, for an assign forgets pauses, but starved where the pipeline as a
    /// whole is. Returns what keeps those that an operator has paused from being read.
    func assigned(_ entries: [OffsetLedgerMachine.Entry]) -> [Step] {
        state.withLock { state in
            let starvedSince = state.starvation.since
            state.partitions = entries.sorted { $0.source < $1.source }.map { Partition($0, starvedSince: starvedSince) }
            return state.operatorDecided()
        }
    }

    /// What operators have paused became known.
    func operatorDecided(_ pauses: OperatorPauses) -> [Step] {
        state.withLock { state in
            state.pauses = pauses
            return state.operatorDecided()
        }
    }

    /// Samples every partition's credits. Returns the partitions to pause or resume.
    func creditsSampled(
        _ pool: CreditPool, _ configuration: PipelineConfiguration, now: UInt64
    ) -> [CreditPause] {
        let limits = PauseDecisionMachine.Limits(
            dwell: configuration.pauseDwell, low: configuration.lowWatermark, high: configuration.highWatermark)
        return state.withLock { state in
            var changes: [CreditPause] = []
            let isTotalAvailable = pool.sampleTotal()
            var starved = 0
            for partition in state.partitions {
                let entry = partition.entry
                guard let sample = pool.sample(slot: entry.slot, generation: entry.generation) else { continue }
                let flaps = partition.decision.flaps
                let action = partition.decision.levelRead(
                    free: sample.free, total: sample.total, wasAvailable: isTotalAvailable && sample.wasAvailable, now: now,
                    limits: limits)
                if partition.decision.isStarved { starved += 1 }
                guard action != .none else { continue }
                let isPaused = action == .pause
                changes.append(
                    CreditPause(
                        source: entry.source, isPaused: isPaused, isFlap: partition.decision.flaps > flaps,
                        steps: partition.steps(partition.machine.creditsDecided(isPaused: isPaused))))
            }
            let isStarved = !isTotalAvailable || (starved > 0 && starved == state.partitions.count)
            state.starvation.levelRead(isStarved: isStarved, now: now)
            return changes
        }
    }

    /// The credit account of a partition was closed, or those of all: it is fenced, stopped or drained.
    func retracted(_ source: TopicPartition? = nil) {
        state.withLock { state in
            for partition in state.partitions where source == nil || source == partition.entry.source {
                partition.machine.retracted()
            }
        }
    }

    /// A partition was claimed again, or later than the others. Returns whether its new credit account is open, and the pause of one that
    /// begins while an operator pauses it.
    func restarted(_ entry: OffsetLedgerMachine.Entry) -> (isOpen: Bool, steps: [Step]) {
        state.withLock { state in
            if let partition = state.partition(entry.source) {
                partition.entry = entry
                return (partition.machine.restarted(), [])
            }
            let partition = Partition(entry, starvedSince: state.starvation.since)
            state.partitions.append(partition)
            state.partitions.sort { $0.entry.source < $1.entry.source }
            let isPaused = state.pauses.reason(for: entry.source) != nil
            let steps = partition.steps(partition.machine.operatorDecided(isPaused: isPaused))
            return (!isPaused, steps.filter { $0.action == .pause })
        }
    }

    /// The assigned partitions that are paused for lack of credits.
    var pausedForCredits: Set<TopicPartition> {
        state.withLock { state in Set(state.partitions.filter { $0.decision.isPaused }.map(\.entry.source)) }
    }

    /// The assigned partitions that operators have paused, with their reasons.
    var pausedByOperator: [TopicPartition: String] {
        state.withLock { state in
            var reasons: [TopicPartition: String] = [:]
            for partition in state.partitions {
                reasons[partition.entry.source] = state.pauses.reason(for: partition.entry.source)
            }
            return reasons
        }
    }
}
