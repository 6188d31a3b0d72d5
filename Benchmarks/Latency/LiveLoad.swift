// Produces a steady stream of upserts beside a measurement, at a rate that can be changed while it runs.

import Foundation
import Glibc
import Kafka
import Synchronization
import Telemetry

/// A live producer on a thread of its own.
final class LiveLoad: Sendable {
    /// Keys that the load visits again and again; a probe's keys lie above.
    static let keys = 1_000_000

    private let producer: KafkaProducer
    private let pace = Pace()
    private let done: Task<Void, any Error>

    /// Starts a load of no events a second.
    init(_ place: DrainPlace) async throws {
        var configuration = KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: place.brokers))
        configuration.linger = .milliseconds(5)
        configuration.messageTimeout = .seconds(60)
        let producer = try KafkaProducer.start(configuration)
        let topic = try await producer.prepare(place.topic).topic
        self.producer = producer
        done = Task { [pace] in try await Blocking.run { try pace.produce(to: topic, with: producer) } }
    }

    /// Events a second from now on.
    func set(rate: Double) { pace.state.withLock { $0.rate = rate } }

    /// Events that the broker has acknowledged.
    var delivered: Int { producer.statistics.delivered }

    /// Ends the load; what was taken is delivered.
    func close() async throws {
        pace.state.withLock { $0.isEnding = true }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await done.value) } catch { outcome = .failure(error) }
        _ = await producer.close(deadline: .seconds(10))
        try outcome.get()
    }
}

/// What the producing thread is told.
private final class Pace: Sendable {
    struct State {
        var rate = 0.0
        var isEnding = false
    }

    let state = Mutex(State())
    /// What could not be sent in time is made up for, but no more than so many seconds' worth.
    private static let memory = 0.1

    /// Sends what is due each millisecond, until told to end. Blocks.
    func produce(to topic: ProducerTopic, with producer: KafkaProducer) throws {
        var stream = EventStream(count: LiveLoad.keys)
        var due = 0.0
        var last = MonotonicClock.nanoseconds()
        while true {
            usleep(1_000)
            let (rate, isEnding) = state.withLock { ($0.rate, $0.isEnding) }
            if isEnding { return }
            let now = MonotonicClock.nanoseconds()
            due = min(due + Double(now - last) / 1e9 * rate, rate * Self.memory)
            last = now
            var isFull = false
            while due >= 1, !isFull {
                let isMore = try stream.withNext { key, value in
                    guard let error = producer.produce(topic, key: key, value: value, token: 1) else { return due -= 1 }
                    guard error.code == .queueFull else { throw error }
                    isFull = true
                }
                if !isMore { stream = EventStream(count: LiveLoad.keys) }
            }
        }
    }
}
