// Checks at an interval whether events can be produced, so that readiness is current also while no events arrive.

import Kafka
import Records

enum KafkaProbe {
    /// Time between two checks, and the time-out of each question.
    private static let interval = Duration.seconds(2)

    /// Tells the event producer, if there is one, whether Kafka knows the topic and the leaders of its partitions answer. Runs until the
    /// task is cancelled.
    static func run(_ metadata: KafkaMetadata, topic: String?, eventProducer: EventProducer?) async throws {
        guard let topic, let eventProducer else { return }
        while true {
            try await Task.sleep(for: interval)
            do throws(KafkaError) {
                let count = try await metadata.partitions(of: topic)
                let partitions = (0..<Int32(clamping: count)).map { TopicPartition(topic, $0) }
                let trouble = try await metadata.leaderTrouble(of: partitions, timeout: interval)
                // While one partition has a leader that answers, other servers would do no better.
                let isTotal = trouble?.isTotal == true
                eventProducer.update(
                    kafkaError: isTotal ? trouble?.sentence : nil, partitionTrouble: isTotal ? nil : trouble?.sentence)
            } catch {
                eventProducer.update(kafkaError: error.description)
            }
        }
    }
}

extension KafkaMetadata {
    /// The number of a topic's partitions.
    func partitions(of topic: String) async throws(KafkaError) -> Int {
        switch try await topics([topic], timeout: .seconds(3))[topic] {
        case .success(let count)?: return count
        case .failure(let error)?: throw error
        case nil: throw KafkaError(.unknownTopic, "Kafka returned no metadata of the topic \(topic)")
        }
    }

    /// Asks the leader of each partition for an offset, at its advertised address: the brokers of `bootstrap_servers` may be reachable and
    /// others not.
    /// - Returns: which of them do not answer, and why; `nil`: all do.
    func leaderTrouble(
        of partitions: [TopicPartition], timeout: Duration
    ) async throws(KafkaError) -> (sentence: String, isTotal: Bool)? {
        var reasons: [String: [TopicPartition]] = [:]
        for (partition, end) in try await endOffsets(partitions, timeout: timeout) {
            if case .failure(let error) = end { reasons[error.description, default: []].append(partition) }
        }
        if reasons.isEmpty { return nil }
        let sentences = reasons.map { reason, silent in
            let named = silent.sorted().prefix(8).map { "\($0)" }.joined(separator: ", ")
            let others = silent.count > 8 ? " and \(silent.count - 8) more" : ""
            return "the leader of \(named)\(others) does not answer: \(reason)"
        }
        return (sentences.sorted().joined(separator: "; "), reasons.values.reduce(0) { $0 + $1.count } == partitions.count)
    }
}
