// Produces upserts during a measurement, at a rate that can be changed.

import Foundation
import Glibc
import Kafka
import Platform
import Synchronization

/// A live producer on a thread of its own.
final class LiveLoad: Sendable {
    /// How many keys the load uses; a probe's keys are higher.
    static let keys = 1_000_000

    private let producer: KafkaProducer
    private let control = LoadControl()
    private let done: Task<Void, any Error>

    /// Starts with a rate of 0.
    init(_ place: DrainPlace) async throws {
        var configuration = KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: place.brokers))
        configuration.linger = .milliseconds(5)
        configuration.messageTimeout = .seconds(60)
        let producer = try KafkaProducer.start(configuration)
        let topic = try await producer.prepare(place.topic).topic
        self.producer = producer
        done = Task { [control] in try await Blocking.run { try control.produce(to: topic, with: producer) } }
    }

    /// Sets the rate in events a second.
    func set(rate: Double) { control.state.withLock { $0.rate = rate } }

    /// Events that the broker has acknowledged.
    var delivered: Int { producer.statistics.delivered }

    /// Ends the load and delivers what was produced.
    func close() async throws {
        control.state.withLock { $0.isEnding = true }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await done.value) } catch { outcome = .failure(error) }
        _ = await producer.close(deadline: .seconds(10))
        try outcome.get()
    }
}

/// The rate and the end of the load, read by the producing thread.
private final class LoadControl: Sendable {
    struct State {
        var rate = 0.0
        var isEnding = false
    }

    let state = Mutex(State())
    /// Late events are sent later, at most those of so many seconds.
    private static let memory = 0.1

    /// Sends due events each millisecond until the end. Blocks.
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
