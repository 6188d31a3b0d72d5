// Performs the steps that several inputs of the assignment machine share.

import Backpressure
import Records

extension AssignmentMachine {
    /// Gives the source its assignment: once every partition is claimed or stopped, or when those that are claimed have waited long
    /// enough for the others.
    mutating func beginIfDue(now: UInt64) -> [Action] {
        guard case .claiming(var claiming) = phase else { return [] }
        let claimed = partitions.claimed
        if !partitions.unclaimed.isEmpty {
            if claiming.stragglersDue == nil, !claimed.isEmpty { claiming.stragglersDue = now + configuration.stragglerWait }
            phase = .claiming(claiming)
            guard now >= Swift.min(claiming.answerDue, claiming.stragglersDue ?? .max) else { return [] }
        }
        generation += 1
        partitions.begin(generation: generation)
        phase = .running
        let entries = claimed.enumerated().map { slot, claim in
            entry(claim.source, slot: slot, claim.claim)
        }
        let isClaimed = Set(claimed.map(\.source))
        return [.begin(generation: generation, entries, unclaimed: partitions.order.filter { !isClaimed.contains($0) })]
    }

    /// Claims what is due.
    mutating func claimsDue(now: UInt64, lastPoll: UInt64) -> [Action] {
        let due = partitions.takeClaimsDue(now: now, lastPoll: lastPoll)
        return due.isEmpty ? [] : [.claim(claimRound: claimRound, due)]
    }

    mutating func claimSucceeded(_ source: TopicPartition, _ claim: AssignedPartitions.Claim) -> [Action] {
        guard let slot = partitions.slot(of: source) else {
            partitions.claimSucceeded(source, claim)
            return []
        }
        generation += 1
        partitions.activate(source, generation: generation)
        return [.restart(entry(source, slot: slot, claim))]
    }

    mutating func hold(
        _ source: TopicPartition, _ reason: StopReason, hasProgressed: Bool = false, now: UInt64, random: Double
    ) -> [Action] {
        let isNew = partitions.stop(
            source, reason: reason, hasProgressed: hasProgressed, by: configuration, now: now, random: random)
        return isNew ? [.reportStopped(source, reason: reason)] : []
    }

    /// Claims an active partition again after a back-off.
    mutating func claimAgain(_ source: TopicPartition, hasProgressed: Bool, now: UInt64, random: Double) -> [Action] {
        guard let generation = partitions.generation(of: source),
            partitions.fence(source, hasProgressed: hasProgressed, by: configuration.reclaim, now: now, random: random)
        else { return [] }
        return retract(source, generation: generation)
    }

    func retract(_ source: TopicPartition, generation: UInt64) -> [Action] {
        partitions.slot(of: source).map { [.retract(source, slot: $0, generation: generation)] } ?? []
    }

    mutating func drain(
        until deadline: UInt64, isEnding: Bool, isDrained: Bool, now: UInt64
    ) -> [Action] {
        claimRound += 1
        phase = .draining(Draining(since: now, deadline: deadline, isEnding: isEnding))
        return [.drain] + (isDrained ? drained(now: now) : [])
    }

    /// Gives the partitions back after the drain. The group may wait meanwhile, and the offset commit is for lag tools only: it gets a
    /// second, and nothing beyond the drain's deadline, nor that of a revocation that comes now.
    mutating func finish(_ draining: Draining, isComplete: Bool, now: UInt64) -> [Action] {
        let wait = Swift.min(configuration.finalCommitTimeout, configuration.drainDeadline)
        let limit = Swift.min(now + wait, Swift.max(now, draining.deadline))
        return [.reportDrained(isComplete: isComplete, nanoseconds: now - draining.since)] + release(commitUntil: limit)
    }

    func entry(_ source: TopicPartition, slot: Int, _ claim: AssignedPartitions.Claim) -> OffsetLedgerMachine.Entry {
        OffsetLedgerMachine.Entry(
            source: source, slot: slot, lane: EventPipeline.lane(of: source, among: configuration.lanes), generation: generation,
            epoch: claim.epoch, offset: claim.offset, lastApplied: claim.lastApplied)
    }

    /// The pipeline ends with it where `isEnding`, or where it was draining for its end.
    mutating func release(commitUntil: UInt64? = nil, isEnding: Bool = false) -> [Action] {
        var isEnding = isEnding
        if case .draining(let draining) = phase, draining.isEnding { isEnding = true }
        claimRound += 1
        partitions = AssignedPartitions()
        phase = isEnding ? .ended : .idle
        return [.release(commitUntil: commitUntil)] + (isEnding ? [.end] : [])
    }
}
