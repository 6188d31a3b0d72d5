// An event gate with an embedded broker behind it: what the tests of the ingress put behind its routes.

import Decode
import Foundation
import Kafka
import Records
import Telemetry
import TestSupport

@testable import sluice

/// A broker with the topic `messages`, a producer, and the gate before it.
final class TestGate: Sendable {
    let gate: EventProducer
    let broker: EmbeddedBroker
    let producer: KafkaProducer

    init(
        registry: MetricsRegistry = MetricsRegistry(), bounds: BatchBounds = BatchBounds(), budget: ResultBudget = ResultBudget(),
        patience: Duration = .seconds(5), partitions: Int = 1, isOpen: Bool = true,
        _ configure: (inout KafkaProducerConfiguration) -> Void = { _ in }
    ) async throws {
        broker = try EmbeddedBroker.start(topics: [("messages", partitions)])
        gate = EventProducer(mapping: try Self.mapping(), registry: registry, bounds: bounds, budget: budget, patience: patience)
        var configuration = KafkaProducerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers))
        configuration.linger = .milliseconds(5)
        configure(&configuration)
        producer = try KafkaProducer.start(configuration, handler: gate)
        let topic = try await producer.prepare("messages").topic
        if isOpen { gate.open(producer, topic: topic) }
    }

    /// The mapping that is shipped.
    static func mapping() throws -> Mapping {
        try Configuration.load(path: TestPostgres.checkout.path + "/config/sluice.yaml", environment: [:]).mapping
    }

    /// Behind the server's stop.
    func close() async {
        _ = await producer.close(deadline: .seconds(2))
        broker.stop()
    }
}
