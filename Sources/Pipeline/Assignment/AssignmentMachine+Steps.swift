// Performs the steps that several inputs of the assignment machine share.

import Backpressure
import Records

extension AssignmentMachine {
    mutating func begin(
        _ claiming: Claiming, _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        // All or nothing: a second assign for stragglers would throw away what was fetched for the first.
        guard claiming.inFlight.allSatisfy({ results[$0] != nil }) else {
            return claimFailed(
                claimRound: claimRound,
                reason: "the database answered for \(results.count) of \(claiming.inFlight.count) partitions", now: now,
                random: random)
        }
        var actions: [Action] = []
        var entries: [OffsetLedgerMachine.Entry] = []
        generation += 1
        partitions.forgetSlots()
        for source in partitions.claimable {
            switch results[source] {
            case .claimed(let epoch, let offset)?:
                let slot = entries.count
                entries.append(entry(source, slot: slot, epoch: epoch, offset: offset))
                partitions.activate(source, slot: slot, generation: generation)
            case .held(let reason)?:
                actions += hold(source, reason, now: now)
            case nil:
                break
            }
        }
        phase = .running(inFlight: [])
        return actions + [.begin(entries)]
    }

    mutating func restart(
        _ inFlight: [TopicPartition], _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        // A partition that was never read is not in the source's assignment. It is made anew, with all but the stopped ones.
        if inFlight.contains(where: { source in
            guard case .claimed? = results[source] else { return false }
            return partitions.isStopped(source) && partitions.slotOfInactive(source) == nil
        }) {
            claimRound += 1
            let all = partitions.order.filter { !partitions.isStopped($0) || inFlight.contains($0) && results[$0] != nil }
            phase = .claiming(Claiming(wanted: all, inFlight: all))
            return [.claim(claimRound: claimRound, all)]
        }
        var actions: [Action] = []
        for source in inFlight {
            let slot = partitions.slotOfInactive(source)
            guard slot != nil || partitions.isStopped(source) else { continue }
            switch results[source] {
            case .claimed(let epoch, let offset)?:
                guard let slot else { continue }
                generation += 1
                partitions.activate(source, slot: slot, generation: generation)
                actions.append(.restart(entry(source, slot: slot, epoch: epoch, offset: offset)))
            case .held(let reason)?:
                actions += hold(source, reason, now: now)
            case nil:
                _ = postpone(source, now: now, random: random)
            }
        }
        phase = .running(inFlight: [])
        return actions
    }

    mutating func hold(_ source: TopicPartition, _ reason: StopReason, now: UInt64) -> [Action] {
        partitions.stop(source, reason: reason, due: now + configuration.recheckInterval)
            ? [.reportStopped(source, reason: reason)] : []
    }

    /// Puts off the next claim of a partition. Returns for how long.
    mutating func postpone(_ source: TopicPartition, now: UInt64, random: Double) -> UInt64 {
        guard partitions.isStopped(source) else {
            return partitions.postpone(source, by: configuration.reclaim, now: now, random: random)
        }
        partitions.recheck(source, due: now + configuration.recheckInterval)
        return configuration.recheckInterval
    }

    mutating func claimAgain(_ source: TopicPartition, now: UInt64, random: Double) -> [Action] {
        guard let (slot, generation) = partitions.fence(source, by: configuration.reclaim, now: now, random: random) else {
            return []
        }
        return [.retract(source, slot: slot, generation: generation)]
    }

    mutating func drain(
        until deadline: UInt64, isEnding: Bool, isDrained: Bool, now: UInt64
    ) -> [Action] {
        phase = .draining(Draining(since: now, deadline: deadline, isEnding: isEnding))
        return [.drain] + (isDrained ? drained(now: now) : [])
    }

    func entry(_ source: TopicPartition, slot: Int, epoch: Int64, offset: Int64) -> OffsetLedgerMachine.Entry {
        OffsetLedgerMachine.Entry(
            source: source, slot: slot, lane: EventPipeline.lane(of: source, among: configuration.lanes), generation: generation,
            epoch: epoch, offset: offset)
    }

    /// The pipeline ends with it where `isEnding`, or where it was draining for its end.
    mutating func release(commitsOffsets: Bool, isEnding: Bool = false) -> [Action] {
        var isEnding = isEnding
        if case .draining(let draining) = phase, draining.isEnding { isEnding = true }
        partitions = AssignedPartitions()
        phase = isEnding ? .ended : .idle
        return [.release(commitsOffsets: commitsOffsets)] + (isEnding ? [.end] : [])
    }
}
