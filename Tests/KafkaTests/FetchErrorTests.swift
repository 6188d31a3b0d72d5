// Tests what errors of a partition's fetches lead to, on the embedded broker.

import Records
import Testing

@testable import Kafka

@Suite(.timeLimit(.minutes(2)))
struct FetchErrorTests {
    /// Kafka's protocol numbers, and the error that each becomes.
    private static let errors: [(code: Int32, expected: KafkaError.Code)] = [(29, .notAuthorized), (-1, .other), (2, .other)]

    /// librdkafka goes on fetching by itself: the partition continues by a seek.
    @Test(arguments: errors.indices) func aSeekContinuesAPartitionThatWasRefusedOnce(index: Int) async throws {
        let (code, expected) = Self.errors[index]
        let credits = TestCredits()
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        try await produceSingly(broker, 60)
        let consumer = try KafkaConsumer.start(smallQueues(broker), limit: credits)
        var driver = Driver(consumer)
        try await driver.join()
        // No fetch is under way while the queue is full. (One that finds the end of the log would report that instead of an error.)
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched") {
            consumer.prefetchedBytes / PrefetchShare.overheadPerRecord >= 20
        }
        broker.fail(.fetch, with: [code])
        credits.setUnlimited(true)
        consumer.creditsReturned()
        var next: Int64 = 0
        var failure: KafkaError?
        while failure == nil {
            let event = try await driver.next()
            if case .partitionFailed(_, let error, let generation) = event {
                failure = error
                #expect(generation == 1)
            }
            next = driver.handle(event)?.nextOffset ?? next
        }
        #expect(failure?.code == expected && failure?.kafkaCode == code, "\(failure as Any)")
        #expect(next < 60)
        consumer.seek(TopicPartition("t", 0), to: next, generation: 7)
        while next < 60 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.generation == 7 && batch.records.first?.offset == next)
            next = batch.nextOffset
        }
        #expect(consumer.statistics.restarts == 0)
        _ = await consumer.close(deadline: .seconds(30))
    }

    /// The broker answers a fetch with one batch, here of one record: 20 records fill the queue.
    private func smallQueues(_ broker: EmbeddedBroker) -> KafkaConsumerConfiguration {
        var configuration = consumerConfiguration(broker)
        configuration.queuedMinimumRecords = 20
        return configuration
    }

    /// Each record in a batch of its own, in partition 0.
    private func produceSingly(_ broker: EmbeddedBroker, _ count: Int) async throws {
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let topic = try await producer.prepare("t").topic
        for _ in 0..<count { _ = try await producer.send(topic, key: nil, value: [1], partition: 0) }
        _ = await producer.close(deadline: .seconds(5))
    }

    /// Nothing is assigned anew: what was prefetched of the others would be dropped, and here it is gone from the log.
    @Test func theOthersKeepWhatWasPrefetched() async throws {
        let credits = TestCredits()
        let broker = try EmbeddedBroker.start(topics: [("t", 2)])
        defer { broker.stop() }
        let (other, refused) = (TopicPartition("t", 0), TopicPartition("t", 1))
        credits.grant(1, records: 10, bytes: 1 << 20)
        try await produceSingly(broker, 60)
        let consumer = try KafkaConsumer.start(smallQueues(broker), limit: credits)
        var driver = Driver(consumer)
        try await driver.join()
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched", dropsRecords: true) {
            consumer.prefetchedBytes / PrefetchShare.overheadPerRecord >= 20
        }
        // It keeps the last 5 MiB of a partition.
        try await fill(broker, partitions: 1, count: 1_000, bytes: 10_000)
        broker.fail(.fetch, with: [29])
        #expect(try await failure(&driver).message.contains("\(refused)"))
        consumer.seek(refused, to: 0, generation: 2)
        try await fill(broker, partitions: 2, count: 2)
        var batch: RecordBatch?
        while batch == nil { batch = try await driver.step() }
        #expect(batch?.source == refused && batch?.generation == 2)
        credits.grant(0, records: 20, bytes: 1 << 20)
        consumer.creditsReturned()
        batch = nil
        while batch == nil { batch = try await driver.step() }
        #expect(batch?.source == other && batch?.records.first?.offset == 0)
        let isUntouched = !driver.others.contains { if case .partitionFailed = $0 { true } else { false } }
        #expect(isUntouched, "\(driver.others)")
        _ = await consumer.close(deadline: .seconds(30))
    }

    /// librdkafka reports an error of authorization once, however long it lasts, but again after each seek.
    @Test func anErrorThatLastsIsReportedAgain() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        try await fill(broker, partitions: 1, count: 100)
        broker.fail(.fetch, with: Array(repeating: 29, count: 100_000))
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits(unlimited: true))
        var driver = Driver(consumer)
        try await driver.join()
        for round in 1...2 {
            #expect(try await failure(&driver).code == .notAuthorized)
            consumer.seek(TopicPartition("t", 0), to: 0, generation: UInt64(round + 1))
        }
        #expect(consumer.statistics.restarts == 0)
        _ = await consumer.close(deadline: .seconds(30))
    }

    private func failure(_ driver: inout Driver) async throws -> KafkaError {
        while true {
            let event = try await driver.next()
            if case .partitionFailed(_, let error, _) = event { return error }
            driver.handle(event)
        }
    }
}
