// Owns what the Kafka tests share: a read limit with credits, a consumer's driver, seeds, deadlines.

import Kafka
import Records
import Synchronization
import Testing

/// A read limit whose slots are granted records and bytes; it counts what was read beyond them.
final class TestCredits: ReadLimit {
    struct Slot {
        var records: Int
        var bytes: Int
    }
    struct State {
        var slots: [Int: Slot] = [:]
        var unlimited = false
        var recordOvershoots = 0
        var largestByteDebt = 0
        var readsWithoutCredits = 0
    }
    let state = Mutex(State())
    let recordOverhead: Int

    init(unlimited: Bool = false, recordOverhead: Int = 0) {
        self.recordOverhead = recordOverhead
        state.withLock { $0.unlimited = unlimited }
    }

    func allowance(slot: Int, generation: UInt64) -> (records: Int, bytes: Int) {
        state.withLock { state in
            if state.unlimited { return (100_000, 1 << 30) }
            guard let credit = state.slots[slot], credit.records > 0, credit.bytes > 0 else { return (0, 0) }
            return (credit.records, credit.bytes)
        }
    }

    func spent(slot: Int, generation: UInt64, records: Int, bytes: Int) {
        state.withLock { state in
            if state.unlimited { return }
            guard var credit = state.slots[slot], credit.records > 0, credit.bytes > 0 else {
                state.readsWithoutCredits += 1
                return
            }
            credit.records -= records
            credit.bytes -= bytes
            if credit.records < 0 { state.recordOvershoots += 1 }
            state.largestByteDebt = max(state.largestByteDebt, -credit.bytes)
            state.slots[slot] = credit
        }
    }

    func grant(_ slot: Int, records: Int, bytes: Int) {
        state.withLock { state in
            var credit = state.slots[slot] ?? Slot(records: 0, bytes: 0)
            credit.records += records
            credit.bytes += bytes
            state.slots[slot] = credit
        }
    }

    func setUnlimited(_ value: Bool) { state.withLock { $0.unlimited = value } }
}

/// A condition was not met in time.
struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// Takes a consumer's events, each within a deadline, and answers its rebalances.
struct Driver {
    let consumer: KafkaConsumer
    /// Start offset of partitions without an entry in `positions`.
    var start: Int64 = 0
    /// Next offset by partition, kept across assignments.
    var positions: [TopicPartition: Int64] = [:]
    /// Fingerprints of the records before the positions.
    var lastApplied: [TopicPartition: Int64] = [:]
    var assigned: [TopicPartition] = []
    var generation: UInt64 = 0
    var others: [ConsumerEvent] = []

    init(_ consumer: KafkaConsumer) { self.consumer = consumer }

    /// The next event, or an error after `limit`.
    func next(within limit: Duration = .seconds(20)) async throws -> ConsumerEvent {
        guard let event = await event(within: limit) else { throw TimedOut(description: "no event within \(limit)") }
        return event
    }

    /// The next event; `nil` where none comes within `limit`.
    private func event(within limit: Duration) async -> ConsumerEvent? {
        let consumer = consumer
        return await withTaskGroup(of: ConsumerEvent?.self) { group in
            group.addTask { await consumer.next() }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            // The cancelled task may have got an event meanwhile.
            return if first == nil { await group.next() ?? nil } else { first }
        }
    }

    /// Handles events until a condition is true; throws after 20 s.
    ///
    /// A test that waits without this leaves a rebalance unanswered, and has no partition until the group gives up.
    /// - Parameter dropsRecords: batches may come, and are of no interest.
    mutating func until(
        _ what: @autoclosure () -> String, dropsRecords: Bool = false, _ condition: () -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while !condition() {
            guard ContinuousClock.now < end else { throw TimedOut(description: "not within 20 s: \(what()); then \(others)") }
            if let event = await event(within: .milliseconds(5)), let batch = handle(event), !dropsRecords {
                Issue.record("\(batch.count) records of \(batch.source) came")
            }
        }
    }

    /// Handles the next event; returns its records, or `nil` where it was another kind of event.
    mutating func step(within limit: Duration = .seconds(20)) async throws -> RecordBatch? {
        handle(try await next(within: limit))
    }

    /// Answers a rebalance, returns records, keeps other events in `others`.
    @discardableResult
    mutating func handle(_ event: ConsumerEvent) -> RecordBatch? {
        switch event {
        case .assigned(let partitions):
            generation += 1
            assigned = partitions
            consumer.assign(
                partitions.map { ($0, positions[$0] ?? start) }, lastApplied: lastApplied, generation: generation)
        case .revoked:
            assigned = []
            consumer.unassign()
        case .records(let batch):
            #expect(assigned.contains(batch.source))
            return batch
        default: others.append(event)
        }
        return nil
    }

    /// Handles events until partitions are assigned.
    mutating func join(within limit: Duration = .seconds(20)) async throws {
        while assigned.isEmpty { _ = try await step(within: limit) }
    }
}

extension KafkaConsumer {
    /// Leaves the group.
    func closeAtTheEnd() async { #expect(await close(deadline: .seconds(30)), "librdkafka's close did not end") }
}

func clientConfiguration(_ broker: EmbeddedBroker) -> KafkaClientConfiguration {
    KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)
}

func consumerConfiguration(_ broker: EmbeddedBroker, group: String = "g", topic: String = "t") -> KafkaConsumerConfiguration {
    var configuration = KafkaConsumerConfiguration(client: clientConfiguration(broker), groupID: group, topics: [topic])
    configuration.adaptToEmbeddedBroker()
    return configuration
}

/// Produces `count` records round-robin over the partitions; each value is its number in decimal, padded to `bytes`.
func fill(
    _ broker: EmbeddedBroker, topic: String = "t", partitions: Int, count: Int, bytes: Int = 40,
    linger: Duration = .milliseconds(20)
) async throws {
    var configuration = KafkaProducerConfiguration(client: clientConfiguration(broker))
    configuration.linger = linger
    let producer = try KafkaProducer.start(configuration)
    let target = try await producer.prepare(topic).topic
    for number in 0..<count {
        let text = "\(number)"
        let value = Array((text + String(repeating: "x", count: max(0, bytes - text.utf8.count))).utf8)
        let partition = Int32(number % partitions)
        while let error = value.withUnsafeBytes({
            producer.produce(target, key: $0, value: $0, partition: partition, token: 0)
        }) {
            guard error.code == .queueFull else { throw error }
            _ = await producer.flush(within: .seconds(10))
        }
    }
    let isComplete = await producer.close(deadline: .seconds(30))
    #expect(isComplete)
    #expect(producer.statistics.delivered == count)
}
