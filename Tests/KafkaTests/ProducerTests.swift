// Tests the delivery of produced records, with brokers that answer, fail and refuse.

import Platform
import Records
import Synchronization
import Testing

@testable import Kafka

/// Counts reports by token.
private final class Reports: DeliveryHandler {
    struct State {
        var counts: [UInt: Int] = [:]
        var errors: [KafkaError] = []
    }
    let state = Mutex(State())
    let ends = Atomic(0)

    func reportsEnded() { ends.add(1, ordering: .relaxed) }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        state.withLock { state in
            state.counts[token, default: 0] += 1
            if let error { state.errors.append(error) }
        }
    }
}

@Suite(.timeLimit(.minutes(1)))
struct ProducerTests {
    /// Longer than a machine stands still: nothing is sent before a flush, which does not wait for it.
    private static let untilFlush = Duration.seconds(5)

    private func configuration(_ broker: EmbeddedBroker) -> KafkaProducerConfiguration {
        KafkaProducerConfiguration(client: clientConfiguration(broker))
    }

    private func produce(_ producer: KafkaProducer, _ topic: ProducerTopic, _ text: String, token: UInt) -> KafkaError? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { producer.produce(topic, key: $0, value: $0, token: token) }
    }

    @Test func everyRecordIsReportedOnce() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 4)])
        defer { broker.stop() }
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration(broker), handler: reports)
        let topic = try await producer.prepare("t").topic
        for number in 0..<10_000 { #expect(produce(producer, topic, "\(number)", token: UInt(number)) == nil) }
        let isFlushed = await producer.flush(within: .seconds(20))
        #expect(isFlushed)
        let state = reports.state.withLock { $0 }
        #expect(state.errors.isEmpty)
        #expect(state.counts.count == 10_000)
        #expect(state.counts.values.allSatisfy { $0 == 1 })
        #expect(producer.statistics.inFlightRecords == 0)
        #expect(producer.statistics.inFlightBytes == 0)
        let isClosed = await producer.close(deadline: .seconds(30))
        #expect(isClosed)
        #expect(produce(producer, topic, "late", token: 1)?.code == .closed)
    }

    @Test func keysLandWhereJavaProducersPutThem() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 12)])
        defer { broker.stop() }
        let producer = try KafkaProducer.start(configuration(broker))
        let topic = try await producer.prepare("t").topic
        for key in ["1", "2", "42", "4711", "100000", "some-key"] {
            let delivery = try await producer.send(topic, key: Array(key.utf8), value: [0])
            #expect(delivery.partition == Int32(murmur2(Array(key.utf8)) & 0x7fff_ffff) % 12)
        }
        _ = await producer.close(deadline: .seconds(30))
    }

    @Test func aGroupIsProducedInOrderAndEachRecordIsReportedOnce() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 3)])
        defer { broker.stop() }
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration(broker), handler: reports)
        let topic = try await producer.prepare("t").topic
        var group = ProducerGroup()
        let texts = (0..<1_000).map { Array("\($0)".utf8) }
        for start in stride(from: 0, to: 1_000, by: 100) {
            for number in start..<start + 100 {
                // Arrays of the test stay where they are for as long as `texts` lives.
                texts[number].withUnsafeBytes { group.append(key: $0, value: $0, token: UInt(number)) }
            }
            #expect(group.count == 100)
            producer.produce(topic, &group) { token, error in Issue.record("\(token): \(error)") }
            #expect(group.count == 0)
        }
        let isFlushed = await producer.flush(within: .seconds(20))
        #expect(isFlushed)
        withExtendedLifetime(texts) {}
        let state = reports.state.withLock { $0 }
        #expect(state.errors.isEmpty && state.counts.count == 1_000 && state.counts.values.allSatisfy { $0 == 1 })
        #expect(producer.statistics.delivered == 1_000)
        #expect(producer.statistics.inFlightRecords == 0 && producer.statistics.inFlightBytes == 0)
        #expect(reports.ends.load(ordering: .relaxed) > 0)
        _ = await producer.close(deadline: .seconds(30))
        texts[0].withUnsafeBytes { group.append(key: $0, value: $0, token: 7) }
        var refused: [UInt] = []
        producer.produce(topic, &group) { token, error in
            #expect(error.code == .closed)
            refused.append(token)
        }
        #expect(refused == [7])
    }

    @Test func aGroupIsRefusedAsAWholeBeyondTheBoundAndRecordByRecordOtherwise() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        var configuration = configuration(broker)
        configuration.inFlightRecords = 8
        configuration.linger = Self.untilFlush
        configuration.client.properties["message.max.bytes"] = "2000"
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration, handler: reports)
        let topic = try await producer.prepare("t").topic
        #expect(producer.groupRecords == 1)
        let small = [UInt8](repeating: 1, count: 10)
        let large = [UInt8](repeating: 1, count: 3_000)
        var group = ProducerGroup()
        var refused: [UInt: KafkaError.Code] = [:]
        func produce(_ values: [[UInt8]], from token: UInt) {
            for (index, value) in values.enumerated() {
                small.withUnsafeBytes { key in
                    value.withUnsafeBytes { group.append(key: key, value: $0, token: token + UInt(index)) }
                }
            }
            producer.produce(topic, &group) { refused[$0] = $1.code }
        }
        produce([small, large, small], from: 0)
        #expect(refused == [1: .recordTooLarge])
        produce(Array(repeating: small, count: 7), from: 10)
        #expect(refused.count == 8 && (10..<17).allSatisfy { refused[$0] == .queueFull })
        #expect(producer.statistics.inFlightRecords == 2)
        _ = await producer.close(deadline: .seconds(30))
        #expect(reports.state.withLock { $0.counts } == [0: 1, 2: 1])
    }

    @Test func theProducersBoundsInRecordsAndBytes() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        var configuration = configuration(broker)
        configuration.inFlightRecords = 10
        configuration.inFlightBytes = 1000
        configuration.linger = Self.untilFlush
        let producer = try KafkaProducer.start(configuration)
        let topic = try await producer.prepare("t").topic
        for number in 0..<10 { #expect(produce(producer, topic, "\(number)", token: 0) == nil) }
        let eleventh = produce(producer, topic, "x", token: 0)
        #expect(eleventh?.code == .queueFull)
        #expect(eleventh?.isRetriable == true)
        _ = await producer.flush(within: .seconds(10))
        let large = String(repeating: "x", count: 300)
        #expect(produce(producer, topic, large, token: 0) == nil)
        #expect(produce(producer, topic, large, token: 0)?.code == .queueFull)
        _ = await producer.flush(within: .seconds(10))
        // A record larger than the bound is taken while it is the only one.
        #expect(produce(producer, topic, String(repeating: "x", count: 2000), token: 0) == nil)
        let isClosed = await producer.close(deadline: .seconds(30))
        #expect(isClosed)
    }

    @Test func aDeadBrokerFailsRecordsWithinTheirTimeout() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        var configuration = configuration(broker)
        configuration.messageTimeout = .seconds(2)
        let producer = try KafkaProducer.start(configuration)
        let topic = try await producer.prepare("t").topic
        try broker.setBroker(isDown: true)
        let start = ContinuousClock.now
        let error = await #expect(throws: KafkaError.self) { try await producer.send(topic, key: nil, value: [1]) }
        #expect(error?.code == .timedOut)
        #expect(error?.isRetriable == true)
        #expect(ContinuousClock.now - start < .seconds(6))
        try broker.setBroker(isDown: false)
        var delivery: Delivery?
        while delivery == nil { delivery = try? await producer.send(topic, key: nil, value: [2]) }
        _ = await producer.close(deadline: .seconds(5))
    }

    @Test func closingWithADeadBrokerKeepsItsDeadlineAndReportsEverything() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration(broker), handler: reports)
        let topic = try await producer.prepare("t").topic
        try broker.setBroker(isDown: true)
        for number in 0..<100 { #expect(produce(producer, topic, "\(number)", token: UInt(number)) == nil) }
        let start = ContinuousClock.now
        let isClosed = await producer.close(deadline: .seconds(1))
        #expect(!isClosed)
        #expect(ContinuousClock.now - start < .seconds(7))
        let state = reports.state.withLock { $0 }
        #expect(state.counts.count == 100)
        #expect(state.errors.count == 100)
        #expect(producer.statistics.inFlightRecords == 0)
    }

    @Test func aFatalErrorReplacesTheClient() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let reports = Reports()
        var configuration = configuration(broker)
        configuration.linger = .milliseconds(300)
        let producer = try KafkaProducer.start(configuration, handler: reports)
        let topic = try await producer.prepare("t").topic
        for number in 0..<10 { #expect(produce(producer, topic, "\(number)", token: UInt(number)) == nil) }
        producer.failFatally()
        var delivery: Delivery?
        while delivery == nil {
            do {
                delivery = try await producer.send(topic, key: nil, value: [1])
            } catch {
                #expect(error.isRetriable)
                await Task.yield()
            }
        }
        let isFlushed = await producer.flush(within: .seconds(10))
        #expect(isFlushed)
        #expect(producer.statistics.recreations == 1)
        let state = reports.state.withLock { $0 }
        #expect(state.counts.count == 10)
        #expect(state.counts.values.allSatisfy { $0 == 1 })
        #expect(state.errors.allSatisfy { $0.isRetriable })
        let isClosed = await producer.close(deadline: .seconds(30))
        #expect(isClosed)
    }

    @Test func recordsProducedWhileAClientFailsAreReportedOnceToo() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration(broker), handler: reports)
        let topic = try await producer.prepare("t").topic
        let isOver = Atomic(false)
        let taken = Atomic(0)
        let ended = Latch()
        try OwnedThread.startForKafka("sender") {
            var token: UInt = 0
            while !isOver.load(ordering: .relaxed) {
                let bytes = [UInt8](repeating: 1, count: 100)
                if bytes.withUnsafeBytes({ producer.produce(topic, key: nil, value: $0, token: token) }) == nil { token += 1 }
            }
            taken.store(Int(token), ordering: .relaxed)
            ended.open()
        }
        for round in 1...4 {
            producer.failFatally()
            while producer.statistics.recreations < round { try await Task.sleep(for: .milliseconds(1)) }
        }
        isOver.store(true, ordering: .relaxed)
        let isEnded = await ended.wait(within: .seconds(10))
        #expect(isEnded)
        let isClosed = await producer.close(deadline: .seconds(30))
        #expect(isClosed)
        #expect(producer.statistics.inFlightRecords == 0)
        let counts = reports.state.withLock { $0.counts }
        #expect(counts.count == taken.load(ordering: .relaxed))
        #expect(counts.values.allSatisfy { $0 == 1 })
    }

    @Test func aProducerWithoutPermissionReportsItAndRetriesWithBackOff() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        // CLUSTER_AUTHORIZATION_FAILED
        broker.fail(.initProducerID, with: Array(repeating: 31, count: 1000))
        let producer = try KafkaProducer.start(configuration(broker))
        let topic = try await producer.prepare("t").topic
        try await Task.sleep(for: .seconds(2))
        let error = await #expect(throws: KafkaError.self) { try await producer.send(topic, key: nil, value: [1]) }
        #expect(error?.code == .notAuthorized)
        #expect(error?.mayBePersisted == false)
        // After 50, 100, 200, 400, 800 ms.
        #expect((1...6).contains(producer.statistics.recreations))
        let isClosed = await producer.close(deadline: .seconds(5))
        #expect(isClosed)
    }

    @Test func aBrokersRefusalIsReported() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let producer = try KafkaProducer.start(configuration(broker))
        let topic = try await producer.prepare("t").topic
        // TOPIC_AUTHORIZATION_FAILED
        broker.fail(.produce, with: [29])
        let error = await #expect(throws: KafkaError.self) { try await producer.send(topic, key: nil, value: [1]) }
        #expect(error?.code == .notAuthorized)
        #expect(error?.isRetriable == false)
        #expect(error?.description.contains("t") == true)
        _ = await producer.close(deadline: .seconds(5))
    }

    /// INVALID_TIMESTAMP, POLICY_VIOLATION, INVALID_RECORD
    @Test(arguments: [(32 as Int32, "INVALID_TIMESTAMP"), (44, "POLICY_VIOLATION"), (87, "INVALID_RECORD")])
    func aPermanentRefusalIsToldByItsName(_ refusal: (code: Int32, name: String)) async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let producer = try KafkaProducer.start(configuration(broker))
        let topic = try await producer.prepare("t").topic
        broker.fail(.produce, with: [refusal.code])
        let error = await #expect(throws: KafkaError.self) { try await producer.send(topic, key: nil, value: [1]) }
        #expect(error?.code == .refused && error?.name == refusal.name)
        #expect(error?.isRetriable == false && error?.mayBePersisted == false)
        #expect(KafkaError.refusals.contains(refusal.name))
        _ = await producer.close(deadline: .seconds(5))
    }

    /// What a broker says about a batch says nothing about each of its records.
    @Test func aBatchThatIsTooLargeIsToldFromARecord() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        var configuration = configuration(broker)
        configuration.linger = Self.untilFlush
        let reports = Reports()
        let producer = try KafkaProducer.start(configuration, handler: reports)
        let topic = try await producer.prepare("t").topic
        for (count, code) in [(3, KafkaError.Code.batchTooLarge), (1, .recordTooLarge)] {
            reports.state.withLock { $0 = .init() }
            // MESSAGE_TOO_LARGE
            broker.fail(.produce, with: [10])
            for number in 0..<count { #expect(produce(producer, topic, "\(number)", token: UInt(number)) == nil) }
            let isFlushed = await producer.flush(within: .seconds(10))
            #expect(isFlushed)
            let errors = reports.state.withLock { $0.errors }
            #expect(errors.map(\.code) == Array(repeating: code, count: count))
            #expect(errors.allSatisfy { !$0.mayBePersisted && $0.isRetriable == (code == .batchTooLarge) })
        }
        _ = await producer.close(deadline: .seconds(5))
    }

    @Test func aRecordBeyondTheLimitIsTooLarge() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let producer = try KafkaProducer.start(configuration(broker))
        let topic = try await producer.prepare("t").topic
        let error = await #expect(throws: KafkaError.self) {
            try await producer.send(topic, key: nil, value: [UInt8](repeating: 0, count: 2_000_000))
        }
        #expect(error?.code == .recordTooLarge)
        #expect(error?.mayBePersisted == false)
        _ = await producer.close(deadline: .seconds(5))
    }

    /// Kafka's murmur2 (org.apache.kafka.common.utils.Utils), written from its definition.
    private func murmur2(_ data: [UInt8]) -> UInt32 {
        let m: UInt32 = 0x5bd1_e995
        var h: UInt32 = 0x9747_b28c ^ UInt32(data.count)
        var at = 0
        while at + 4 <= data.count {
            var k = UInt32(data[at]) | UInt32(data[at + 1]) << 8 | UInt32(data[at + 2]) << 16 | UInt32(data[at + 3]) << 24
            k = k &* m
            k ^= k >> 24
            k = k &* m
            h = h &* m ^ k
            at += 4
        }
        let rest = data.count - at
        if rest >= 3 { h ^= UInt32(data[at + 2]) << 16 }
        if rest >= 2 { h ^= UInt32(data[at + 1]) << 8 }
        if rest >= 1 { h = (h ^ UInt32(data[at])) &* m }
        h ^= h >> 13
        h = h &* m
        return h ^ h >> 15
    }
}
