// What the tests of this room share: a gate with credits, a consumer's driver, seeds, deadlines.

import Kafka
import Records
import Synchronization
import Testing

/// A seed, printed so that a failure can be repeated.
func printedSeed(_ test: String) -> UInt64 {
    let seed = UInt64.random(in: 1...UInt64.max)
    print("\(test): seed \(seed)")
    return seed
}

/// A gate whose slots can be opened to a number of records and bytes; it remembers any overshoot.
final class CreditGate: FetchGate {
    struct Slot {
        var records: Int
        var bytes: Int
    }
    struct State {
        var slots: [Int: Slot] = [:]
        var unlimited = false
        var recordOvershoots = 0
        var largestByteDebt = 0
        var unaskedReads = 0
    }
    let state = Mutex(State())
    let recordOverhead: Int

    init(unlimited: Bool = false, recordOverhead: Int = 0) {
        self.recordOverhead = recordOverhead
        state.withLock { $0.unlimited = unlimited }
    }

    func allowance(_ slot: Int, assignment: UInt64) -> (records: Int, bytes: Int) {
        state.withLock { state in
            if state.unlimited { return (100_000, 1 << 30) }
            guard let credit = state.slots[slot], credit.records > 0, credit.bytes > 0 else { return (0, 0) }
            return (credit.records, credit.bytes)
        }
    }

    func spent(slot: Int, assignment: UInt64, records: Int, bytes: Int) {
        state.withLock { state in
            if state.unlimited { return }
            guard var credit = state.slots[slot], credit.records > 0, credit.bytes > 0 else {
                state.unaskedReads += 1
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

/// Thrown where something did not happen in time.
struct TooLate: Error, CustomStringConvertible {
    let description: String
}

/// Waits for a fact; an error where it does not come about within 20 s.
func untilTrue(_ condition: () -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(20)
    while !condition() {
        guard ContinuousClock.now < end else { throw TooLate(description: "not within 20 s") }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Events of a consumer with a deadline each, and the usual answers to rebalances.
struct Driver {
    let consumer: KafkaConsumer
    /// Where partitions begin that have no entry in `positions`.
    var start: Int64 = 0
    /// Next offset by partition, kept over assignments.
    var positions: [TopicPartition: Int64] = [:]
    var assigned: [TopicPartition] = []
    var assignment: UInt64 = 0
    var others: [ConsumerEvent] = []

    init(_ consumer: KafkaConsumer) { self.consumer = consumer }

    /// The next event, or an error after `limit`.
    func next(within limit: Duration = .seconds(20)) async throws -> ConsumerEvent {
        let consumer = consumer
        let event: ConsumerEvent?? = await withTaskGroup(of: ConsumerEvent??.self) { group in
            group.addTask { .some(await consumer.next()) }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            // The loser of the race may have got an event meanwhile.
            if first == nil, let late = await group.next(), let event = late { return event }
            return first
        }
        guard let event, let event else { throw TooLate(description: "no event within \(limit)") }
        return event
    }

    /// Answers rebalances; returns the first batch of records, or `nil` where the event was something else.
    mutating func step(within limit: Duration = .seconds(20)) async throws -> RecordBatch? {
        handle(try await next(within: limit))
    }

    /// Answers one event; returns its records.
    @discardableResult
    mutating func handle(_ event: ConsumerEvent) -> RecordBatch? {
        switch event {
        case .assigned(let partitions):
            assignment += 1
            assigned = partitions
            consumer.assign(partitions.map { ($0, positions[$0] ?? start) }, assignment: assignment)
        case .revoked:
            assigned = []
            consumer.unassign()
        case .records(let batch, let slot):
            #expect(assigned.indices.contains(slot) && assigned[slot] == batch.source)
            return batch
        default: others.append(event)
        }
        return nil
    }

    /// Steps until the group has assigned something.
    mutating func join(within limit: Duration = .seconds(20)) async throws {
        while assigned.isEmpty { _ = try await step(within: limit) }
    }
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
