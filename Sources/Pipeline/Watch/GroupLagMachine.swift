// Computes the lag of a consumer group from its committed offsets, for a process that is not a member of it.

import Backpressure
public import Records

/// The lag of a group at one moment.
public struct GroupLag: Sendable, Equatable {
    /// One partition.
    public struct Partition: Sendable, Equatable {
        /// The partition.
        public let source: TopicPartition
        /// The group's committed offset; `nil`: it has none, or it is not known.
        public let committed: Int64?
        /// One past the log's last record; `nil`: not known.
        public let end: Int64?
        /// Offsets between the two, never negative; `nil` where either is not known.
        public let backlog: Int64?
        /// Age of the oldest uncommitted record, as ``LagMachine`` estimates it without timestamps.
        public let seconds: Double?
        /// Time since both were last answered; where they never were, since they were first requested.
        public let answerAgeSeconds: Double
    }

    /// All partitions that are asked for.
    public let partitions: [Partition]
    /// How fast they progress together: committed offsets per second, not records.
    public let rates: PipelineSnapshot.Rates
}

/// The lag of a group from its committed offsets and the logs' ends.
///
/// It is the lag that Kafka's own tools show: committed offsets follow applied ones at the workers' offset commit interval. The age is
/// a lower bound, too small by the time before the first question and by at most one interval between questions, because no record is
/// read and no timestamp is known. A partition without a committed offset has an unknown backlog, unless its log is empty: where the
/// group would begin depends on the workers' configuration.
public struct GroupLagMachine: ~Copyable {
    /// Kafka's answer for a partition.
    public struct Answer: Sendable, Equatable {
        /// The group's committed offset; `nil`: it has none.
        public let committed: Int64?
        /// One past the log's last record.
        public let end: Int64

        /// Kafka's answer for a partition.
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

    /// A machine without answers.
    public init() {}

    /// These partitions were requested at `now`, monotonic nanoseconds; all others are forgotten.
    public mutating func asked(_ sources: [TopicPartition], now: UInt64) {
        self.sources = sources.sorted()
        let wanted = Set(sources)
        answers = answers.filter { wanted.contains($0.key) }
        lag.asked(sources, now: now)
    }

    /// Kafka answered at `now`, monotonic nanoseconds. A partition that is missing keeps its last answer, whose age grows.
    public mutating func answered(_ fresh: [TopicPartition: Answer], now: UInt64) {
        for (source, answer) in fresh {
            // An end below the committed offset is an older answer.
            let answer = Answer(committed: answer.committed, end: Swift.max(answer.end, answer.committed ?? 0))
            if let before = answers[source]?.committed, let committed = answer.committed {
                records += Int(clamping: Swift.max(0, committed - before))
            }
            answers[source] = answer
            lag.endRead(source, end: answer.end, now: now)
        }
    }

    /// The group was sampled.
    /// - Parameters:
    ///   - now: monotonic nanoseconds.
    ///   - window: over which rates are measured, nanoseconds; some intervals between the questions.
    public mutating func sampled(now: UInt64, window: UInt64) -> GroupLag {
        var samples: [TopicPartition: PartitionSample] = [:]
        var ages: [TopicPartition: UInt64] = [:]
        for source in sources {
            // Without a committed offset an empty log has nothing to apply; of another log nothing is known.
            guard let answer = answers[source], let applied = answer.committed ?? (answer.end == 0 ? 0 : nil) else { continue }
            let sample = PartitionSample(source: source, applied: applied, settled: applied, end: answer.end)
            samples[source] = sample
            ages[source] = lag.sampled(sample, now: now, wallMilliseconds: 0)
        }
        drain.sampled(sources.compactMap { samples[$0] }, records: records, now: now, window: window)
        let partitions = sources.map { source in
            GroupLag.Partition(
                source: source, committed: answers[source]?.committed, end: answers[source]?.end,
                backlog: samples[source]?.backlog, seconds: ages[source].map { Double($0) / 1e9 },
                answerAgeSeconds: Double(lag.answerAge(of: source, now: now)) / 1e9)
        }
        return GroupLag(partitions: partitions, rates: drain.rates(backlogs: partitions.map(\.backlog)))
    }
}
