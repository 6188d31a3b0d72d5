// Holds the pause machines of the assigned partitions, and what operators have paused, behind one lock.

import Records
import Synchronization

/// The assignment stage decides here; metrics and health read.
final class PauseControl: Sendable {
    /// One action on one partition.
    struct Step: Sendable, Equatable {
        let source: TopicPartition
        let slot: Int
        let generation: UInt64
        let action: PauseMachine.Action
    }

    /// A machine in a box, because dictionaries hold no non-copyable values.
    private final class Partition {
        let entry: OffsetLedgerMachine.Entry
        var machine = PauseMachine()

        init(_ entry: OffsetLedgerMachine.Entry) { self.entry = entry }
    }

    private struct State: ~Copyable {
        var pauses = OperatorPauses.none
        var partitions: [TopicPartition: Partition] = [:]
        /// The generations of partitions that were claimed again since the assignment.
        var generations: [TopicPartition: UInt64] = [:]

        func steps(_ partition: Partition, _ actions: [PauseMachine.Action]) -> [Step] {
            let entry = partition.entry
            return actions.map {
                Step(
                    source: entry.source, slot: entry.slot, generation: generations[entry.source] ?? entry.generation, action: $0)
            }
        }

        /// Every partition hears what the operators say of it, in order.
        func decided() -> [Step] {
            partitions.sorted { $0.key < $1.key }.flatMap { source, partition in
                steps(partition, partition.machine.operatorDecided(isPaused: pauses.reason(for: source) != nil))
            }
        }
    }

    private let state = Mutex(State())

    /// A new assignment, or none: an assign forgets pauses. Answers what keeps the paused ones from being read.
    func assigned(_ entries: [OffsetLedgerMachine.Entry]) -> [Step] {
        state.withLock { state in
            state.generations = [:]
            state.partitions = Dictionary(uniqueKeysWithValues: entries.map { ($0.source, Partition($0)) })
            return state.decided()
        }
    }

    /// What operators have paused became known.
    func operatorDecided(_ pauses: OperatorPauses) -> [Step] {
        state.withLock { state in
            state.pauses = pauses
            return state.decided()
        }
    }

    /// A second brake moved.
    func brakeMoved(_ source: TopicPartition, isPulled: Bool) -> [Step] {
        state.withLock { state in
            guard let partition = state.partitions[source] else { return [] }
            return state.steps(partition, partition.machine.brakeMoved(isPulled: isPulled))
        }
    }

    /// A partition went out of service, or all of them; their gates have been shut.
    func retracted(_ source: TopicPartition? = nil) {
        state.withLock { state in
            for (known, partition) in state.partitions where source == nil || source == known { partition.machine.retracted() }
        }
    }

    /// A partition was claimed again. Answers whether the gate of its new account is open.
    func restarted(_ entry: OffsetLedgerMachine.Entry) -> Bool {
        state.withLock { state in
            guard let partition = state.partitions[entry.source] else { return true }
            state.generations[entry.source] = entry.generation
            return partition.machine.restarted()
        }
    }

    /// The assigned partitions that operators have paused, with their reasons.
    var pausedByOperator: [TopicPartition: String] {
        state.withLock { state in
            let pauses = state.pauses
            return Dictionary(
                uniqueKeysWithValues: state.partitions.keys.compactMap { source in
                    pauses.reason(for: source).map { (source, $0) }
                })
        }
    }
}
