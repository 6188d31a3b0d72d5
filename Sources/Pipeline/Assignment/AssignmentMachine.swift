// Decides the life of an assignment: claim, run, fence, drain, give back, end.

import Backpressure
import Records

/// The life of the partitions that a member holds, as pure state. Time comes in as monotonic nanoseconds, commands go out as actions.
///
/// ```
///           assigned            some claimed, stragglers        revoked / shutdown           drained or deadline
///   idle ───────────▶ claiming ───────────────────▶ running ───────────────────▶ draining ──────────────────────▶ idle / ended
///                               waited for, or             │  ▲
///                               deadline                   ▼  │ claimed, after a back-off and a poll
///                                             unclaimed, fenced or stopped partition
/// ```
///
/// Partitions are claimed and tried again each by itself. The source's assignment holds all of them from the beginning: one that is
/// claimed later starts by a seek, so nothing else is claimed again.
struct AssignmentMachine: ~Copyable {
    enum Phase {
        case idle
        /// Nothing is read yet.
        case claiming(Claiming)
        case running
        case draining(Draining)
        case ended
    }

    struct Claiming {
        /// When the group must have an answer.
        let answerDue: UInt64
        /// When those that are claimed need not wait for the others any more; `nil`: none is claimed.
        var stragglersDue: UInt64?
    }

    struct Draining {
        let since: UInt64
        var deadline: UInt64
        /// The pipeline ends afterwards.
        var isEnding: Bool
    }

    var configuration: PipelineConfiguration
    var phase = Phase.idle
    /// Of the present assignment; none while idle and after the end.
    var partitions = AssignedPartitions()
    /// Of the present assignment; a claim of another one is not wanted any more.
    var claimRound: UInt64 = 0
    var generation: UInt64 = 0

    /// - Parameter configuration: deadlines and back-offs.
    init(configuration: PipelineConfiguration) { self.configuration = configuration }

    // MARK: Inputs

    /// Deadlines and back-offs were changed. A deadline that is running stays as it is.
    mutating func reconfigured(_ configuration: PipelineConfiguration) { self.configuration = configuration }

    /// The group gave partitions.
    mutating func assigned(_ assigned: [TopicPartition], now: UInt64) -> [Action] {
        if case .ended = phase { return [] }
        claimRound += 1
        partitions = AssignedPartitions(assigned)
        if case .draining = phase { return [.assignNothing] }
        guard !assigned.isEmpty else {
            phase = .running
            return [.assignNothing]
        }
        phase = .claiming(Claiming(answerDue: now + configuration.claimDeadline))
        return claimsDue(now: now, lastPoll: now)
    }

    /// A claim was answered for some of its partitions. Each is answered once.
    mutating func claimAnswered(
        claimRound: UInt64, _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        guard claimRound == self.claimRound else { return [] }
        switch phase {
        case .claiming, .running: break
        case .idle, .draining, .ended: return []
        }
        var actions: [Action] = []
        var failures: [(reason: String, sources: [TopicPartition], wait: UInt64)] = []
        for source in partitions.order {
            guard let result = results[source], partitions.claimAnswered(source) else { continue }
            switch result {
            case .claimed(let epoch, let offset, let last):
                actions += claimSucceeded(source, .init(epoch: epoch, offset: offset, lastApplied: last))
            case .held(let reason): actions += hold(source, reason, now: now, random: random)
            case .later(let reason):
                let wait = partitions.postpone(source, reason: reason, by: configuration, now: now, random: random)
                if let known = failures.firstIndex(where: { $0.reason == reason }) {
                    failures[known].sources.append(source)
                    failures[known].wait = Swift.max(failures[known].wait, wait)
                } else {
                    failures.append((reason, [source], wait))
                }
            }
        }
        actions += failures.map { .reportClaimFailed($0.sources, reason: $0.reason, retryIn: $0.wait) }
        return actions + beginIfDue(now: now)
    }

    /// The database refused a partition's write because its epoch is no longer ours.
    /// - Parameter hasProgressed: something was applied since it was claimed.
    mutating func fenced(
        _ source: TopicPartition, generation: UInt64, hasProgressed: Bool, now: UInt64, random: Double
    ) -> [Action] {
        guard partitions.generation(of: source) == generation else { return [] }
        return claimAgain(source, hasProgressed: hasProgressed, now: now, random: random)
    }

    /// The partition's next record waits for a row of another one, or for its decoder. It is claimed again after the wait.
    mutating func waits(_ source: TopicPartition, generation: UInt64, retryIn: UInt64, now: UInt64) -> [Action] {
        guard partitions.generation(of: source) == generation else { return [] }
        return partitions.wait(source, since: now, due: now + retryIn) ? retract(source, generation: generation) : []
    }

    /// The log does not hold the position of a partition. A claim decides where to continue, once what was read before is applied.
    /// - Parameters:
    ///   - mismatch: see ``ClaimRequest/mismatch``. Known until the next claim succeeds.
    ///   - isDrained: nothing of the partition is under way.
    mutating func positionLost(
        _ source: TopicPartition, mismatch: Int64? = nil, isDrained: Bool, hasProgressed: Bool, now: UInt64, random: Double
    ) -> [Action] {
        partitions.positionLost(source, mismatch: mismatch)
        return isDrained ? claimAgain(source, hasProgressed: hasProgressed, now: now, random: random) : []
    }

    /// A partition must not continue. It is claimed again after ``PipelineConfiguration/recheckInterval``, or sooner if the reason may
    /// pass: after the back-off of fences; see ``StopReason``.
    /// - Parameters:
    ///   - generation: the assignment under which that was found; `nil`: the present one.
    ///   - hasProgressed: something was applied since it was claimed.
    mutating func stopped(
        _ source: TopicPartition, generation: UInt64? = nil, reason: StopReason, hasProgressed: Bool, now: UInt64, random: Double
    ) -> [Action] {
        let active = partitions.generation(of: source)
        if let generation, generation != active { return [] }
        if partitions.isStopped(source) { return [] }
        let report = hold(source, reason, hasProgressed: hasProgressed, now: now, random: random)
        return (active.map { retract(source, generation: $0) } ?? []) + report
    }

    /// An operator asks for stopped partitions to be claimed again at once.
    mutating func retryRequested(_ sources: [TopicPartition], now: UInt64) {
        for source in sources { partitions.recheck(source, due: now) }
    }

    /// The group takes all partitions back.
    mutating func revoked(isLost: Bool, isDrained: Bool, now: UInt64) -> [Action] {
        let deadline = now + configuration.drainDeadline
        switch phase {
        case .ended:
            return []
        case .idle, .claiming:
            return release()
        case .running:
            if isLost { return release() }
            return drain(until: deadline, isEnding: false, isDrained: isDrained, now: now)
        case .draining(var draining):
            if isLost { return release() }
            // The group waits from now on: not for as long as the end of the process may take.
            draining.deadline = Swift.min(draining.deadline, deadline)
            phase = .draining(draining)
            return []
        }
    }

    /// The process was asked to end; work may take until `deadline` to finish.
    mutating func shutdownRequested(deadline: UInt64, isDrained: Bool, now: UInt64) -> [Action] {
        switch phase {
        case .ended:
            return []
        case .idle, .claiming:
            return release(isEnding: true)
        case .running:
            return drain(until: deadline, isEnding: true, isDrained: isDrained, now: now)
        case .draining(var draining):
            guard !draining.isEnding else { return [] }
            draining.isEnding = true
            draining.deadline = Swift.min(draining.deadline, deadline)
            phase = .draining(draining)
            return []
        }
    }

    /// Nothing is under way any more.
    mutating func drained(now: UInt64) -> [Action] {
        guard case .draining(let draining) = phase else { return [] }
        return finish(draining, isComplete: true, now: now)
    }

    /// The source died, or is too small for its partitions: nothing may be written.
    mutating func sourceFailed() -> [Action] {
        if case .ended = phase { return [] }
        return release(isEnding: true)
    }

    /// Time passed. `lastPoll`: when the source last proved alive in its group.
    mutating func ticked(now: UInt64, lastPoll: UInt64) -> [Action] {
        switch phase {
        case .claiming, .running:
            return beginIfDue(now: now) + claimsDue(now: now, lastPoll: lastPoll)
        case .draining(let draining) where now >= draining.deadline:
            return finish(draining, isComplete: false, now: now)
        case .idle, .draining, .ended:
            return []
        }
    }

    /// What the member is doing.
    var state: AssignmentState {
        switch phase {
        case .idle: .waiting
        case .claiming: .claiming
        case .running: partitions.isNoneClaimed && !partitions.unclaimed.isEmpty ? .claiming : .running
        case .draining: .draining
        case .ended: .ended
        }
    }

    /// Stopped partitions, with the reason.
    var stoppedPartitions: [(source: TopicPartition, reason: StopReason)] { partitions.stopped }

    /// Partitions that have not been claimed in this assignment, with the reason of the last failure.
    var unclaimedPartitions: [(source: TopicPartition, reason: String?)] { partitions.notClaimed }

    /// Partitions whose position is lost and of which something is still under way; when that is done, ``positionLost`` is due again.
    var lostPositions: [TopicPartition] { partitions.lostPositions }
}
