// Owns an event producer with an embedded broker for the tests of the ingress.

import Decode
import Foundation
import Kafka
import Records
import Telemetry
import TestSupport

@testable import sluice

/// A broker with the topic `messages`, a Kafka producer, and the event producer.
final class TestEventProducer: Sendable {
    let eventProducer: EventProducer
    let broker: EmbeddedBroker
    let producer: KafkaProducer

    /// - Parameter validator: `nil`: that of the mapping of config/sluice.yaml.
    init(
        _ validator: (any EventValidator)? = nil, registry: MetricsRegistry = MetricsRegistry(),
        bounds: BatchBounds = BatchBounds(), budget: ResultBudget = ResultBudget(),
        waitLimit: Duration = .seconds(5), partitions: Int = 1, isOpen: Bool = true,
        _ configure: (inout KafkaProducerConfiguration) -> Void = { _ in }
    ) async throws {
        broker = try EmbeddedBroker.start(topics: [("messages", partitions)])
        eventProducer = EventProducer(
            try validator ?? Self.validator(), registry: registry, bounds: bounds, budget: budget, waitLimit: waitLimit)
        var configuration = KafkaProducerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers))
        configuration.linger = .milliseconds(5)
        configure(&configuration)
        producer = try KafkaProducer.start(configuration, handler: eventProducer)
        let topic = try await producer.prepare("messages").topic
        if isOpen { eventProducer.bind(producer, topic: topic) }
    }

    /// That of the mapping of config/sluice.yaml.
    static func validator() throws -> any EventValidator {
        let path = TestPostgres.checkout.path + "/config/sluice.yaml"
        return try Configuration.load(path: path, environment: [:]).validator(of: "messages")
    }

    /// Call it after the server's stop.
    func close() async {
        _ = await producer.close(deadline: .seconds(2))
        broker.stop()
    }
}
