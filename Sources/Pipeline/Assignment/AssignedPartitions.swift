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
        /// It is claimed again when `due`; `nil`: only when an operator asks for it. It has no slot if it was never read.
        case stopped(StopReason, slot: Int?, due: UInt64?)
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

    /// The slot of a partition that is fenced or stopped.
    func slotOfInactive(_ source: TopicPartition) -> Int? {
        switch partitions[source]?.state {
        case .fenced(let slot, _, _, _)?: slot
        case .stopped(_, let slot, _)?: slot
        case .waiting?, .active?, nil: nil
        }
    }

    func isStopped(_ source: TopicPartition) -> Bool {
        if case .stopped? = partitions[source]?.state { true } else { false }
    }

    var lostPositions: [TopicPartition] {
        order.filter { if case .active(_, _, isPositionLost: true)? = partitions[$0]?.state { true } else { false } }
    }

    var stopped: [(source: TopicPartition, reason: StopReason)] {
        order.compactMap { source in
            guard case .stopped(let reason, _, _)? = partitions[source]?.state else { return nil }
            return (source, reason)
        }
    }

    /// All but those that only an operator starts again.
    var claimable: [TopicPartition] {
        order.filter { if case .stopped(_, _, due: nil)? = partitions[$0]?.state { false } else { true } }
    }

    /// Fenced and stopped partitions that may be claimed again. Fenced ones only after a poll has shown that they are still ours: a member
    /// that lost its partitions learns it from that poll.
    func claimDue(now: UInt64, lastPoll: UInt64) -> [TopicPartition] {
        order.filter {
            switch partitions[$0]?.state {
            case .fenced(_, _, let since, let due)?: now >= due && lastPoll > since
            case .stopped(_, _, let due?)?: now >= due
            case .stopped?, .waiting?, .active?, nil: false
            }
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

    /// Stops a partition, or keeps it stopped, until `due`. False where it was stopped for this reason already, or is not in the
    /// assignment.
    mutating func stop(_ source: TopicPartition, reason: StopReason, due: UInt64) -> Bool {
        let due = reason.isRechecked ? due : nil
        switch partitions[source]?.state {
        case .stopped(let known, let slot, _)?:
            partitions[source]?.state = .stopped(reason, slot: slot, due: due)
            return known != reason
        case .active(let slot, _, _)?, .fenced(let slot, _, _, _)?:
            partitions[source]?.state = .stopped(reason, slot: slot, due: due)
        case .waiting?:
            partitions[source]?.state = .stopped(reason, slot: nil, due: due)
        case nil: return false
        }
        return true
    }

    /// Puts off the next claim of a stopped partition, or asks for it now.
    mutating func recheck(_ source: TopicPartition, due: UInt64) {
        guard case .stopped(let reason, let slot, _)? = partitions[source]?.state else { return }
        partitions[source]?.state = .stopped(reason, slot: slot, due: due)
    }

    /// The slots are given out anew; a partition that stops now, or stays stopped, has none.
    mutating func forgetSlots() {
        for source in order {
            if case .stopped(let reason, _, let due)? = partitions[source]?.state {
                partitions[source]?.state = .stopped(reason, slot: nil, due: due)
            } else {
                partitions[source]?.state = .waiting
            }
        }
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

    /// Puts an active partition aside until `due`, as if it were fenced, without counting it. Returns its slot; `nil` where it is not
    /// active.
    mutating func wait(_ source: TopicPartition, since now: UInt64, due: UInt64) -> Int? {
        guard case .active(let slot, _, _)? = partitions[source]?.state else { return nil }
        partitions[source]?.state = .fenced(slot: slot, attempt: 0, since: now, due: due)
        return slot
    }

    /// Puts off the next claim of a fenced partition. Returns for how long, nanoseconds; 0 where it is not fenced.
    mutating func postpone(_ source: TopicPartition, by backoff: Backoff, now: UInt64, random: Double) -> UInt64 {
        guard case .fenced(let slot, let attempt, let since, _)? = partitions[source]?.state else { return 0 }
        let wait = backoff.delay(attempt: attempt + 1, random: random)
        partitions[source]?.state = .fenced(slot: slot, attempt: attempt + 1, since: since, due: now + wait)
        return wait
    }
}
