// Puts Kafka's answers about a consumer group behind the pipeline's port.

import Kafka
import Pipeline
import Platform
import Records
import Telemetry

/// The committed offsets of a group and the ends of its logs, on a handle that is no member.
struct KafkaGroupOffsets: GroupOffsetReader {
    private static let timeout = Duration.seconds(2)

    let metadata: KafkaMetadata

    func partitions(of topics: [String]) async throws -> PartialAnswer<[TopicPartition]> {
        var answer = PartialAnswer<[TopicPartition]>([])
        for (topic, count) in try await metadata.topics(topics, timeout: Self.timeout) {
            switch count {
            case .success(let count): answer.value += (0..<Int32(clamping: count)).map { TopicPartition(topic, $0) }
            // It has no lag, and need not exist yet.
            case .failure(let error) where error.code == .unknownTopic: break
            case .failure(let error): answer.failure = error.description
            }
        }
        return answer
    }

    func offsets(of partitions: [TopicPartition]) async throws -> PartialAnswer<[TopicPartition: GroupLagMachine.Answer]> {
        let committed = try await metadata.committed(partitions, timeout: Self.timeout)
        let ends = try await metadata.endOffsets(partitions, timeout: Self.timeout)
        var answer = PartialAnswer<[TopicPartition: GroupLagMachine.Answer]>([:])
        for source in partitions {
            switch (committed[source], ends[source]) {
            case (.success(let committed)?, .success(let end)?):
                answer.value[source] = GroupLagMachine.Answer(committed: committed, end: end)
            case (.failure(let error)?, _), (_, .failure(let error)?): answer.failure = error.description
            case (nil, _), (_, nil): answer.failure = "Kafka did not answer for \(source)"
            }
        }
        return answer
    }
}

extension GroupLagMonitor {
    /// A monitor that logs when a part of the lag is unknown, and when all of it is known again.
    convenience init(topics: [String], interval: @escaping @Sendable () -> Duration, logger: Logger) {
        self.init(topics: topics, interval: { interval().nanoseconds }, clock: SystemClock()) { failure in
            if let failure {
                logger.warning("The group's lag could not be read; load shedding ignores what is unknown.", ["message": failure])
            } else {
                logger.info("The group's lag is known again.")
            }
        }
    }
}
