// Fills the topic that is drained.

import Foundation
import Glibc
import Kafka

enum TopicFill {
    /// Produces `count` events and waits until the broker has them all.
    static func fill(_ topic: String, count: Int, isScattered: Bool, address: String) async throws {
        var configuration = KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: address))
        configuration.linger = .milliseconds(20)
        configuration.messageTimeout = .seconds(60)
        configuration.inFlightRecords = 200_000
        let producer = try KafkaProducer.start(configuration)
        let target = try await producer.prepare(topic).topic
        try await Blocking.run {
            try produce(EventStream(count: count, isScattered: isScattered), to: target, with: producer)
        }
        guard await producer.flush(within: .seconds(60)), producer.statistics.delivered == count else {
            throw BenchError("the broker has taken \(producer.statistics.delivered) of \(count) events")
        }
        _ = await producer.close(deadline: .seconds(10))
    }

    private static func produce(
        _ events: consuming EventStream, to topic: ProducerTopic, with producer: KafkaProducer
    ) throws {
        var stream = events
        while try stream.withNext({ key, value in
            while let error = producer.produce(topic, key: key, value: value, token: 1) {
                guard error.code == .queueFull else { throw error }
                usleep(1_000)
            }
        }) {}
    }
}

/// Work that may block, on a thread of its own.
enum Blocking {
    static func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Result { try body() }) }
            thread.stackSize = 1 << 20
            thread.start()
        }
    }
}
