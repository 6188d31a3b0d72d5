// Decides whether the worker stands still while there is something to do, and what holds it up.

public import Records

/// Why nothing moves, as metrics name it. In this order: where partitions stand for different reasons, the first is named.
public enum StallReason: String, Sendable, CaseIterable {
    /// The circuit to the database is open or probing.
    case circuitOpen = "circuit_open"
    /// The lane has been at work on a transaction, retries included, all the while.
    case waitingForDatabase = "waiting_for_database"
    /// No answer about the logs' ends, or the member has long not polled.
    case brokerGone = "broker_gone"
    /// The reader may not read: the credits are gone, and nothing that could bring them back is at work.
    case noCredits = "no_credits"
    /// The partitions are not ours in the database yet, or not any more.
    case claiming = "claiming"
    /// The partition is out of service.
    case partitionStopped = "partition_stopped"
    /// An operator has paused every partition that has something to do.
    case pausedByOperator = "paused_by_operator"
    /// None of the above. In a log written by transactions also this: behind the last record lies a marker that nobody can read.
    case unknown

    /// The reason in words.
    public var sentence: String {
        switch self {
        case .circuitOpen: "the circuit to the database is open"
        case .waitingForDatabase: "waiting for the database"
        case .brokerGone: "the brokers do not answer"
        case .noCredits: "there are no credits to read with"
        case .claiming: "partitions are not claimed in the database"
        case .partitionStopped: "a partition is out of service"
        case .pausedByOperator: "paused by an operator"
        case .unknown: "for no known reason"
        }
    }
}

/// The stall watchdog: a partition stalls when it has had something to do for a time-out without a break, and has not moved.
///
/// A partition that an operator has paused is no stall of the others: it is only named once nothing else has moved for as long either.
public struct StallMachine: ~Copyable {
    /// How long is too long, in nanoseconds.
    public struct Limits: Sendable, Equatable {
        /// How long a partition may stand.
        public var timeout: UInt64
        /// How old the last answer about a log's end may be while the brokers count as present.
        public var answers: UInt64

        /// How long is too long, in nanoseconds.
        public init(timeout: UInt64, answers: UInt64) {
            self.timeout = timeout
            self.answers = answers
        }
    }

    /// One partition as it is now.
    public struct Partition: Sendable, Equatable {
        /// The partition.
        public var source: TopicPartition
        /// Next offset to apply; `nil`: out of service since its claim, so that nobody knows.
        public var applied: Int64?
        /// Offsets between there and the end; `nil`: not known.
        public var backlog: Int64?
        /// Records of it are under way.
        public var isUnderWay = false
        /// It is out of service.
        public var isStopped = false
        /// It is not ours in the database at the moment, and is claimed again.
        public var isFenced = false
        /// An operator has paused it.
        public var isPausedByOperator = false
        /// Its reader may read.
        public var hasCredits = true
        /// Its lane has work in hand.
        public var isLaneBusy = false
        /// Age of the last answer about its end, nanoseconds.
        public var answerAge: UInt64 = 0

        /// A partition that is read.
        public init(_ source: TopicPartition, applied: Int64?, backlog: Int64?) {
            self.source = source
            self.applied = applied
            self.backlog = backlog
        }
    }

    /// The worker as it is now.
    public struct Facts: Sendable, Equatable {
        /// All partitions that are ours.
        public var partitions: [Partition] = []
        /// The first claim of an assignment has not been answered.
        public var isClaiming = false
        /// Partitions are being given back: nothing more is read.
        public var isDraining = false
        /// The circuit to the database is closed.
        public var isCircuitClosed = true
        /// How long ago the member last polled, nanoseconds.
        public var pollAge: UInt64 = 0
        /// How long the brokers have answered no question, nanoseconds; 0 where none was asked. Counts on where the member loses its
        /// partitions by that.
        public var silence: UInt64 = 0

        /// A worker without partitions.
        public init() {}
    }

    /// A stall as health shows it.
    public struct Stall: Sendable, Equatable {
        /// What holds the worker up.
        public let reason: StallReason
        /// Since when, monotonic nanoseconds.
        public let since: UInt64
    }

    /// What to tell.
    public enum Action: Equatable, Sendable {
        case none
        /// The worker stands, and has for so many nanoseconds; or it goes on standing for another reason.
        case entered(StallReason, nanoseconds: UInt64)
        /// It moves again, or has nothing left to do, after so many nanoseconds.
        case left(nanoseconds: UInt64)
    }

    private struct Standing {
        let applied: Int64?
        let wasPaused: Bool
        let since: UInt64
    }

    private var standing: [TopicPartition: Standing] = [:]
    private var applied: [TopicPartition: Int64] = [:]
    private var lastMove: UInt64?
    private var claimingSince: UInt64?

    /// The present stall.
    public private(set) var stall: Stall?

    /// A worker that nobody has looked at.
    public init() {}

    /// The worker was looked at, at `now` (monotonic nanoseconds).
    public mutating func checked(_ facts: Facts, now: UInt64, limits: Limits) -> Action {
        var found: Stall?
        func note(_ reason: StallReason, since: UInt64) {
            guard let known = found else { return found = Stall(reason: reason, since: since) }
            let first = known.reason.rank <= reason.rank ? known.reason : reason
            found = Stall(reason: first, since: Swift.min(known.since, since))
        }
        let quiet = now - moved(facts, now: now)
        claimingSince = facts.isClaiming ? claimingSince ?? now : nil
        if let claimingSince, now - claimingSince >= limits.timeout { note(.claiming, since: claimingSince) }

        // Where nobody says how long the log is, nobody knows that there is nothing to do.
        // Questions may be further apart than the time-out.
        let patience = Swift.max(limits.timeout, limits.answers)
        let isUnanswered = !facts.partitions.isEmpty && facts.partitions.allSatisfy { $0.answerAge >= patience }
        let isSilent = facts.pollAge >= limits.timeout || facts.silence >= patience || isUnanswered
        if isSilent, quiet >= limits.timeout { note(.brokerGone, since: now - quiet) }

        for partition in facts.partitions {
            guard let known = standing[partition.source], now - known.since >= limits.timeout,
                let reason = Self.reason(partition, facts, limits)
            else { continue }
            if reason == .pausedByOperator, quiet < limits.timeout { continue }
            note(reason, since: known.since)
        }
        return told(found, now: now)
    }

    /// Notes what has moved since the last look. Answers when anything moved last.
    private mutating func moved(_ facts: Facts, now: UInt64) -> UInt64 {
        var standing: [TopicPartition: Standing] = [:]
        var applied: [TopicPartition: Int64] = [:]
        var last = lastMove ?? now
        for partition in facts.partitions {
            applied[partition.source] = partition.applied
            if let before = self.applied[partition.source], before != partition.applied { last = now }
            let hasWork = partition.isUnderWay || partition.backlog.map { $0 > 0 } ?? partition.isStopped
            guard hasWork else { continue }
            let known = self.standing[partition.source]
            // Whoever is let go by an operator begins anew: it has stood still on request.
            let isSame = known?.applied == partition.applied && (known?.wasPaused == partition.isPausedByOperator)
            standing[partition.source] = Standing(
                applied: partition.applied, wasPaused: partition.isPausedByOperator,
                since: isSame ? known?.since ?? now : now)
        }
        self.standing = standing
        self.applied = applied
        lastMove = last
        return last
    }

    private mutating func told(_ found: Stall?, now: UInt64) -> Action {
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

    /// What holds one partition up; `nil`: it stands because it is given back.
    private static func reason(_ partition: Partition, _ facts: Facts, _ limits: Limits) -> StallReason? {
        if partition.isStopped { return .partitionStopped }
        if partition.isFenced { return .claiming }
        if partition.isUnderWay {
            // What was read waits for those behind the reader, whatever holds up the reader.
            if !facts.isCircuitClosed { return .circuitOpen }
            if partition.isLaneBusy { return .waitingForDatabase }
            return partition.hasCredits ? .unknown : .noCredits
        }
        if facts.isDraining { return nil }
        if partition.isPausedByOperator { return .pausedByOperator }
        if facts.pollAge >= limits.timeout || partition.answerAge >= limits.answers { return .brokerGone }
        return partition.hasCredits ? .unknown : .noCredits
    }
}

extension StallReason {
    /// Its place in the order of declaration.
    fileprivate var rank: Int { Self.allCases.firstIndex(of: self) ?? Self.allCases.count }
}
