// Fills the topic that is drained.

import Foundation
import Glibc
import Kafka

enum TopicFill {
    /// Produces events and waits until the broker has them all.
    /// - Parameters:
    ///   - count: of the whole stream, each with a key of its own.
    ///   - limit: produce only the first so many of them.
    ///   - isDoubled: every second event is produced twice.
    static func fill(
        _ topic: String, count: Int, isScattered: Bool = true, data: EventStream.Data = .message, limit: Int? = nil,
        isDoubled: Bool = false, address: String
    ) async throws {
        var configuration = KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: address))
        configuration.linger = .milliseconds(20)
        configuration.messageTimeout = .seconds(60)
        configuration.inFlightRecords = 200_000
        let producer = try KafkaProducer.start(configuration)
        let target = try await producer.prepare(topic).topic
        let events = limit ?? count
        try await Blocking.run {
            try produce(
                EventStream(count: count, isScattered: isScattered, data: data), limit: events, isDoubled: isDoubled,
                to: target, with: producer)
        }
        let records = isDoubled ? events + events / 2 : events
        guard await producer.flush(within: .seconds(60)), producer.statistics.delivered == records else {
            throw BenchError("the broker has taken \(producer.statistics.delivered) of \(records) events")
        }
        _ = await producer.close(deadline: .seconds(10))
    }

    private static func produce(
        _ events: consuming EventStream, limit: Int, isDoubled: Bool, to topic: ProducerTopic, with producer: KafkaProducer
    ) throws {
        var stream = events
        for index in 0..<limit {
            _ = try stream.withNext { key, value in
                for _ in 0..<(isDoubled && index % 2 == 1 ? 2 : 1) {
                    while let error = producer.produce(topic, key: key, value: value, token: 1) {
                        guard error.code == .queueFull else { throw error }
                        usleep(1_000)
                    }
                }
            }
        }
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
