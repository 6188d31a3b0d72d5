// Keeps what each partition of one assignment is doing: waiting for its claim, active, fenced, or stopped.

import Backpressure
import Records

/// The partitions of one assignment, in order.
struct AssignedPartitions {
    /// A claim that succeeded; see ``ClaimResult``.
    struct Claim {
        let epoch: Int64
        let offset: Int64
        let lastApplied: Int64?
    }

    private enum State {
        /// It has not been claimed in this assignment. It is claimed again when `due`, if it was polled after `since`.
        case unclaimed(reason: String?, attempt: Int, since: UInt64, due: UInt64)
        /// It is claimed, and the source has not been given its assignment yet.
        case claimed(Claim)
        /// It is read. `isPositionLost`: it is claimed again once nothing of it is under way.
        case active(generation: UInt64, isPositionLost: Bool)
        /// It is claimed again when `due`, if it was polled after `since`.
        case fenced(attempt: Int, since: UInt64, due: UInt64)
        /// It is claimed again when `due`, if it was polled after `since`; `nil`: only when an operator asks for it.
        case stopped(StopReason, since: UInt64, due: UInt64?)
    }

    private struct Partition {
        var state = State.unclaimed(reason: nil, attempt: 0, since: 0, due: 0)
        /// Its place in the source's assignment; `nil` until the source has been given one.
        var slot: Int?
        /// A claim is under way. An active partition has none: its owner must not fence itself.
        var isClaiming = false
        /// The log did not hold its position: the next claim asks for the log's bounds.
        var checksBounds = false
        /// See ``ClaimRequest/mismatch``.
        var mismatch: Int64?
        /// Why its last claim failed, while it is fenced.
        var claimFailure: String?
        /// How often it was fenced, or stopped for a passing reason, without having applied anything since the claim before.
        var setbacks = 0
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
        guard case .active(let generation, _)? = partitions[source]?.state else { return nil }
        return generation
    }

    /// The place of a partition in the source's assignment.
    func slot(of source: TopicPartition) -> Int? { partitions[source]?.slot }

    func isStopped(_ source: TopicPartition) -> Bool {
        if case .stopped? = partitions[source]?.state { true } else { false }
    }

    var lostPositions: [TopicPartition] {
        order.filter { if case .active(_, isPositionLost: true)? = partitions[$0]?.state { true } else { false } }
    }

    var stopped: [(source: TopicPartition, reason: StopReason)] {
        order.compactMap { source in
            guard case .stopped(let reason, _, _)? = partitions[source]?.state else { return nil }
            return (source, reason)
        }
    }

    /// Partitions that have not been claimed in this assignment, with the reason of the last failure.
    var unclaimed: [(source: TopicPartition, reason: String?)] {
        order.compactMap { source in
            guard case .unclaimed(let reason, _, _, _)? = partitions[source]?.state else { return nil }
            return (source, reason)
        }
    }

    /// ``unclaimed``, and the partitions that cannot be claimed again after a fence or after their position was lost.
    var notClaimed: [(source: TopicPartition, reason: String?)] {
        order.compactMap { source in
            switch partitions[source]?.state {
            case .unclaimed(let reason, _, _, _)?: return (source, reason)
            case .fenced?: return partitions[source]?.claimFailure.map { (source, $0) }
            default: return nil
            }
        }
    }

    /// Partitions that were claimed before the source was given its assignment.
    var claimed: [(source: TopicPartition, claim: Claim)] {
        order.compactMap { source in
            guard case .claimed(let claim)? = partitions[source]?.state else { return nil }
            return (source, claim)
        }
    }

    /// Whether none was ever claimed.
    var isNoneClaimed: Bool {
        order.allSatisfy {
            switch partitions[$0]?.state {
            case .unclaimed?, .stopped?, nil: true
            case .claimed?, .active?, .fenced?: false
            }
        }
    }

    // MARK: Claims

    /// Takes the partitions that are to be claimed now. One that was claimed before, or tried, only after a poll has shown that it is
    /// still ours: a member that lost its partitions learns it from that poll.
    mutating func takeClaimsDue(now: UInt64, lastPoll: UInt64) -> [ClaimRequest] {
        order.compactMap { source in
            guard let partition = partitions[source], !partition.isClaiming else { return nil }
            switch partition.state {
            case .unclaimed(_, let attempt, let since, let due):
                guard now >= due, attempt == 0 || lastPoll > since else { return nil }
            case .fenced(_, let since, let due): guard now >= due, lastPoll > since else { return nil }
            case .stopped(_, let since, let due?): guard now >= due, lastPoll > since else { return nil }
            case .stopped, .claimed, .active: return nil
            }
            partitions[source]?.isClaiming = true
            return ClaimRequest(source: source, checksBounds: partition.checksBounds, mismatch: partition.mismatch)
        }
    }

    /// A claim was answered. False where none was under way.
    mutating func claimAnswered(_ source: TopicPartition) -> Bool {
        guard partitions[source]?.isClaiming == true else { return false }
        partitions[source]?.isClaiming = false
        return true
    }

    /// The partition is claimed; reading begins with the others.
    mutating func claimSucceeded(_ source: TopicPartition, _ claim: Claim) {
        partitions[source]?.state = .claimed(claim)
        positionFound(source)
    }

    /// Puts off the next claim of a partition that was not claimed. Returns for how long, nanoseconds.
    mutating func postpone(
        _ source: TopicPartition, reason: String, by configuration: PipelineConfiguration, now: UInt64, random: Double
    ) -> UInt64 {
        let wait: UInt64
        switch partitions[source]?.state {
        case .unclaimed(_, let attempt, _, _)?:
            wait = configuration.retry.delay(attempt: attempt, random: random)
            partitions[source]?.state = .unclaimed(reason: reason, attempt: attempt + 1, since: now, due: now + wait)
        case .fenced(let attempt, let since, _)?:
            wait = configuration.reclaim.delay(attempt: attempt + 1, random: random)
            partitions[source]?.state = .fenced(attempt: attempt + 1, since: since, due: now + wait)
            partitions[source]?.claimFailure = reason
        case .stopped(let reason, _, _)?:
            wait = stopWait(source, reason, by: configuration, random: random) ?? configuration.recheckInterval
            partitions[source]?.state = .stopped(reason, since: now, due: now + wait)
        case .claimed?, .active?, nil:
            wait = 0
        }
        return wait
    }

    // MARK: Changes

    /// The source is given its assignment: those that are claimed come first, in order, and become active; the others have their places
    /// behind them.
    mutating func begin(generation: UInt64) {
        let claimed = self.claimed.map(\.source)
        for (slot, source) in claimed.enumerated() {
            partitions[source]?.slot = slot
            partitions[source]?.state = .active(generation: generation, isPositionLost: false)
        }
        for (index, source) in order.filter({ partitions[$0]?.slot == nil }).enumerated() {
            partitions[source]?.slot = claimed.count + index
        }
    }

    mutating func activate(_ source: TopicPartition, generation: UInt64) {
        partitions[source]?.state = .active(generation: generation, isPositionLost: false)
        positionFound(source)
    }

    private mutating func positionFound(_ source: TopicPartition) {
        partitions[source]?.checksBounds = false
        partitions[source]?.mismatch = nil
        partitions[source]?.claimFailure = nil
    }

    /// The log does not hold the position of a partition, or is another one.
    mutating func positionLost(_ source: TopicPartition, mismatch: Int64?) {
        partitions[source]?.checksBounds = true
        if let mismatch { partitions[source]?.mismatch = mismatch }
        guard case .active(let generation, _)? = partitions[source]?.state else { return }
        partitions[source]?.state = .active(generation: generation, isPositionLost: true)
    }

    /// Stops a partition, or keeps it stopped. False where it was stopped for this reason already, or is not in the assignment.
    /// - Parameter hasProgressed: something was applied since it was claimed, so the back-off begins anew.
    mutating func stop(
        _ source: TopicPartition, reason: StopReason, hasProgressed: Bool, by configuration: PipelineConfiguration, now: UInt64,
        random: Double
    ) -> Bool {
        guard let partition = partitions[source] else { return false }
        if hasProgressed { partitions[source]?.setbacks = 0 }
        let wait = stopWait(source, reason, by: configuration, random: random)
        partitions[source]?.state = .stopped(reason, since: now, due: wait.map { now + $0 })
        if case .stopped(let known, _, _) = partition.state { return known != reason }
        return true
    }

    /// How long a stopped partition waits for its next claim, nanoseconds; `nil`: until an operator asks for it.
    private mutating func stopWait(
        _ source: TopicPartition, _ reason: StopReason, by configuration: PipelineConfiguration, random: Double
    ) -> UInt64? {
        guard reason.isPassing else { return reason.isRechecked ? configuration.recheckInterval : nil }
        defer { partitions[source]?.setbacks += 1 }
        let wait = configuration.reclaim.delay(attempt: partitions[source]?.setbacks ?? 0, random: random)
        return Swift.min(wait, configuration.recheckInterval)
    }

    /// An operator asks for a stopped partition to be claimed again.
    mutating func recheck(_ source: TopicPartition, due: UInt64) {
        guard case .stopped(let reason, let since, _)? = partitions[source]?.state else { return }
        partitions[source]?.state = .stopped(reason, since: since, due: due)
    }

    /// Fences an active partition. Returns whether it was active.
    /// - Parameter hasProgressed: something was applied since it was claimed, so the back-off begins anew.
    mutating func fence(
        _ source: TopicPartition, hasProgressed: Bool, by backoff: Backoff, now: UInt64, random: Double
    ) -> Bool {
        guard var partition = partitions[source], case .active = partition.state else { return false }
        if hasProgressed { partition.setbacks = 0 }
        let due = now + backoff.delay(attempt: partition.setbacks, random: random)
        partition.state = .fenced(attempt: partition.setbacks, since: now, due: due)
        partition.setbacks += 1
        partitions[source] = partition
        return true
    }

    /// Puts an active partition aside until `due`, as if it were fenced, without counting it. Returns whether it was active.
    mutating func wait(_ source: TopicPartition, since now: UInt64, due: UInt64) -> Bool {
        guard case .active? = partitions[source]?.state else { return false }
        partitions[source]?.state = .fenced(attempt: 0, since: now, due: due)
        return true
    }
}
