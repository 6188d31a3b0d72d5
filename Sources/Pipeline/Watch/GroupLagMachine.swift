// Knows how far a consumer group is behind from what Kafka says of it, for a process that is no member of it.

import Backpressure
public import Records

/// How far a group is behind at one moment.
public struct GroupLag: Sendable, Equatable {
    /// One partition.
    public struct Partition: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// The group's committed offset; `nil`: it has none, or nobody has said.
        public let committed: Int64?
        /// One past the log's last record; `nil`: nobody has said.
        public let end: Int64?
        /// Offsets between the two, never negative; `nil` where either is not known.
        public let backlog: Int64?
        /// Age of the oldest uncommitted record, as ``LagMachine`` knows it without timestamps: since when an end behind it is known.
        public let seconds: Double?
        /// How long ago both were answered; where they never were, since they were first asked for.
        public let answerAgeSeconds: Double
    }

    /// All partitions that are asked for.
    public let partitions: [Partition]
    /// How fast they move together: committed offsets a second, not records.
    public let rates: PipelineSnapshot.Rates
}

/// The lag of a group from its committed offsets and the logs' ends.
///
/// It is what Kafka's own lag tools say: committed offsets follow what is applied by the workers' offset commit interval. The age is a lower bound, too
/// small by what went by before the first question and by at most one interval between questions; nothing is read from the log, so no
/// timestamp is known. A partition without a committed offset has an unknown backlog, unless its log is empty: where the group would begin
/// is the workers' business.
public struct GroupLagMachine: ~Copyable {
    /// What Kafka answered about a partition.
    public struct Answer: Sendable, Equatable {
        /// The group's committed offset; `nil`: it has none.
        public let committed: Int64?
        /// One past the log's last record.
        public let end: Int64

        /// What Kafka answered about a partition.
        public init(committed: Int64?, end: Int64) {
            self.committed = committed
            self.end = end
        }
    }

    private var lag = LagMachine()
    private var drain = DrainRateMachine()
    private var answers: [TopicPartition: Answer] = [:]
    private var sources: [TopicPartition] = []
    private var records = 0

    /// Nothing is known yet.
    public init() {}

    /// These partitions are asked for at `now`, monotonic nanoseconds; all others are forgotten.
    public mutating func asked(_ sources: [TopicPartition], now: UInt64) {
        self.sources = sources.sorted()
        let wanted = Set(sources)
        answers = answers.filter { wanted.contains($0.key) }
        lag.asked(sources, now: now)
    }

    /// Kafka has answered at `now`, monotonic nanoseconds. A partition it said nothing about stands as it was, and its answer ages.
    public mutating func answered(_ fresh: [TopicPartition: Answer], now: UInt64) {
        for (source, answer) in fresh {
            // The committed offset was asked for first: an end before it is older than it.
            let answer = Answer(committed: answer.committed, end: Swift.max(answer.end, answer.committed ?? 0))
            if let before = answers[source]?.committed, let committed = answer.committed {
                records += Int(clamping: Swift.max(0, committed - before))
            }
            answers[source] = answer
            lag.endRead(source, end: answer.end, now: now)
        }
    }

    /// The group was looked at.
    /// - Parameters:
    ///   - now: monotonic nanoseconds.
    ///   - window: over which rates are measured, nanoseconds; some intervals between the questions.
    public mutating func sampled(now: UInt64, window: UInt64) -> GroupLag {
        let positions = sources.compactMap { source in answers[source].flatMap { Self.position(source, $0) } }
        drain.sampled(positions, records: records, now: now, window: window)
        var ages: [TopicPartition: UInt64] = [:]
        for position in positions { ages[position.source] = lag.sampled(position, now: now, wallMilliseconds: 0) }
        let partitions = sources.map { source in
            GroupLag.Partition(
                source: source, committed: answers[source]?.committed, end: answers[source]?.end,
                backlog: answers[source].flatMap { Self.position(source, $0)?.backlog },
                seconds: ages[source].map { Double($0) / 1e9 },
                answerAgeSeconds: Double(lag.answerAge(of: source, now: now)) / 1e9)
        }
        let backlogs = partitions.compactMap(\.backlog)
        let isKnown = !partitions.isEmpty && backlogs.count == partitions.count
        return GroupLag(
            partitions: partitions,
            rates: PipelineSnapshot.Rates(
                drain: drain.drainRate, arrival: drain.arrivalRate,
                secondsToDrain: isKnown ? drain.secondsToDrain(backlogs.reduce(0, +)) : nil))
    }

    /// The partition as a worker's ledger would show it that has applied what is committed; `nil`: nobody can say.
    private static func position(_ source: TopicPartition, _ answer: Answer) -> OffsetLedgerMachine.Position? {
        guard let applied = answer.committed ?? (answer.end == 0 ? 0 : nil) else { return nil }
        return OffsetLedgerMachine.Position(
            entry: .init(source: source, slot: 0, lane: 0, generation: 0, epoch: 0, offset: 0), isValid: true, applied: applied,
            committed: answer.committed, end: answer.end, oldestTimestamp: nil, outstanding: .zero, settled: applied)
    }
}
