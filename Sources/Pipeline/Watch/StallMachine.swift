// Decides whether the worker makes no progress although there are records to apply, and why.

import Records

/// Why the worker makes no progress, as metrics name it. Where partitions stall for different reasons, the first in this order is named.
public enum StallReason: String, Sendable, CaseIterable {
    /// The circuit to the database is open or probing.
    case circuitOpen = "circuit_open"
    /// The lane has been at one transaction all the time, retries included.
    case waitingForDatabase = "waiting_for_database"
    /// The brokers have not answered for the logs' ends, or the member has not polled.
    case brokerGone = "broker_gone"
    /// The reader has no credits, and nothing is under way that could return them.
    case noCredits = "no_credits"
    /// The partitions are not claimed in the database.
    case claiming = "claiming"
    /// The partition is stopped.
    case partitionStopped = "partition_stopped"
    /// Everything before a transaction that is still open has been applied.
    case openTransaction = "open_transaction"
    /// An operator has paused every partition that has records to apply.
    case pausedByOperator = "paused_by_operator"
    /// None of the above. Also where a log ends with a transaction marker that the reader has not reported yet.
    case unknown

    /// The reason in words.
    public var sentence: String {
        switch self {
        case .circuitOpen: "the circuit to the database is open"
        case .waitingForDatabase: "waiting for the database"
        case .brokerGone: "the brokers do not answer"
        case .noCredits: "there are no credits to read with"
        case .claiming: "partitions are not claimed in the database"
        case .partitionStopped: "a partition is stopped"
        case .openTransaction: "a producer's transaction is open, and nothing behind its first record can be read"
        case .pausedByOperator: "paused by an operator"
        case .unknown: "for no known reason"
        }
    }
}

/// A partition stalls when it has had records to apply for a time-out without a break, and its applied offset has not moved.
///
/// A partition that an operator has paused is reported only when no other has moved for the time-out either.
struct StallMachine: ~Copyable {
    /// Time-outs, in nanoseconds.
    struct Limits: Sendable, Equatable {
        /// How long a partition may make no progress.
        var timeout: UInt64
        /// How old the last answer about a log's end may be before the brokers count as absent.
        var answers: UInt64
    }

    /// One partition at the check.
    struct Partition: Sendable, Equatable {
        /// The partition.
        var source: TopicPartition
        /// Next offset to apply; `nil`: stopped by its claim, or not claimed yet, so it is not known.
        var applied: Int64?
        /// Offsets between there and the end; `nil`: not known.
        var backlog: Int64?
        /// Records of it are under way.
        var isUnderWay = false
        /// It is stopped.
        var isStopped = false
        /// It is fenced, or could not be claimed yet, and will be claimed again.
        var isFenced = false
        /// An operator has paused it.
        var isPausedByOperator = false
        /// What is left of it cannot be read before an open transaction ends.
        var waitsForTransaction = false
        /// Its reader has credits.
        var hasCredits = true
        /// Its lane is at work.
        var isLaneBusy = false
        /// Age of the last answer about its end, nanoseconds.
        var answerAge: UInt64 = 0

        /// A partition that is read.
        init(_ source: TopicPartition, applied: Int64?, backlog: Int64?) {
            self.source = source
            self.applied = applied
            self.backlog = backlog
        }
    }

    /// The worker at the check.
    struct Inputs: Sendable, Equatable {
        /// All assigned partitions.
        var partitions: [Partition] = []
        /// The first claim of an assignment has not been answered.
        var isClaiming = false
        /// Partitions are being given back: nothing more is read.
        var isDraining = false
        /// The circuit to the database is closed.
        var isCircuitClosed = true
        /// Time since the member last polled, nanoseconds.
        var pollAge: UInt64 = 0
        /// Time since the brokers last answered a question, nanoseconds; 0 where none was asked. Goes on growing when the member loses
        /// its partitions because of it.
        var silence: UInt64 = 0
    }

    /// A stall as health shows it.
    struct Stall: Sendable, Equatable {
        /// Why.
        let reason: StallReason
        /// Since when, monotonic nanoseconds.
        let since: UInt64
    }

    /// What to report.
    enum Action: Equatable, Sendable {
        case none
        /// The worker has been stalled for `nanoseconds`; or it stays stalled for another reason.
        case entered(StallReason, nanoseconds: UInt64)
        /// It makes progress again, or has nothing left to apply, after `nanoseconds`.
        case left(nanoseconds: UInt64)
    }

    private struct Unmoved {
        let applied: Int64?
        let isPausedByOperator: Bool
        let since: UInt64
    }

    private var unmoved: [TopicPartition: Unmoved] = [:]
    private var applied: [TopicPartition: Int64] = [:]
    private var lastMove: UInt64?
    private var claimingSince: UInt64?

    /// The present stall.
    private(set) var stall: Stall?

    /// The worker was checked at `now`, monotonic nanoseconds.
    mutating func checked(_ inputs: Inputs, now: UInt64, limits: Limits) -> Action {
        var found: Stall?
        func note(_ reason: StallReason, since: UInt64) {
            guard let known = found else { return found = Stall(reason: reason, since: since) }
            let first = known.reason.rank <= reason.rank ? known.reason : reason
            found = Stall(reason: first, since: Swift.min(known.since, since))
        }
        let quiet = now - moved(inputs, now: now)
        claimingSince = inputs.isClaiming ? claimingSince ?? now : nil
        if let claimingSince, now - claimingSince >= limits.timeout { note(.claiming, since: claimingSince) }

        // Without the log's end it is not known that there is nothing to apply. Questions may be further apart than the time-out.
        let patience = Swift.max(limits.timeout, limits.answers)
        let isUnanswered = !inputs.partitions.isEmpty && inputs.partitions.allSatisfy { $0.answerAge >= patience }
        let isSilent = inputs.pollAge >= limits.timeout || inputs.silence >= patience || isUnanswered
        if isSilent, quiet >= limits.timeout { note(.brokerGone, since: now - quiet) }

        for partition in inputs.partitions {
            guard let known = unmoved[partition.source], now - known.since >= limits.timeout,
                let reason = Self.reason(partition, inputs, limits)
            else { continue }
            if reason == .pausedByOperator, quiet < limits.timeout { continue }
            note(reason, since: known.since)
        }
        return report(found, now: now)
    }

    /// Compares with the check before. Returns when any applied offset moved last.
    private mutating func moved(_ inputs: Inputs, now: UInt64) -> UInt64 {
        var unmoved: [TopicPartition: Unmoved] = [:]
        var applied: [TopicPartition: Int64] = [:]
        var last = lastMove ?? now
        for partition in inputs.partitions {
            applied[partition.source] = partition.applied
            if let before = self.applied[partition.source], before != partition.applied { last = now }
            let hasWork = partition.isUnderWay || partition.backlog.map { $0 > 0 } ?? (partition.isStopped || partition.isFenced)
            guard hasWork else { continue }
            let known = self.unmoved[partition.source]
            // The time in an operator's pause does not count after it.
            let isSame = known?.applied == partition.applied && (known?.isPausedByOperator == partition.isPausedByOperator)
            unmoved[partition.source] = Unmoved(
                applied: partition.applied, isPausedByOperator: partition.isPausedByOperator,
                since: isSame ? known?.since ?? now : now)
        }
        self.unmoved = unmoved
        self.applied = applied
        lastMove = last
        return last
    }

    private mutating func report(_ found: Stall?, now: UInt64) -> Action {
        let before = stall
        stall = found
        switch (before, found) {
        case (nil, let found?): return .entered(found.reason, nanoseconds: now - found.since)
        case (let before?, let found?) where before.reason != found.reason:
            return .entered(found.reason, nanoseconds: now - found.since)
        case (let before?, nil): return .left(nanoseconds: now - before.since)
        case (_?, _?), (nil, nil): return .none
        }
    }

    /// Why one partition does not move; `nil`: because it is being given back.
    private static func reason(_ partition: Partition, _ inputs: Inputs, _ limits: Limits) -> StallReason? {
        if partition.isStopped { return .partitionStopped }
        if partition.isFenced { return .claiming }
        if partition.isUnderWay {
            // Records that were read wait for a later stage, whatever the reader waits for.
            if !inputs.isCircuitClosed { return .circuitOpen }
            if partition.isLaneBusy { return .waitingForDatabase }
            return partition.hasCredits ? .unknown : .noCredits
        }
        if inputs.isDraining { return nil }
        if partition.isPausedByOperator { return .pausedByOperator }
        if inputs.pollAge >= limits.timeout || partition.answerAge >= limits.answers { return .brokerGone }
        if partition.waitsForTransaction { return .openTransaction }
        return partition.hasCredits ? .unknown : .noCredits
    }
}

extension StallReason {
    /// Its position in the declaration.
    fileprivate var rank: Int { Self.allCases.firstIndex(of: self) ?? Self.allCases.count }
}
