// Tests queries for topics and offsets, and the embedded broker's own methods.

import Kafka
import Records
import Testing

@Suite(.timeLimit(.minutes(1)))
struct MetadataTests {
    @Test func topicsAndOffsets() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 3), ("u", EmbeddedBroker.defaultPartitions)])
        defer { broker.stop() }
        try await fill(broker, partitions: 2, count: 10)
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        let topics = try await metadata.topics(["t", "u"])
        #expect(try topics["t"]?.get() == 3)
        #expect(try topics["u"]?.get() == 32)
        let matching = try await metadata.topics(["t", "^[tu]$", "^v"])
        #expect(matching.count == 3)
        #expect(try matching["t"]?.get() == 3 && matching["u"]?.get() == 32)
        let missing = #expect(throws: KafkaError.self) { try matching["^v"]?.get() }
        #expect(missing?.code == .unknownTopic && missing?.description.contains("no topic matches the expression ^v") == true)
        let partitions = (0..<3).map { TopicPartition("t", $0) }
        let ends = try await metadata.endOffsets(partitions)
        let beginnings = try await metadata.beginningOffsets(partitions)
        #expect(try partitions.map { try ends[$0]?.get() } == [5, 5, 0])
        #expect(try partitions.map { try beginnings[$0]?.get() } == [0, 0, 0])
        let committed = try await metadata.committed(partitions)
        for partition in partitions { #expect(try committed[partition]?.get() == .some(nil)) }
        let isClosed = await metadata.close(deadline: .seconds(5))
        #expect(isClosed)
        let error = await #expect(throws: KafkaError.self) { try await metadata.topics(["t"]) }
        #expect(error?.code == .closed)
    }

    /// An expression does not stand for the topics in which Kafka keeps offsets and transactions.
    @Test func theTopicsOfKafkaItselfAreNotSeen() async throws {
        let own = ["__consumer_offsets", "__transaction_state"]
        let broker = try EmbeddedBroker.start(topics: [("t", 1), ("__mine", 1)] + own.map { ($0, 1) })
        defer { broker.stop() }
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        #expect(try await metadata.topics(["^.*"]).keys.sorted() == ["__mine", "t"])
        _ = await metadata.close(deadline: .seconds(5))
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker, topic: "^.*"), limit: TestCredits(unlimited: true))
        guard case .assigned(let partitions)? = await consumer.next() else { throw CancellationError() }
        #expect(partitions.sorted() == [TopicPartition("__mine", 0), TopicPartition("t", 0)])
        consumer.assign(partitions.map { ($0, offset: 0) }, generation: 1)
        #expect(await consumer.close(deadline: .seconds(10)))
    }

    @Test func aMissingTopicIsAClearError() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        // The embedded broker creates a topic that is asked for; so it is made to report UNKNOWN_TOPIC_OR_PARTITION.
        broker.setTopicError("typo", code: 3)
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        let topics = try await metadata.topics(["t", "typo"], suggests: true)
        #expect(try topics["t"]?.get() == 1)
        let error = #expect(throws: KafkaError.self) { try topics["typo"]?.get() }
        #expect(error?.code == .unknownTopic)
        #expect(error?.description.contains("typo") == true)
        #expect(error?.description.contains("create") == true)
        // It was matched by an expression, and deleted before its partitions were asked for.
        #expect(try await metadata.topics(["^t"]).keys.sorted() == ["t"])
        _ = await metadata.close(deadline: .seconds(5))

        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: clientConfiguration(broker)))
        let refusal = await #expect(throws: KafkaError.self) { _ = try await producer.prepare("typo") }
        #expect(refusal?.code == .unknownTopic)
        _ = await producer.close(deadline: .seconds(5))
    }

    @Test func aDeadBrokerIsReportedWithinTheTimeout() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        _ = try await metadata.topics(["t"])
        try broker.setBroker(isDown: true)
        let start = ContinuousClock.now
        let first = await #expect(throws: KafkaError.self) { try await metadata.topics(["t"], timeout: .seconds(1)) }
        #expect(first?.isRetriable == true)
        let second = await #expect(throws: KafkaError.self) {
            let answer = try await metadata.endOffsets([TopicPartition("t", 0)], timeout: .seconds(1))
            _ = try answer[TopicPartition("t", 0)]?.get()
        }
        #expect(second?.isRetriable == true, "\(second as Any)")
        #expect(ContinuousClock.now - start < .seconds(9))
        _ = await metadata.close(deadline: .seconds(5))
    }

    @Test func partitionsWithALeaderAreAnsweredWhileAnotherHasNone() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 3)], brokers: 2)
        defer { broker.stop() }
        for (partition, leader) in [(0, 1), (1, 2), (2, nil)] as [(Int32, Int?)] {
            try broker.setLeader(of: "t", partition: partition, to: leader)
        }
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        let partitions = (0..<3).map { TopicPartition("t", $0) }
        _ = try await metadata.topics(["t"])
        let ends = try await metadata.endOffsets(partitions)
        #expect(try ends[partitions[0]]?.get() == 0)
        #expect(try ends[partitions[1]]?.get() == 0)
        let error = #expect(throws: KafkaError.self) { try ends[partitions[2]]?.get() }
        #expect(error?.isRetriable == true)
        #expect(error?.kafkaCode == 5, "LEADER_NOT_AVAILABLE")
        // A leader that does not answer.
        try broker.setRoundTrip(.seconds(30), broker: 2)
        let slow = try await metadata.endOffsets(partitions, timeout: .seconds(5))
        #expect(try slow[partitions[0]]?.get() == 0)
        #expect(throws: KafkaError.self) { try slow[partitions[1]]?.get() }
        _ = await metadata.close(deadline: .seconds(5))
    }

    @Test func aQuestionDoesNotWaitForOthersAndEndsWithItsTask() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 2)], brokers: 2)
        defer { broker.stop() }
        for partition in 0..<2 as Range<Int32> { try broker.setLeader(of: "t", partition: partition, to: Int(partition) + 1) }
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        let (fast, slow) = (TopicPartition("t", 0), TopicPartition("t", 1))
        _ = try await metadata.endOffsets([fast, slow])
        try broker.setRoundTrip(.seconds(30), broker: 2)
        let start = ContinuousClock.now
        let question = Task { try await metadata.endOffsets([slow], timeout: .seconds(20)) }
        try await Task.sleep(for: .milliseconds(200))
        #expect(try await metadata.endOffsets([fast])[fast]?.get() == 0)
        question.cancel()
        await #expect(throws: KafkaError.self) { try await question.value }
        #expect(ContinuousClock.now - start < .seconds(10))
        _ = await metadata.close(deadline: .milliseconds(100))
    }

    @Test func aStoppedBrokerSaysSo() throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)], brokers: 2)
        #expect(broker.bootstrapServers.split(separator: ",").count == 2)
        #expect(throws: KafkaError.self) { try broker.createTopic("t") }
        broker.stop()
        broker.stop()
        let error = #expect(throws: KafkaError.self) { try broker.createTopic("u") }
        #expect(error?.code == .closed)
    }
}
