// Keeps asking whether events can be produced, so that readiness is true also while nobody posts.

import Kafka

enum KafkaProbe {
    /// How often the brokers are asked, and how long they have to answer.
    private static let interval = Duration.seconds(2)

    /// Tells the gate, where there is one, whether Kafka knows the topic, until the task is cancelled.
    static func run(_ metadata: KafkaMetadata, topic: String, gate: EventProducer?) async throws {
        guard let gate else { return }
        while true {
            try await Task.sleep(for: interval)
            do throws(KafkaError) {
                switch try await metadata.topics([topic], timeout: interval)[topic] {
                case .failure(let error)?: gate.found(trouble: error.description)
                case .success?, nil: gate.found(trouble: nil)
                }
            } catch {
                gate.found(trouble: error.description)
            }
        }
    }
}
