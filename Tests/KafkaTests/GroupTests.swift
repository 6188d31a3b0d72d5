// Tests members that join and leave, commits, and closes with a deadline.

import Kafka
import Records
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)))
struct GroupTests {
    @Test func aSecondMemberTakesItsShareAndGivesItBack() async throws {
        let partitions = 4
        let broker = try EmbeddedBroker.start(topics: [("t", partitions)])
        defer { broker.stop() }
        try await fill(broker, partitions: partitions, count: 8000)
        let credits = TestCredits(unlimited: true)
        let first = try KafkaConsumer.start(consumerConfiguration(broker), limit: credits)
        var driver = Driver(first)
        var received: [TopicPartition: Int64] = [:]
        while received.values.reduce(0, +) < 8000 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records.first?.offset == received[batch.source] ?? 0)
            received[batch.source] = batch.nextOffset
        }
        #expect(driver.assigned.count == 4)
        driver.positions = received

        // The second member joins: the first releases all partitions, commits during the revoke, and gets two of them again.
        let second = try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits())
        let offsets = received.map { ($0.key, $0.value) }
        var revoked: [TopicPartition] = []
        while revoked.isEmpty {
            if case .revoked(let partitions, let isLost) = try await driver.next() {
                #expect(!isLost)
                revoked = partitions
            }
        }
        #expect(revoked.count == 4)
        // A commit is not sent while a rebalance waits for its answer …
        first.commit(offsets.map { ($0.0, $0.1 - 1) })
        // … but the drain's own commit is. A broker accepts it until all members have joined again; the embedded one rejects it.
        let error = await first.commitAndWait(offsets, within: .seconds(5))
        #expect(error == nil || error?.code == .groupChanged)
        driver.assigned = []
        first.unassign()
        var other = Driver(second)
        other.positions = received
        try await other.join()
        try await driver.join()
        #expect(driver.assigned.count == 2)
        #expect(Set(driver.assigned + other.assigned).count == 4)
        #expect(driver.generation == 2)

        // It leaves: the first gets all partitions again, and continues without a gap.
        await second.closeAtTheEnd()
        while driver.assigned.count < 4 { _ = try await driver.step() }
        try await fill(broker, partitions: partitions, count: 400)
        while received.values.reduce(0, +) < 8400 {
            guard let batch = try await driver.step() else { continue }
            #expect(batch.records.first?.offset == received[batch.source])
            #expect(batch.generation == driver.generation)
            received[batch.source] = batch.nextOffset
        }
        #expect(first.statistics.gaps == 0)
        let final = await first.commitAndWait(received.map { ($0.key, $0.value) }, within: .seconds(5))
        #expect(final == nil)
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        let committed = try await metadata.committed(Array(received.keys))
        for (partition, offset) in received { #expect(try committed[partition]?.get() == offset) }
        _ = await metadata.close(deadline: .seconds(5))
        let isLast = await first.close(deadline: .seconds(30))
        #expect(isLast)
    }

    @Test func commitsAreAnsweredAndNeverGoBack() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let partition = TopicPartition("t", 0)
        var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
        try await driver.join()
        driver.consumer.commit([(partition, 50)])
        var answer: [(TopicPartition, Int64)]?
        while answer == nil {
            if case .committed(let offsets, let error) = try await driver.next() {
                #expect(error == nil)
                answer = offsets
            }
        }
        #expect(answer?.first?.1 == 50)
        driver.consumer.commit([(partition, 40)])
        let error = await driver.consumer.commitAndWait([(partition, 45)], within: .seconds(5))
        #expect(error == nil)
        let metadata = try KafkaMetadata.start(clientConfiguration(broker), groupID: "g")
        #expect(try await metadata.committed([partition])[partition]?.get() == 50)
        _ = await metadata.close(deadline: .seconds(5))
        _ = await driver.consumer.close(deadline: .seconds(30))
        let late = await driver.consumer.commitAndWait([(partition, 60)], within: .seconds(5))
        #expect(late?.code == .closed)
    }

    /// librdkafka ends the process where a partition is taken away a second time before its first stop has ended.
    @Test func assignmentsInQuickSuccessionAreHarmless() async throws {
        let partitions = 16
        let broker = try EmbeddedBroker.start(topics: [("t", partitions)])
        defer { broker.stop() }
        try await fill(broker, partitions: partitions, count: 1600)
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits(unlimited: true))
        var driver = Driver(consumer)
        try await driver.join()
        let starts = driver.assigned.map { ($0, offset: Int64(0)) }
        for round in 0..<3_000 {
            consumer.assign(starts, generation: UInt64(10 + round))
            if round % 3 == 0 { consumer.unassign() }
        }
        consumer.assign(starts, generation: 5_000)
        var received: Set<TopicPartition> = []
        while received.count < partitions {
            if let batch = try await driver.step(), batch.generation == 5_000 { received.insert(batch.source) }
        }
        await consumer.closeAtTheEnd()
    }

    /// A member learns from its heartbeats that another one joins or leaves, and all partitions of the group wait for the last one.
    @Test func aMemberNoticesARebalanceByItsNextHeartbeat() async throws {
        let noticed = try await shortest(below: .milliseconds(2500)) {
            let broker = try EmbeddedBroker.start(topics: [("t", 2)])
            defer { broker.stop() }
            var configuration = consumerConfiguration(broker)
            configuration.sessionTimeout = .seconds(10)
            var first = Driver(try KafkaConsumer.start(configuration, limit: TestCredits()))
            try await first.join()
            // Right after a heartbeat's interval has begun.
            let start = ContinuousClock.now
            let second = try KafkaConsumer.start(configuration, limit: TestCredits())
            while !first.assigned.isEmpty { _ = try await first.step() }
            let noticed = ContinuousClock.now - start
            print("a rebalance is noticed after \(noticed)")
            for consumer in [first.consumer, second] { _ = await consumer.close(deadline: .seconds(30)) }
            return noticed
        }
        #expect(noticed < .milliseconds(2500))
    }

    /// A member whose events nobody takes any more: before a rebalance, and while one waits for its answer.
    @Test(arguments: [false, true]) func aMemberThatLeavesKeepsNobodyWaiting(isAsked: Bool) async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 4)])
        defer { broker.stop() }
        var leaving = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
        try await leaving.join()
        if !isAsked { leaving.consumer.leave(within: .seconds(5)) }
        var other = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
        if isAsked {
            var isRevoked = false
            while !isRevoked { if case .revoked = try await leaving.next() { isRevoked = true } }
            // Without an answer the group would wait for a minute (max.poll.interval.ms).
            leaving.consumer.leave(within: .seconds(5))
        }
        try await other.join()
        #expect(other.assigned.count == 4)
        let hasLeft = await leaving.consumer.close(deadline: .seconds(30))
        #expect(hasLeft)
        _ = await other.consumer.close(deadline: .seconds(30))
    }

    /// A new topic makes librdkafka join again while a revoke is not answered.
    @Test func whatIsGivenBeforeARevokeIsAnsweredComesAfterTheAnswer() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 4)])
        defer { broker.stop() }
        var configuration = consumerConfiguration(broker, topic: "^t")
        configuration.client.properties["topic.metadata.refresh.interval.ms"] = "200"
        configuration.sessionTimeout = .seconds(3)
        var first = Driver(try KafkaConsumer.start(configuration, limit: TestCredits(unlimited: true)))
        try await first.join()
        var second = Driver(try KafkaConsumer.start(configuration, limit: TestCredits(unlimited: true)))
        var isRevoked = false
        while !isRevoked { if case .revoked = try await first.next() { isRevoked = true } }
        first.assigned = []
        try broker.createTopic("t2", partitions: 2)
        // It gets its share only once the first has joined again.
        try await second.join()
        var early: [ConsumerEvent] = []
        while let event = try? await first.next(within: .seconds(1)) { early.append(event) }
        #expect(!early.contains { if case .assigned = $0 { true } else { false } }, "\(early)")
        first.consumer.unassign()
        let end = ContinuousClock.now + .seconds(40)
        func drive(_ driver: inout Driver) async {
            if let event = try? await driver.next(within: .milliseconds(20)), let batch = driver.handle(event) {
                driver.positions[batch.source] = batch.nextOffset
            }
        }
        while first.assigned.isEmpty || Set(first.assigned + second.assigned).count < 6, ContinuousClock.now < end {
            await drive(&first)
            await drive(&second)
        }
        #expect(!first.assigned.isEmpty && Set(first.assigned + second.assigned).count == 6)
        try await fill(broker, partitions: 4, count: 400)
        func read() -> Int64 { first.positions.merging(second.positions) { max($0, $1) }.values.reduce(0, +) }
        while read() < 400, ContinuousClock.now < end {
            await drive(&first)
            await drive(&second)
        }
        #expect(read() == 400)
        for consumer in [first.consumer, second.consumer] { _ = await consumer.close(deadline: .seconds(30)) }
    }

    @Test func closingWithADeadBrokerObeysItsDeadline() async throws {
        let time = try await shortest(below: .milliseconds(5500)) {
            let broker = try EmbeddedBroker.start(topics: [("t", 1)])
            defer { broker.stop() }
            var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
            try await driver.join()
            try broker.setBroker(isDown: true)
            driver.consumer.commit([(TopicPartition("t", 0), 1)])
            let start = ContinuousClock.now
            // librdkafka may or may not leave the group without a broker; either way the poll thread must end in time, and with it
            // the events. (The close itself returns at its deadline whatever happens.)
            _ = await driver.consumer.close(deadline: .seconds(2))
            while await driver.consumer.next() != nil {}
            return ContinuousClock.now - start
        }
        #expect(time < .milliseconds(5500))
    }

    @Test func aCancelledTaskStopsWaitingAndLosesNothing() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        let consumer = try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits())
        var driver = Driver(consumer)
        for _ in 0..<50 {
            let task = Task { await consumer.next() }
            task.cancel()
            // The event comes either here or to the next call.
            if let event = await task.value { driver.handle(event) }
        }
        try await driver.join()
        _ = await consumer.close(deadline: .seconds(30))
    }

    @Test func aDroppedConsumerLeavesItsGroup() async throws {
        let broker = try EmbeddedBroker.start(topics: [("t", 1)])
        defer { broker.stop() }
        do {
            var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
            try await driver.join()
        }
        var driver = Driver(try KafkaConsumer.start(consumerConfiguration(broker), limit: TestCredits()))
        try await driver.join(within: .seconds(15))
        _ = await driver.consumer.close(deadline: .seconds(30))
    }
}
