// Keeps what each partition of one assignment is doing: waiting for its claim, active, fenced, or stopped.

import Backpressure
import Records

/// The partitions of one assignment, in order.
struct AssignedPartitions {
    private enum State {
        /// Its first claim has not been answered.
        case waiting
        /// It is read. `isPositionLost`: it is claimed again once nothing of it is under way.
        case active(slot: Int, generation: UInt64, isPositionLost: Bool)
        /// It is claimed again when `due`, if it was polled after `since`.
        case fenced(slot: Int, attempt: Int, since: UInt64, due: UInt64)
        case stopped(reason: String)
    }

    private struct Partition {
        var state = State.waiting
        /// How often it was fenced in this assignment.
        var fences = 0
    }

    let order: [TopicPartition]
    private var partitions: [TopicPartition: Partition]

    init(_ assigned: [TopicPartition] = []) {
        order = assigned.sorted()
        partitions = Dictionary(uniqueKeysWithValues: assigned.map { ($0, Partition()) })
    }

    // MARK: Questions

    /// The generation of an active partition.
    func generation(of source: TopicPartition) -> UInt64? {
        guard case .active(_, let generation, _)? = partitions[source]?.state else { return nil }
        return generation
    }

    /// The slot of an active partition.
    func slot(of source: TopicPartition) -> Int? {
        guard case .active(let slot, _, _)? = partitions[source]?.state else { return nil }
        return slot
    }

    func slotOfFenced(_ source: TopicPartition) -> Int? {
        guard case .fenced(let slot, _, _, _)? = partitions[source]?.state else { return nil }
        return slot
    }

    var waiting: [TopicPartition] {
        order.filter { if case .waiting? = partitions[$0]?.state { true } else { false } }
    }

    var lostPositions: [TopicPartition] {
        order.filter { if case .active(_, _, isPositionLost: true)? = partitions[$0]?.state { true } else { false } }
    }

    var stopped: [(source: TopicPartition, reason: String)] {
        order.compactMap { source in
            guard case .stopped(let reason)? = partitions[source]?.state else { return nil }
            return (source, reason)
        }
    }

    /// Fenced partitions that may be claimed again. Only after a poll has shown that they are still ours: a member that lost its
    /// partitions learns it from that poll.
    func claimDue(now: UInt64, lastPoll: UInt64) -> [TopicPartition] {
        order.filter {
            guard case .fenced(_, _, let since, let due)? = partitions[$0]?.state else { return false }
            return now >= due && lastPoll > since
        }
    }

    // MARK: Changes

    mutating func activate(_ source: TopicPartition, slot: Int, generation: UInt64) {
        partitions[source]?.state = .active(slot: slot, generation: generation, isPositionLost: false)
    }

    mutating func markPositionLost(_ source: TopicPartition) {
        guard case .active(let slot, let generation, _)? = partitions[source]?.state else { return }
        partitions[source]?.state = .active(slot: slot, generation: generation, isPositionLost: true)
    }

    /// Stops a partition. False where it is stopped already, or not in the assignment.
    mutating func stop(_ source: TopicPartition, reason: String) -> Bool {
        guard let state = partitions[source]?.state else { return false }
        if case .stopped = state { return false }
        partitions[source]?.state = .stopped(reason: reason)
        return true
    }

    /// Fences an active partition. Returns the slot and the generation it was active under; `nil` where it was not.
    mutating func fence(
        _ source: TopicPartition, by backoff: Backoff, now: UInt64, random: Double
    ) -> (slot: Int, generation: UInt64)? {
        guard var partition = partitions[source], case .active(let slot, let generation, _) = partition.state else { return nil }
        let due = now + backoff.delay(attempt: partition.fences, random: random)
        partition.state = .fenced(slot: slot, attempt: partition.fences, since: now, due: due)
        partition.fences += 1
        partitions[source] = partition
        return (slot, generation)
    }

    /// Puts off the next claim of a fenced partition. Returns for how long, nanoseconds; 0 where it is not fenced.
    mutating func postpone(_ source: TopicPartition, by backoff: Backoff, now: UInt64, random: Double) -> UInt64 {
        guard case .fenced(let slot, let attempt, let since, _)? = partitions[source]?.state else { return 0 }
        let wait = backoff.delay(attempt: attempt + 1, random: random)
        partitions[source]?.state = .fenced(slot: slot, attempt: attempt + 1, since: since, due: now + wait)
        return wait
    }
}
