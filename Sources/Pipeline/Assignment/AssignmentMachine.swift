// Decides the life of an assignment: claim, run, fence, drain, give back, end.

import Backpressure
import Records

/// The life of the partitions that a member holds, as pure state. Time comes in as monotonic nanoseconds, commands go out as actions.
///
/// ```
///           assigned            claim succeeded              revoked / shutdown           drained or deadline
///   idle ───────────▶ claiming ────────────────▶ running ───────────────────▶ draining ──────────────────────▶ idle / ended
///                        │  ▲ failed: retry        │  ▲
///                        ▼  │ after back-off       ▼  │ claimed again after back-off and a poll
///               deadline: assign nothing,        fenced partition
///               continue claiming
/// ```
struct AssignmentMachine: ~Copyable {
    enum Phase {
        case idle
        case claiming(Claiming)
        /// `inFlight`: fenced and stopped partitions whose new claim is under way.
        case running(inFlight: [TopicPartition])
        case draining(Draining)
        case ended
    }

    /// A claim after which the source gets a new assignment: the first one, or one that a partition joins which was never read.
    struct Claiming {
        let wanted: [TopicPartition]
        /// Empty between a failure and the next try.
        var inFlight: [TopicPartition]
        var attempt = 0
        var retryDue: UInt64?
        /// When the group must have an answer; `nil`: it has one.
        var answerDue: UInt64?
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
            phase = .running(inFlight: [])
            return [.assignNothing]
        }
        phase = .claiming(
            Claiming(wanted: partitions.order, inFlight: partitions.order, answerDue: now + configuration.claimDeadline))
        return [.claim(claimRound: claimRound, partitions.order)]
    }

    /// A claim was answered.
    mutating func claimAnswered(
        claimRound: UInt64, _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        guard claimRound == self.claimRound else { return [] }
        switch phase {
        case .claiming(let claiming): return begin(claiming, results, now: now, random: random)
        case .running(let inFlight): return restart(inFlight, results, now: now, random: random)
        case .idle, .draining, .ended: return []
        }
    }

    /// A claim failed as a whole.
    mutating func claimFailed(claimRound: UInt64, reason: String, now: UInt64, random: Double) -> [Action] {
        guard claimRound == self.claimRound else { return [] }
        var wait: UInt64 = 0
        switch phase {
        case .claiming(var claiming):
            wait = configuration.retry.delay(attempt: claiming.attempt, random: random)
            claiming.inFlight = []
            claiming.attempt += 1
            claiming.retryDue = now + wait
            phase = .claiming(claiming)
        case .running(let inFlight):
            for source in inFlight { wait = Swift.max(wait, postpone(source, now: now, random: random)) }
            phase = .running(inFlight: [])
        case .idle, .draining, .ended:
            return []
        }
        return [.reportClaimFailed(reason: reason, retryIn: wait)]
    }

    /// The database refused a partition's write because its epoch is no longer ours.
    mutating func fenced(_ source: TopicPartition, generation: UInt64, now: UInt64, random: Double) -> [Action] {
        guard partitions.generation(of: source) == generation else { return [] }
        return claimAgain(source, now: now, random: random)
    }

    /// The partition's next record waits for a row of another one. It is claimed again after the wait.
    mutating func waits(_ source: TopicPartition, generation: UInt64, retryIn: UInt64, now: UInt64) -> [Action] {
        guard partitions.generation(of: source) == generation else { return [] }
        let slot = partitions.wait(source, since: now, due: now + retryIn)
        return slot.map { [.retract(source, slot: $0, generation: generation)] } ?? []
    }

    /// The log does not hold the position of a partition. A claim decides where to continue, once what was read before is applied.
    /// - Parameter isDrained: nothing of the partition is under way.
    mutating func positionLost(_ source: TopicPartition, isDrained: Bool, now: UInt64, random: Double) -> [Action] {
        if isDrained { return claimAgain(source, now: now, random: random) }
        partitions.markPositionLost(source)
        return []
    }

    /// A partition must not continue. It is claimed again after ``PipelineConfiguration/recheckInterval``; see ``StopReason``.
    /// - Parameter generation: the assignment under which that was found; `nil`: the present one.
    mutating func stopped(_ source: TopicPartition, generation: UInt64? = nil, reason: StopReason, now: UInt64) -> [Action] {
        let active = partitions.generation(of: source)
        if let generation, generation != active { return [] }
        if partitions.isStopped(source) { return [] }
        let slot = partitions.slot(of: source)
        guard partitions.stop(source, reason: reason, due: now + configuration.recheckInterval) else { return [] }
        let report = Action.reportStopped(source, reason: reason)
        guard let active, let slot else { return [report] }
        return [.retract(source, slot: slot, generation: active), report]
    }

    /// An operator asks for stopped partitions to be claimed again at once.
    mutating func retryRequested(_ sources: [TopicPartition], now: UInt64) {
        for source in sources { partitions.recheck(source, due: now) }
    }

    /// The group takes all partitions back.
    mutating func revoked(isLost: Bool, isDrained: Bool, now: UInt64) -> [Action] {
        claimRound += 1
        let deadline = now + configuration.drainDeadline
        switch phase {
        case .ended:
            return []
        case .idle, .claiming:
            return release(commitsOffsets: false)
        case .running:
            if isLost { return release(commitsOffsets: false) }
            return drain(until: deadline, isEnding: false, isDrained: isDrained, now: now)
        case .draining(var draining):
            if isLost { return release(commitsOffsets: false) }
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
            claimRound += 1
            return release(commitsOffsets: false, isEnding: true)
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
        return [.reportDrained(isComplete: true, nanoseconds: now - draining.since)] + release(commitsOffsets: true)
    }

    /// The source died: nothing may be written.
    mutating func sourceFailed() -> [Action] {
        if case .ended = phase { return [] }
        return release(commitsOffsets: false, isEnding: true)
    }

    /// Time passed. `lastPoll`: when the source last proved alive in its group.
    mutating func ticked(now: UInt64, lastPoll: UInt64) -> [Action] {
        switch phase {
        case .claiming(var claiming):
            var actions: [Action] = []
            if let due = claiming.answerDue, now >= due {
                claiming.answerDue = nil
                actions.append(.assignNothing)
            }
            if let due = claiming.retryDue, now >= due, claiming.inFlight.isEmpty {
                claiming.retryDue = nil
                claiming.inFlight = claiming.wanted
                actions.append(.claim(claimRound: claimRound, claiming.inFlight))
            }
            phase = .claiming(claiming)
            return actions
        case .running(let inFlight) where inFlight.isEmpty:
            let due = partitions.claimDue(now: now, lastPoll: lastPoll)
            guard !due.isEmpty else { return [] }
            phase = .running(inFlight: due)
            return [.claim(claimRound: claimRound, due)]
        case .draining(let draining) where now >= draining.deadline:
            return [.reportDrained(isComplete: false, nanoseconds: now - draining.since)] + release(commitsOffsets: true)
        case .idle, .running, .draining, .ended:
            return []
        }
    }

    /// What the member is doing.
    var state: AssignmentState {
        switch phase {
        case .idle: .waiting
        case .claiming: .claiming
        case .running: .running
        case .draining: .draining
        case .ended: .ended
        }
    }

    /// Stopped partitions, with the reason.
    var stoppedPartitions: [(source: TopicPartition, reason: StopReason)] { partitions.stopped }

    /// Partitions whose position is lost and of which something is still under way; when that is done, ``positionLost`` is due again.
    var lostPositions: [TopicPartition] { partitions.lostPositions }
}
