// Checks at an interval whether events can be produced, so that readiness is current also while no events arrive.

import Kafka

enum KafkaProbe {
    /// Time between two requests for metadata, and the time-out of each.
    private static let interval = Duration.seconds(2)

    /// Tells the event producer, if there is one, whether Kafka knows the topic. Runs until the task is cancelled.
    static func run(_ metadata: KafkaMetadata, topic: String, eventProducer: EventProducer?) async throws {
        guard let eventProducer else { return }
        while true {
            try await Task.sleep(for: interval)
            do throws(KafkaError) {
                switch try await metadata.topics([topic], timeout: interval)[topic] {
                case .failure(let error)?: eventProducer.update(kafkaError: error.description)
                case .success?, nil: eventProducer.update(kafkaError: nil)
                }
            } catch {
                eventProducer.update(kafkaError: error.description)
            }
        }
    }
}
