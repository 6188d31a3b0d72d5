// Decides the life of an assignment: claim, run, fence, drain, give back, end.

import Backpressure
public import Records

/// The life of the partitions a member holds, as pure state: time comes in as monotonic nanoseconds, commands go out as actions.
///
/// ```
///           assigned            claim succeeded              revoked / shutdown           drained or deadline
///   idle ───────────▶ claiming ────────────────▶ running ───────────────────▶ draining ──────────────────────▶ idle / ended
///                        │  ▲ failed: retry        │  ▲
///                        ▼  │ after back-off       ▼  │ claimed again after back-off and a poll
///               deadline: assign nothing,        fenced partition
///               go on claiming
/// ```
public struct AssignmentMachine: ~Copyable {
    /// What to do, in this order.
    public enum Action: Equatable, Sendable {
        /// Claim partitions in the database and report under this claimRound.
        case claim(claimRound: UInt64, [TopicPartition])
        /// Begin with these partitions, all gates open.
        case begin([OffsetLedgerMachine.Entry])
        /// Answer the group although nothing is claimed yet.
        case assignNothing
        /// Go on with one partition that was claimed again.
        case restart(OffsetLedgerMachine.Entry)
        /// Read and write nothing more of a partition under this generation.
        case retract(TopicPartition, slot: Int, generation: UInt64)
        /// Shut all gates and tell when the pipeline is empty.
        case drain
        /// Drop what is under way, commit the applied offsets where they are still ours, forget the partitions and give them back.
        case release(commitsOffsets: Bool)
        /// A partition is out of service.
        case reportStopped(TopicPartition, reason: String)
        /// Draining is over.
        case reportDrained(isComplete: Bool, nanoseconds: UInt64)
        /// Claiming failed and is tried again.
        case reportClaimFailed(reason: String, retryIn: UInt64)
        /// The pipeline has ended.
        case end
    }

    private enum Phase: Equatable {
        case idle, claiming, running
        case draining(since: UInt64, deadline: UInt64)
        case ended
    }

    private enum Status: Equatable {
        case waiting
        case active(slot: Int, generation: UInt64)
        case fenced(slot: Int, attempt: Int, since: UInt64, due: UInt64)
        case stopped(reason: String)
    }

    private var configuration: PipelineConfiguration
    private var phase = Phase.idle
    private var isEnding = false
    private var claimRound: UInt64 = 0
    private var generation: UInt64 = 0
    private var order: [TopicPartition] = []
    private var status: [TopicPartition: Status] = [:]
    private var fences: [TopicPartition: Int] = [:]
    private var claimInFlight: [TopicPartition] = []
    private var claimAttempt = 0
    private var claimDue: UInt64?
    private var answerDue: UInt64?

    /// - Parameter configuration: deadlines and back-offs.
    public init(configuration: PipelineConfiguration) { self.configuration = configuration }

    // MARK: Inputs

    /// Deadlines and back-offs were changed. What is waited for already keeps its deadline.
    public mutating func reconfigured(_ configuration: PipelineConfiguration) { self.configuration = configuration }

    /// The group gave partitions.
    public mutating func assigned(_ partitions: [TopicPartition], now: UInt64) -> [Action] {
        guard phase != .ended else { return [] }
        claimRound += 1
        order = partitions.sorted()
        status = Dictionary(uniqueKeysWithValues: order.map { ($0, .waiting) })
        fences = [:]
        claimAttempt = 0
        claimDue = nil
        if case .draining = phase { return [.assignNothing] }
        guard !order.isEmpty else {
            phase = .running
            return [.assignNothing]
        }
        phase = .claiming
        answerDue = now + configuration.claimDeadline
        claimInFlight = order
        return [.claim(claimRound: claimRound, order)]
    }

    /// A claim was answered.
    public mutating func claimAnswered(
        claimRound: UInt64, _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        guard claimRound == self.claimRound else { return [] }
        let asked = claimInFlight
        claimInFlight = []
        switch phase {
        case .claiming: return begin(asked, results, now: now, random: random)
        case .running: return restart(asked, results, now: now, random: random)
        case .idle, .draining, .ended: return []
        }
    }

    /// A claim failed as a whole.
    public mutating func claimFailed(claimRound: UInt64, reason: String, now: UInt64, random: Double) -> [Action] {
        guard claimRound == self.claimRound else { return [] }
        let asked = claimInFlight
        claimInFlight = []
        switch phase {
        case .claiming:
            let wait = configuration.retry.delay(attempt: claimAttempt, random: random)
            claimAttempt += 1
            claimDue = now + wait
            return [.reportClaimFailed(reason: reason, retryIn: wait)]
        case .running:
            var wait: UInt64 = 0
            for source in asked { wait = Swift.max(wait, postponeFence(source, now: now, random: random)) }
            return [.reportClaimFailed(reason: reason, retryIn: wait)]
        case .idle, .draining, .ended:
            return []
        }
    }

    /// The database refused a partition's write because someone else claimed it.
    public mutating func fenced(_ source: TopicPartition, generation: UInt64, now: UInt64, random: Double) -> [Action] {
        guard case .active(_, generation)? = status[source] else { return [] }
        return claimAgain(source, now: now, random: random)
    }

    /// The log does not hold the position a partition was read at. Where to go on is decided by a claim, as at the start.
    public mutating func positionLost(_ source: TopicPartition, now: UInt64, random: Double) -> [Action] {
        claimAgain(source, now: now, random: random)
    }

    private mutating func claimAgain(_ source: TopicPartition, now: UInt64, random: Double) -> [Action] {
        guard case .active(let slot, let generation)? = status[source] else { return [] }
        let attempt = fences[source, default: 0]
        fences[source] = attempt + 1
        let wait = configuration.reclaim.delay(attempt: attempt, random: random)
        status[source] = .fenced(slot: slot, attempt: attempt, since: now, due: now + wait)
        return [.retract(source, slot: slot, generation: generation)]
    }

    /// A partition must not go on. `generation`: the assignment under which that was found; `nil`: the present one.
    public mutating func stopped(_ source: TopicPartition, generation: UInt64? = nil, reason: String) -> [Action] {
        guard let known = status[source] else { return [] }
        if case .stopped = known { return [] }
        if let generation {
            guard case .active(_, generation) = known else { return [] }
        }
        status[source] = .stopped(reason: reason)
        switch known {
        case .active(let slot, let generation):
            return [.retract(source, slot: slot, generation: generation), .reportStopped(source, reason: reason)]
        case .fenced, .waiting, .stopped:
            return [.reportStopped(source, reason: reason)]
        }
    }

    /// The group takes all partitions back.
    public mutating func revoked(isLost: Bool, isDrained: Bool, now: UInt64) -> [Action] {
        claimRound += 1
        claimInFlight = []
        claimDue = nil
        answerDue = nil
        switch phase {
        case .ended:
            return []
        case .draining(let since, let deadline) where !isLost:
            // The group waits from now on: not for as long as the end of the process may take.
            phase = .draining(since: since, deadline: Swift.min(deadline, now + configuration.drainDeadline))
            return []
        case .idle, .claiming:
            return release(commitsOffsets: false)
        case .running, .draining:
            if isLost { return release(commitsOffsets: false) }
            if isDrained { return [.drain, .reportDrained(isComplete: true, nanoseconds: 0)] + release(commitsOffsets: true) }
            phase = .draining(since: now, deadline: now + configuration.drainDeadline)
            return [.drain]
        }
    }

    /// The process was asked to end; work may take until `deadline` to finish.
    public mutating func shutdownRequested(deadline: UInt64, isDrained: Bool, now: UInt64) -> [Action] {
        guard !isEnding else { return [] }
        isEnding = true
        switch phase {
        case .ended:
            return []
        case .idle, .claiming:
            claimRound += 1
            return release(commitsOffsets: false)
        case .running:
            if isDrained { return [.drain, .reportDrained(isComplete: true, nanoseconds: 0)] + release(commitsOffsets: true) }
            phase = .draining(since: now, deadline: deadline)
            return [.drain]
        case .draining(let since, let earlier):
            phase = .draining(since: since, deadline: Swift.min(earlier, deadline))
            return []
        }
    }

    /// Nothing is under way any more.
    public mutating func drained(now: UInt64) -> [Action] {
        guard case .draining(let since, _) = phase else { return [] }
        return [.reportDrained(isComplete: true, nanoseconds: now - since)] + release(commitsOffsets: true)
    }

    /// The source died: nothing may be written.
    public mutating func sourceFailed() -> [Action] {
        guard phase != .ended else { return [] }
        isEnding = true
        return release(commitsOffsets: false)
    }

    /// Time passed. `lastPoll`: when the source last proved alive in its group.
    public mutating func ticked(now: UInt64, lastPoll: UInt64) -> [Action] {
        switch phase {
        case .draining(let since, let deadline) where now >= deadline:
            return [.reportDrained(isComplete: false, nanoseconds: now - since)] + release(commitsOffsets: true)
        case .claiming:
            var actions: [Action] = []
            if let due = answerDue, now >= due {
                answerDue = nil
                actions.append(.assignNothing)
            }
            if let due = claimDue, now >= due, claimInFlight.isEmpty {
                claimDue = nil
                claimInFlight = order.filter { status[$0] == .waiting }
                actions.append(.claim(claimRound: claimRound, claimInFlight))
            }
            return actions
        case .running where claimInFlight.isEmpty:
            // Claimed again only after a poll has shown the partition still ours: a zombie learns of its loss from that poll.
            let due = order.filter {
                guard case .fenced(_, _, let since, let due)? = status[$0] else { return false }
                return now >= due && lastPoll > since
            }
            guard !due.isEmpty else { return [] }
            claimInFlight = due
            return [.claim(claimRound: claimRound, due)]
        case .idle, .running, .draining, .ended:
            return []
        }
    }

    // MARK: Questions

    /// One word for health: what the member is doing.
    public var summary: String {
        switch phase {
        case .idle: "waiting for partitions"
        case .claiming: Self.claimingSummary
        case .running: "running"
        case .draining: Self.drainingSummary
        case .ended: "ended"
        }
    }

    static let claimingSummary = "claiming partitions"
    static let drainingSummary = "draining"

    /// Partitions out of service, with the reason.
    public var stoppedPartitions: [(source: TopicPartition, reason: String)] {
        order.compactMap { source in
            guard case .stopped(let reason)? = status[source] else { return nil }
            return (source, reason)
        }
    }

    // MARK: Steps

    private mutating func begin(
        _ asked: [TopicPartition], _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        // All or nothing: a second assign for stragglers would throw away what was fetched for the first.
        guard asked.allSatisfy({ results[$0] != nil }) else {
            claimInFlight = asked
            return claimFailed(
                claimRound: claimRound, reason: "the database answered for \(results.count) of \(asked.count) partitions",
                now: now, random: random)
        }
        var actions: [Action] = []
        var entries: [OffsetLedgerMachine.Entry] = []
        generation += 1
        for source in order {
            switch results[source] {
            case .claimed(let epoch, let offset)?:
                let slot = entries.count
                entries.append(entry(source, slot: slot, epoch: epoch, offset: offset))
                status[source] = .active(slot: slot, generation: generation)
            case .held(let reason)?:
                actions += stopped(source, reason: reason)
            case nil:
                break
            }
        }
        phase = .running
        answerDue = nil
        claimAttempt = 0
        return actions + [.begin(entries)]
    }

    private mutating func restart(
        _ asked: [TopicPartition], _ results: [TopicPartition: ClaimResult], now: UInt64, random: Double
    ) -> [Action] {
        var actions: [Action] = []
        for source in asked {
            guard case .fenced(let slot, _, _, _)? = status[source] else { continue }
            switch results[source] {
            case .claimed(let epoch, let offset)?:
                generation += 1
                status[source] = .active(slot: slot, generation: generation)
                actions.append(.restart(entry(source, slot: slot, epoch: epoch, offset: offset)))
            case .held(let reason)?:
                actions += stopped(source, reason: reason)
            case nil:
                _ = postponeFence(source, now: now, random: random)
            }
        }
        return actions
    }

    private func entry(_ source: TopicPartition, slot: Int, epoch: Int64, offset: Int64) -> OffsetLedgerMachine.Entry {
        OffsetLedgerMachine.Entry(
            source: source, slot: slot, lane: EventPipeline.lane(of: source, among: configuration.lanes), generation: generation,
            epoch: epoch, offset: offset)
    }

    private mutating func postponeFence(_ source: TopicPartition, now: UInt64, random: Double) -> UInt64 {
        guard case .fenced(let slot, let attempt, let since, _)? = status[source] else { return 0 }
        let wait = configuration.reclaim.delay(attempt: attempt + 1, random: random)
        status[source] = .fenced(slot: slot, attempt: attempt + 1, since: since, due: now + wait)
        return wait
    }

    private mutating func release(commitsOffsets: Bool) -> [Action] {
        order = []
        status = [:]
        claimInFlight = []
        phase = isEnding ? .ended : .idle
        return [.release(commitsOffsets: commitsOffsets)] + (isEnding ? [.end] : [])
    }
}
