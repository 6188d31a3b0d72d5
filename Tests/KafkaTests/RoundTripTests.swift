// Proves that all records pass through the embedded broker once, in order, within the credits.

import Kafka
import Records
import Synchronization
import TestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(2)))
struct RoundTripTests {
    /// No key and an empty one are two things, also in a group.
    @Test func aGroupKeepsRecordsWithoutKey() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let topic = try await producer.prepare("t").topic
        let keys: [[UInt8]?] = [[65], nil, [], [66, 67], nil]
        var group = ProducerGroup()
        for key in keys {
            [UInt8]("v".utf8).withUnsafeBytes { value in
                guard let key else { return group.append(key: nil, copying: value, token: 2) }
                key.withUnsafeBytes { group.append(key: $0, copying: value, token: 2) }
            }
        }
        producer.produce(topic, &group) { _, error in Issue.record("\(error)") }
        #expect(await producer.flush(within: .seconds(20)))
        _ = await producer.close(deadline: .seconds(10))
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: FixedReadLimit(records: 100, bytes: 1 << 20))
        var driver = Driver(consumer)
        try await driver.join()
        var read: [[UInt8]?] = []
        while read.count < keys.count {
            guard let batch = try await driver.step() else { continue }
            read += batch.records.map { record in batch.bytes(of: record.key).map { Array($0) } }
        }
        #expect(read == keys)
        await consumer.closeAtTheEnd()
    }

    @Test func everyRecordOnceWithRandomCredits() async throws {
        let count = 200_000
        let partitions = 8
        var random = SeededRandom(seed: testSeed("everyRecordOnceWithRandomCredits"))
        let broker = try EmbeddedBroker.start(topics: [("t", partitions)])
        try await fill(broker, partitions: partitions, count: count)

        let credits = TestCredits()
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: credits)
        var driver = Driver(consumer)
        try await driver.join()
        #expect(driver.assigned.count == partitions)

        var received = 0
        var largest = 0
        for slot in 0..<partitions { credits.grant(slot, records: 100, bytes: 1 << 20) }
        consumer.creditsReturned()
        while received < count {
            guard let batch = try await driver.step() else { continue }
            // In order, without gaps or duplicates.
            for record in batch.records {
                let expected = driver.positions[batch.source] ?? 0
                if record.offset != expected { Issue.record("\(batch.source): \(record.offset) instead of \(expected)") }
                driver.positions[batch.source] = record.offset + 1
            }
            received += batch.count
            largest = max(largest, batch.records.map { Int($0.key.length) + Int($0.value.length) }.max() ?? 0)
            // Credits come back to this or another partition, or a while later.
            let slot = Int.random(in: 0..<partitions, using: &random)
            credits.grant(
                slot, records: Int.random(in: 1...2000, using: &random), bytes: Int.random(in: 1...200_000, using: &random))
            let own = driver.assigned.firstIndex(of: batch.source) ?? 0
            credits.grant(own, records: batch.count, bytes: batch.byteCount)
            consumer.creditsReturned()
        }
        let state = credits.state.withLock { $0 }
        #expect(state.recordOvershoots == 0)
        #expect(state.readsWithoutCredits == 0)
        #expect(state.largestByteDebt < largest)
        #expect(consumer.statistics.records == count)
        #expect(driver.positions.values.reduce(0, +) == Int64(count))
        await consumer.closeAtTheEnd()
        let end = await consumer.next()
        #expect(end == nil)
    }
}
