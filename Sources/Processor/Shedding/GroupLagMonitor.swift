// Asks Kafka how far the group is behind, for an ingress that has no pipeline of its own.

import Kafka
import Pipeline
import Records
import Synchronization
import Telemetry

/// The group's lag as its committed offsets tell it.
final class GroupLagMonitor: Sendable {
    /// How often it is asked how many partitions the topics have.
    private static let recount: UInt64 = 60_000_000_000
    /// How long the brokers have to answer.
    private static let patience = Duration.seconds(2)

    private let topics: [String]
    private let interval: @Sendable () -> Duration
    private let logger: Logger
    private let machine = Mutex(GroupLagMachine())

    /// - Parameter interval: how long to wait between questions; asked each time.
    init(topics: [String], interval: @escaping @Sendable () -> Duration, logger: Logger) {
        self.topics = topics
        self.interval = interval
        self.logger = logger
    }

    /// How far the group is behind now.
    func sample() -> GroupLag {
        let window = Swift.max(12_000_000_000, 4 * interval().nanoseconds)
        return machine.withLock { machine in
            // Under the lock: no look is earlier than the one before.
            machine.sampled(now: MonotonicClock.nanoseconds(), window: window)
        }
    }

    /// Asks until cancelled. A failed question leaves the last answers standing while their age grows; the first failure in a row is told.
    func run(_ metadata: KafkaMetadata) async throws {
        var sources: [TopicPartition] = []
        var counted: UInt64?
        var hasFailed = false
        while true {
            do throws(KafkaError) {
                let now = MonotonicClock.nanoseconds()
                var refusal: KafkaError?
                if counted.map({ now - $0 >= Self.recount }) ?? true {
                    (sources, refusal) = try await partitions(metadata)
                    // Until every topic is counted, each question counts them anew.
                    counted = refusal == nil ? now : nil
                }
                try await ask(sources, metadata)
                if let refusal { throw refusal }
                if hasFailed { logger.info("The group's lag is known again.") }
                hasFailed = false
            } catch {
                if !hasFailed {
                    logger.warning(
                        "The group's lag could not be read as a whole; what is not known refuses nothing.",
                        ["error": error.description])
                }
                hasFailed = true
            }
            try await Task.sleep(for: interval())
        }
    }

    /// The partitions of the topics that are known, and why one is not.
    private func partitions(_ metadata: KafkaMetadata) async throws(KafkaError) -> ([TopicPartition], KafkaError?) {
        var sources: [TopicPartition] = []
        var refusal: KafkaError?
        for (topic, count) in try await metadata.topics(topics, timeout: Self.patience) {
            switch count {
            case .success(let count): sources += (0..<Int32(clamping: count)).map { TopicPartition(topic, $0) }
            case .failure(let error): refusal = error
            }
        }
        return (sources, refusal)
    }

    /// Committed offsets first, ends second: so the lag is rather too long than too short.
    private func ask(_ sources: [TopicPartition], _ metadata: KafkaMetadata) async throws(KafkaError) {
        machine.withLock { $0.asked(sources, now: MonotonicClock.nanoseconds()) }
        let committed = try await metadata.committed(sources, timeout: Self.patience)
        let ends = try await metadata.endOffsets(sources, timeout: Self.patience)
        var answers: [TopicPartition: GroupLagMachine.Answer] = [:]
        var refusal: KafkaError?
        for source in sources {
            switch (committed[source], ends[source]) {
            case (.success(let committed)?, .success(let end)?):
                answers[source] = GroupLagMachine.Answer(committed: committed, end: end)
            case (.failure(let error)?, _), (_, .failure(let error)?): refusal = error
            case (nil, _), (_, nil): refusal = KafkaError(.other, "Kafka did not answer for \(source)", isRetriable: true)
            }
        }
        machine.withLock { $0.answered(answers, now: MonotonicClock.nanoseconds()) }
        if let refusal { throw refusal }
    }
}
