// Tests how one member reads, pauses and seeks, with one or two partitions.

import Foundation
import Records
import Synchronization
import TestSupport
import Testing

@testable import Kafka

@Suite(.timeLimit(.minutes(2)))
struct FlowTests {
    /// A broker with `count` records in `partitions` partitions, and a member that has its assignment.
    private func world(
        partitions: Int, count: Int, credits: TestCredits, _ change: (inout KafkaConsumerConfiguration) -> Void = { _ in }
    ) async throws -> (EmbeddedBroker, Driver) {
        let broker = try EmbeddedBroker.start(topics: [("t", partitions)])
        if count > 0 { try await fill(broker, partitions: partitions, count: count) }
        var configuration = consumerConfiguration(broker)
        change(&configuration)
        var driver = Driver(try KafkaConsumer.start(configuration, limit: credits))
        try await driver.join()
        return (broker, driver)
    }

    @Test func pauseAndResumeLoseAndRepeatNothing() async throws {
        let credits = TestCredits()
        var (broker, driver) = try await world(partitions: 1, count: 20_000, credits: credits)
        defer { broker.stop() }
        let consumer = driver.consumer
        var next: Int64 = 0
        var hasPaused = false
        credits.grant(0, records: 500, bytes: 1 << 20)
        consumer.creditsReturned()
        while next < 20_000 {
            guard let batch = try await driver.step() else { continue }
            for record in batch.records {
                #expect(record.offset == next)
                next = record.offset + 1
            }
            credits.grant(0, records: batch.count, bytes: batch.byteCount)
            consumer.creditsReturned()
            if next > 5000, !hasPaused {
                hasPaused = true
                // Twice each: resuming a running partition must not rewind it.
                consumer.pause([batch.source])
                consumer.pause([batch.source])
                consumer.resume([batch.source])
                consumer.resume([batch.source])
            }
        }
        #expect(hasPaused)
        #expect(consumer.statistics.gaps == 0)
        await consumer.closeAtTheEnd()
    }

    /// A partition that is not claimed yet has its place in the assignment, and begins by a seek; the other one goes on undisturbed.
    @Test func aPartitionJoinsByASeek() async throws {
        let credits = TestCredits()
        let broker = try EmbeddedBroker.start(topics: [("t", 2)])
        defer { broker.stop() }
        try await fill(broker, partitions: 2, count: 2_000)
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: credits)
        var driver = Driver(consumer)
        driver.positions[TopicPartition("t", 1)] = KafkaConsumer.noOffset
        try await driver.join()
        credits.grant(0, records: 10_000, bytes: 1 << 30)
        consumer.creditsReturned()
        var next: [TopicPartition: Int64] = [:]
        while next[TopicPartition("t", 0)] != 1_000 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.source.partition == 0)
            for record in batch.records {
                #expect(record.offset == next[batch.source, default: 0])
                next[batch.source] = record.offset + 1
            }
        }
        credits.grant(1, records: 10_000, bytes: 1 << 30)
        consumer.seek(TopicPartition("t", 1), to: 300, generation: driver.generation + 1)
        next[TopicPartition("t", 1)] = 300
        while next[TopicPartition("t", 1)] != 1_000 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.source.partition == 1)
            #expect(batch.generation == driver.generation + 1)
            for record in batch.records {
                #expect(record.offset == next[batch.source, default: 0])
                next[batch.source] = record.offset + 1
            }
        }
        await consumer.closeAtTheEnd()
    }

    @Test func tasksOfTheExecutorRunOnThePollThreadUntilTheClose() async throws {
        let credits = TestCredits()
        let (broker, driver) = try await world(partitions: 1, count: 10, credits: credits)
        defer { broker.stop() }
        let consumer = driver.consumer
        // A hundred times, so that the poll thread is found sleeping and awake.
        let names = await Task(executorPreference: consumer.executor) {
            var names: Set<String> = []
            for _ in 0..<100 {
                names.insert(nameOfThisThread())
                await Task.yield()
            }
            try? await Task.sleep(for: .milliseconds(20))
            names.insert(nameOfThisThread())
            return names
        }.value
        #expect(names == ["kafka-poll"])
        await consumer.closeAtTheEnd()
        let after = await Task(executorPreference: consumer.executor) { nameOfThisThread() }.value
        #expect(after != "kafka-poll")
    }

    @Test func prefetchedBytesAreCountedAndFreedByAPause() async throws {
        let credits = TestCredits()
        var (broker, driver) = try await world(partitions: 2, count: 2_000, credits: credits)
        defer { broker.stop() }
        let consumer = driver.consumer
        let overhead = PrefetchShare.overheadPerRecord
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched") {
            consumer.prefetchedBytes >= 1_500 * overhead
        }
        // End-of-partition events wait in the queues, too, and are counted like records.
        #expect(consumer.prefetchedBytes <= 2_200 * (overhead + 256))
        credits.grant(0, records: 400, bytes: 1 << 20)
        consumer.creditsReturned()
        while driver.others.isEmpty {
            if try await driver.step() != nil { break }
        }
        consumer.pause([TopicPartition("t", 0), TopicPartition("t", 1)])
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched", dropsRecords: true) {
            consumer.prefetchedBytes < 50 * overhead
        }
        await consumer.closeAtTheEnd()
        #expect(consumer.prefetchedBytes == 0)
    }

    /// A large record that is alone in its batch says nothing of the short ones behind it.
    @Test func aLargeRecordDoesNotDistortThePrefetchedBytes() async throws {
        let credits = TestCredits()
        var (broker, driver) = try await world(partitions: 1, count: 0, credits: credits)
        defer { broker.stop() }
        let consumer = driver.consumer
        try await fill(broker, partitions: 1, count: 1, bytes: 400_000)
        try await fill(broker, partitions: 1, count: 2_200)
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched") {
            consumer.prefetchedBytes >= 400_000 + 2_200 * PrefetchShare.overheadPerRecord
        }
        credits.grant(0, records: 1, bytes: 1 << 20)
        consumer.creditsReturned()
        var batch: RecordBatch?
        while batch == nil { batch = try await driver.step() }
        #expect(batch?.count == 1)
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched") {
            consumer.prefetchedBytes < 400_000 + 2_200 * PrefetchShare.overheadPerRecord
        }
        #expect(consumer.prefetchedBytes >= 2_200 * PrefetchShare.overheadPerRecord)
        // Key and payload are the same here; librdkafka counts payloads.
        #expect(consumer.mostPrefetchedBytes <= 400_000 + 2_210 * (PrefetchShare.overheadPerRecord + 40))
        // The largest of the last five seconds counts, and no longer.
        try await driver.until("\(consumer.mostPrefetchedBytes) bytes prefetched") {
            consumer.mostPrefetchedBytes < 400_000 + 2_200 * PrefetchShare.overheadPerRecord
        }
        _ = await consumer.close(deadline: .seconds(30))
    }

    @Test func theOverheadOfRecordsCountsTowardsTheAllowance() async throws {
        let credits = TestCredits(recordOverhead: 60)
        var (broker, driver) = try await world(partitions: 1, count: 1_000, credits: credits)
        defer { broker.stop() }
        let consumer = driver.consumer
        try await driver.until("\(consumer.prefetchedBytes) bytes prefetched") {
            consumer.prefetchedBytes >= 1_000 * PrefetchShare.overheadPerRecord
        }
        // Records with a value and a key of 40 bytes each: 140 bytes with the overhead.
        credits.grant(0, records: 1_000, bytes: 1_400)
        consumer.creditsReturned()
        var batch: RecordBatch?
        while batch == nil { batch = try await driver.step() }
        #expect(batch?.count == 10)
        await consumer.closeAtTheEnd()
    }

    @Test func aSeekChangesOffsetAndGeneration() async throws {
        let credits = TestCredits(unlimited: true)
        var (broker, driver) = try await world(partitions: 1, count: 5000, credits: credits)
        defer { broker.stop() }
        let partition = TopicPartition("t", 0)
        var last: Int64 = -1
        while last < 4999 {
            if let batch = try await driver.step() {
                #expect(batch.generation == 1)
                last = batch.nextOffset - 1
            }
        }
        driver.consumer.seek(partition, to: 1234, generation: 7)
        var next: Int64 = 1234
        while next < 5000 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.generation == 7)
            #expect(batch.records.first?.offset == next)
            next = batch.nextOffset
        }
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    @Test func aPartitionWithoutCreditsIsNotReadUntilTheyReturn() async throws {
        let credits = TestCredits()
        var (broker, driver) = try await world(partitions: 2, count: 2000, credits: credits)
        defer { broker.stop() }
        credits.grant(1, records: 10, bytes: 1 << 20)
        driver.consumer.creditsReturned()
        var first: RecordBatch?
        while first == nil { first = try await driver.step() }
        #expect(first?.source.partition == 1)
        #expect((first?.count ?? 0) <= 10)
        var (read, goal) = (first?.count ?? 0, 10)
        // Far below the second that librdkafka's own back-off would take.
        let time = try await shortest(below: .milliseconds(900)) {
            credits.grant(0, records: 300, bytes: 1 << 20)
            goal += 300
            let start = ContinuousClock.now
            driver.consumer.creditsReturned()
            while read < goal { read += try await driver.step()?.count ?? 0 }
            return ContinuousClock.now - start
        }
        #expect(time < .milliseconds(900))
        #expect(credits.state.withLock { $0.readsWithoutCredits } == 0)
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    @Test func anOffsetOutsideTheLogIsReportedAndASeekRepairsIt() async throws {
        let credits = TestCredits()
        let broker = try EmbeddedBroker.start(topics: [("t", 2)])
        defer { broker.stop() }
        try await fill(broker, partitions: 2, count: 4000)
        var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: credits))
        let (bad, good) = (TopicPartition("t", 0), TopicPartition("t", 1))
        driver.positions[bad] = 1_000_000
        credits.grant(0, records: 100_000, bytes: 1 << 30)
        try await driver.join()
        var failure: (TopicPartition, KafkaError)?
        while failure == nil {
            if case .partitionFailed(let partition, let error, _) = try await driver.next() { failure = (partition, error) }
        }
        #expect(failure?.0 == bad)
        #expect(failure?.1.code == .offsetOutOfRange)
        #expect(failure?.1.description.contains("1000000") == true)
        // The other partition is in the middle of its log at the seek, and continues without a gap or a duplicate.
        credits.grant(1, records: 1000, bytes: 1 << 30)
        driver.consumer.creditsReturned()
        var next: [TopicPartition: Int64] = [bad: 40, good: 0]
        while next != [bad: 2000, good: 2000] {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records.first?.offset == next[batch.source])
            #expect(batch.generation == (batch.source == bad ? 2 : 1))
            next[batch.source] = batch.nextOffset
            if batch.source == good, batch.nextOffset == 1000 {
                driver.consumer.seek(bad, to: 40, generation: 2)
                credits.grant(1, records: 1000, bytes: 1 << 30)
                driver.consumer.creditsReturned()
            }
        }
        #expect(driver.consumer.statistics.gaps == 0)
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    /// Retention passes the position while the partition has no credits: the error waits behind prefetched records, and a pause
    /// purges both. It must be reported all the same.
    @Test func aLostPositionIsReportedAlsoWhereAPauseHasPurgedTheError() async throws {
        let credits = TestCredits()
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        // It answers a fetch with one batch, here of one record: 20 records fill the queue.
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let topic = try await producer.prepare("t").topic
        for _ in 0..<60 { _ = try await producer.send(topic, key: nil, value: [1]) }
        _ = await producer.close(deadline: .seconds(5))
        var configuration = consumerConfiguration(broker)
        configuration.queuedMinimumRecords = 20
        var driver = Driver(try KafkaConsumer.start(configuration, limit: credits))
        try await driver.join()
        let consumer = driver.consumer
        func holds(_ elements: Int) -> Bool { consumer.prefetchedBytes / PrefetchShare.overheadPerRecord == elements }
        try await driver.until("20 records prefetched") { holds(20) }
        // It keeps the last 5 MiB of a partition.
        try await fill(broker, partitions: 1, count: 1_000, bytes: 10_000)
        // One record has been taken from the queue already. There is room in it for a fetch, which finds the position gone.
        credits.grant(0, records: 5, bytes: 1 << 20)
        driver.consumer.creditsReturned()
        var read = 0
        while read < 5 { read += try await driver.step()?.count ?? 0 }
        try await driver.until("17 records prefetched") { holds(17) }
        driver.consumer.pause([TopicPartition("t", 0)])
        driver.consumer.resume([TopicPartition("t", 0)])
        var failure: KafkaError?
        while failure == nil {
            if case .partitionFailed(_, let error, _) = try await driver.next() { failure = error }
        }
        #expect(failure?.code == .offsetOutOfRange)
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    @Test func theFetchWakeUpFillsSmallQueuesFast() async throws {
        // Other suites run at the same time: a round that they disturbed is measured again.
        for round in 1...4 {
            let seconds = try await drainSmallQueues()
            print(
                "60,000 records through queues of 1,000: \(seconds[true] ?? 0) s with fetch wake-up, \(seconds[false] ?? 0) s without"
            )
            // Without it, librdkafka sleeps up to a second each time the queues are full.
            if 3 * (seconds[true] ?? .infinity) < seconds[false] ?? 0 { return }
            // A library that needs no wake-ups is as fast without.
            if hasQueueBackoff, max(seconds[true] ?? .infinity, seconds[false] ?? .infinity) < 5 { return }
            try #require(round < 4, "the fetch wake-up does not help")
        }
    }

    /// librdkafka's fetchers wait for 5 ms only when their queues are full.
    private var hasQueueBackoff: Bool { ConfigurationHandle().setIfKnown("fetch.queue.backoff.ms", "5") }

    /// Seconds to read 60,000 records through small queues, with the fetch wake-up and without.
    private func drainSmallQueues() async throws -> [Bool: Double] {
        let count = 60_000
        var seconds: [Bool: Double] = [:]
        for fetchWakeUp in [true, false] {
            let credits = TestCredits()
            var (broker, driver) = try await world(partitions: 4, count: count, credits: credits) {
                $0.fetchWakeUp = fetchWakeUp
                $0.queuedMinimumRecords = 1000
            }
            let start = ContinuousClock.now
            credits.setUnlimited(true)
            driver.consumer.creditsReturned()
            var read = 0
            while read < count { read += try await driver.step()?.count ?? 0 }
            let time = ContinuousClock.now - start
            seconds[fetchWakeUp] = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
            #expect((fetchWakeUp && !hasQueueBackoff) == (driver.consumer.statistics.wakeUps > 0))
            _ = await driver.consumer.close(deadline: .seconds(30))
            broker.stop()
        }
        return seconds
    }

    @Test func anIdleConsumerSeesARecordWithinMilliseconds() async throws {
        let credits = TestCredits(unlimited: true)
        var (broker, driver) = try await world(partitions: 1, count: 0, credits: credits) { $0.fetchWait = .milliseconds(2) }
        defer { broker.stop() }
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let topic = try await producer.prepare("t").topic
        // A lost wake-up costs 100 ms. Other suites run at the same time: a round that they disturbed is measured again.
        var medians: [Duration] = []
        while medians.count < 5, medians.last ?? .seconds(1) >= .milliseconds(50) {
            var times: [Duration] = []
            for number in 0..<40 {
                let start = ContinuousClock.now
                _ = try await producer.send(topic, key: nil, value: Array("\(number)".utf8))
                var batch: RecordBatch?
                while batch == nil { batch = try await driver.step() }
                times.append(ContinuousClock.now - start)
            }
            medians.append(times.sorted()[times.count / 2])
        }
        print("idle, produce to next(): medians \(medians)")
        #expect(medians.last ?? .seconds(1) < .milliseconds(50))
        _ = await producer.close(deadline: .seconds(5))
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    /// The end of an empty log is an answer, with credits and without, and so is a paused partition's silence.
    @Test func partitionsWithoutRecordsAreNotAssignedAnew() async throws {
        let credits = TestCredits()
        let (broker, driver) = try await world(partitions: 2, count: 0, credits: credits)
        defer { broker.stop() }
        credits.grant(0, records: 100, bytes: 1 << 20)
        driver.consumer.creditsReturned()
        driver.consumer.pause([TopicPartition("t", 1)])
        try await Task.sleep(for: .milliseconds(5_500))
        driver.consumer.resume([TopicPartition("t", 1)])
        try await Task.sleep(for: .milliseconds(5_500))
        #expect(driver.consumer.statistics.restarts == 0)
        _ = await driver.consumer.close(deadline: .seconds(30))
    }

    @Test func keysPayloadsAndHeadersArriveAsTheyWereSent() async throws {
        let credits = TestCredits(unlimited: true)
        var (broker, driver) = try await world(partitions: 1, count: 0, credits: credits)
        defer { broker.stop() }
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let topic = try producer.topic("t")
        let sent: [(key: [UInt8]?, value: [UInt8]?, headers: [ProducerHeader])] = [
            (Array("k".utf8), Array("v".utf8), []),
            (Array("tombstone".utf8), nil, []),
            (Array("empty".utf8), [], []),
            (nil, Array("no key".utf8), []),
            ([], Array("empty key".utf8), []),
            (Array("h".utf8), Array("v".utf8), [.init("one", Array("1".utf8)), .init("null", nil), .init("empty", [])]),
            (Array("h".utf8), nil, [.init("one", Array("1".utf8)), .init("one", Array("2".utf8))]),
        ]
        for (number, record) in sent.enumerated() {
            let delivery = try await producer.send(topic, key: record.key, value: record.value, headers: record.headers)
            #expect(delivery == Delivery(partition: 0, offset: Int64(number)))
        }
        var received = 0
        while received < sent.count {
            guard let batch = try await driver.step() else { continue }
            for record in batch.records {
                let expected = sent[received]
                #expect(batch.bytes(of: record.key).map(Array.init) == expected.key)
                #expect(batch.bytes(of: record.value).map(Array.init) == expected.value)
                #expect(record.timestamp > 1_600_000_000_000)
                var headers: [ProducerHeader] = []
                if let encoded = batch.bytes(of: record.headers) {
                    RecordHeaders.forEach(in: encoded) { name, value in
                        headers.append(ProducerHeader(String(decoding: name, as: UTF8.self), value.map(Array.init)))
                    }
                }
                #expect(headers == expected.headers)
                #expect(record.headers.isNull == expected.headers.isEmpty)
                received += 1
            }
        }
        _ = await producer.close(deadline: .seconds(5))
        _ = await driver.consumer.close(deadline: .seconds(30))
    }
}

/// The name that `top -H` shows for the calling thread.
private func nameOfThisThread() -> String {
    let name = FileManager.default.contents(atPath: "/proc/thread-self/comm") ?? Data()
    return String(decoding: name, as: UTF8.self).trimmingCharacters(in: .newlines)
}
