// Sends one event after the other on a fixed schedule and times when each can be seen in PostgreSQL.

import Foundation
import Glibc
import Kafka
import Platform
import Postgres
import Records

/// Latencies in milliseconds, from producing an event to the visibility of its row.
struct Latencies: Codable, Sendable {
    let milliseconds: [Double]

    /// The value that a share of all does not exceed, by nearest rank.
    func percentile(_ share: Double) -> Double {
        let sorted = milliseconds.sorted()
        return sorted[max(0, min(sorted.count - 1, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
    }
}

/// Measures from both ends of a pipeline, in the same way for every program.
///
/// The schedule is open: a late row delays no event. Only the oldest event that is not visible yet is queried, on one connection, so
/// the measurement costs the same for every program. Each event has a key of its own.
final class LatencyProbe: Sendable {
    private let producer: KafkaProducer
    private let topic: ProducerTopic
    private let database: BenchDatabase
    /// The first key; lower ones belong to the load.
    private let firstID: Int32
    /// Nanoseconds after which a row is missing.
    private static let patience: UInt64 = 60_000_000_000
    private static let statement = PreparedStatement(
        "SELECT 1 FROM messages WHERE message_id = $1", types: [TypeOID.int4])

    /// A probe with a producer of its own: no linger, all acknowledgements.
    /// - Parameter firstID: probes of one topic must not share keys.
    init(_ place: DrainPlace, firstID: Int32) async throws {
        var configuration = KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: place.brokers))
        configuration.linger = .zero
        configuration.messageTimeout = .seconds(30)
        producer = try KafkaProducer.start(configuration)
        topic = try await producer.prepare(place.topic).topic
        database = place.database
        self.firstID = firstID
    }

    func close() async { _ = await producer.close(deadline: .seconds(10)) }

    /// Sends `count` events, `interval` apart, and waits until the last can be seen.
    /// - Parameters:
    ///   - offset: of the first key among the probe's own.
    ///   - poll: microseconds between two queries, which is also the error of a latency.
    func run(
        _ count: Int, interval: Duration, poll: UInt32, offset: Int32
    ) async throws -> Latencies {
        let (producer, topic, first) = (producer, topic, firstID + offset)
        let step = UInt64(interval.components.seconds) * 1_000_000_000 + UInt64(interval.components.attoseconds / 1_000_000_000)
        return try await database.withSession { session in
            let parameters = Parameters()
            var sent: [UInt64] = []
            var latencies: [Double] = []
            let start = MonotonicClock.nanoseconds()
            while latencies.count < count {
                let now = MonotonicClock.nanoseconds()
                let due = start + UInt64(sent.count) * step
                if sent.count < count, now >= due {
                    try Self.send(first + Int32(sent.count), to: topic, with: producer)
                    sent.append(now)
                    continue
                }
                guard latencies.count < sent.count else {
                    usleep(UInt32((due - now) / 1000))
                    continue
                }
                parameters.removeAll()
                parameters.append(int4: first + Int32(latencies.count))
                if try session.execute(Self.statement, parameters).rowCount > 0 {
                    latencies.append(Double(MonotonicClock.nanoseconds() - sent[latencies.count]) / 1e6)
                } else {
                    guard now - sent[latencies.count] < Self.patience else {
                        throw BenchError("an event of the probe is not in the table after \(Self.patience / 1_000_000_000) s")
                    }
                    usleep(poll)
                }
            }
            return Latencies(milliseconds: latencies)
        }
    }

    private static func send(_ id: Int32, to topic: ProducerTopic, with producer: KafkaProducer) throws {
        let message = String(repeating: "p", count: EventStream.messageBytes)
        var key = "\(id)"
        var value = #"{"action":"Upsert","message_id":\#(id),"data":{"name":"probe-\#(id)","message":"\#(message)"}}"#
        let error = key.withUTF8 { key in
            value.withUTF8 { value in
                producer.produce(topic, key: UnsafeRawBufferPointer(key), value: UnsafeRawBufferPointer(value), token: 1)
            }
        }
        if let error { throw error }
    }
}
