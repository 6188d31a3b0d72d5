// Proves on the embedded broker that an ingress sees its group's lag in the committed offsets, and knows when it does not.

import Admission
import Backpressure
import Kafka
import Pipeline
import Platform
import Records
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// A broker with one topic, a group that commits, and an ingress that watches it.
private struct Watched {
    static let partitions = 4
    let broker: EmbeddedBroker
    let metadata: KafkaMetadata
    private let client: KafkaClientConfiguration
    let watch: GroupLagMonitor
    let lines = Shared<[String]>([])

    private struct Lines: LogSink {
        let kept: Shared<[String]>
        func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    }

    init(alsoWatching others: [String] = []) throws {
        broker = try EmbeddedBroker.start(topics: [("messages", Self.partitions)])
        client = KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)
        metadata = try KafkaMetadata.start(client, groupID: "g")
        watch = GroupLagMonitor(
            topics: ["messages"] + others, interval: { .milliseconds(50) },
            logger: Logger(label: "test", sink: Lines(kept: lines)))
    }

    var sources: [TopicPartition] { (0..<Int32(Self.partitions)).map { TopicPartition("messages", $0) } }

    /// Of all partitions together; `nil` where one is not known.
    var backlog: Int64? {
        let backlogs = watch.sample().partitions.map(\.backlog)
        return backlogs.count == Self.partitions && !backlogs.contains(nil) ? backlogs.reduce(0) { $0 + ($1 ?? 0) } : nil
    }

    var inputs: SheddingInputs {
        SheddingInputs(watch.sample(), lagInterval: 0.05, now: MonotonicClock.nanoseconds())
    }

    func produce(_ count: Int) async throws {
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: client))
        let topic = try await producer.prepare("messages").topic
        for number in 0..<count {
            _ = try await producer.send(topic, key: nil, value: [1], partition: Int32(number % Self.partitions))
        }
        _ = await producer.close(deadline: .seconds(5))
    }

    /// Joins the group, commits the same offset of each partition, and leaves.
    func commit(_ offset: Int64) async throws {
        var configuration = KafkaConsumerConfiguration(client: client, groupID: "g", topics: ["messages"])
        configuration.adaptToEmbeddedBroker()
        let consumer = try KafkaConsumer.start(configuration, limit: FixedReadLimit(records: 0))
        while let event = await consumer.next() {
            guard case .assigned(let assigned) = event else { continue }
            consumer.assign(assigned.map { ($0, 0) }, generation: 1)
            let error = await consumer.commitAndWait(assigned.map { ($0, offset) }, within: .seconds(10))
            #expect(error == nil && assigned.count == Self.partitions)
            break
        }
        // Not whether it leaves in time: the offsets are committed, and nobody else joins the group.
        _ = await consumer.close(deadline: .seconds(10))
    }

    /// Runs `body` while the group is watched.
    func watching(_ body: () async throws -> Void) async throws {
        let watching = Task { try await watch.run(KafkaGroupOffsets(metadata: metadata)) }
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        watching.cancel()
        _ = await watching.result
        _ = await metadata.close(deadline: .seconds(5))
        broker.stop()
        try result.get()
    }
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct GroupLagMonitorTests {
    @Test func theLagOfAGroupIsSeenFromOutside() async throws {
        let world = try Watched()
        try await world.watching {
            // An empty log is no backlog, whatever the group has committed.
            #expect(await eventually { world.backlog == 0 })
            try await world.produce(40)
            #expect(await eventually { world.watch.sample().partitions.allSatisfy { $0.end == 10 } })
            #expect(world.backlog == nil, "nothing is committed: where the group begins is not known")
            #expect(world.inputs.lag == nil)
            try await world.commit(4)
            #expect(await eventually { world.backlog == 24 })
            let lag = try #require(world.inputs.lag)
            #expect(lag.records == 24)
            #expect(lag.seconds.map { $0 > 0 } == true)
            try await world.commit(10)
            #expect(await eventually { world.backlog == 0 && world.inputs.lag?.seconds == 0 })
            #expect(world.watch.sample().rates.drain > 0)
            #expect(world.lines.current.isEmpty)
        }
    }

    @Test func brokersThatDoNotAnswerMakeItUnknown() async throws {
        let world = try Watched()
        try await world.watching {
            try await world.produce(4)
            try await world.commit(0)
            #expect(await eventually { world.inputs.lag?.records == 4 })
            try world.broker.setBroker(isDown: true)
            #expect(await eventually { world.inputs.lag == nil }, "the last answer is too old")
            #expect(world.backlog == 4, "it is shown all the same, with its age")
            #expect(await eventually { world.lines.current.count == 1 })
            #expect(world.lines.current.first?.contains("The group's lag could not be read") == true)
            try world.broker.setBroker(isDown: false)
            #expect(await eventually { world.inputs.lag?.records == 4 })
            #expect(await eventually { world.lines.current.count == 2 }, "reported once, and its end")
        }
    }

    @Test func aTopicThatMayNotBeReadHidesNoOther() async throws {
        let world = try Watched(alsoWatching: ["denied", "missing"])
        world.broker.setTopicError("denied", code: 29)
        // One that does not exist yet has no lag.
        world.broker.setTopicError("missing", code: 3)
        try await world.watching {
            try await world.produce(4)
            try await world.commit(1)
            #expect(await eventually { world.backlog == 0 })
            #expect(world.inputs.lag != nil)
            #expect(await eventually { world.lines.current.count == 1 })
            let line = world.lines.current.first ?? ""
            #expect(line.contains("The group's lag could not be read") && line.contains("denied"), "\(line)")
        }
    }

    @Test func aTopicThatDoesNotExistYetHasNoLag() async throws {
        let world = try Watched(alsoWatching: ["missing"])
        world.broker.setTopicError("missing", code: 3)
        try await world.watching {
            try await world.produce(4)
            try await world.commit(1)
            #expect(await eventually { world.backlog == 0 })
            #expect(world.lines.current.isEmpty, "\(world.lines.current)")
        }
    }

    @Test func theFamiliesAreNamedAsAWorkerNamesThem() throws {
        let registry = MetricsRegistry()
        var machine = GroupLagMachine()
        let source = TopicPartition("t", 3)
        machine.asked([source], now: 1_000_000_000)
        let unknown = Mutex(machine.sampled(now: 2_000_000_000, window: 12_000_000_000))
        GroupCollectors.register(on: registry.sharedCollector { unknown.withLock { $0 } }, group: "g")
        func page() -> [Substring] { String(decoding: registry.render(), as: UTF8.self).split(separator: "\n") }
        let labels = #"topic="t",partition="3""#
        for name in [
            "kafka_consumergroup_lag", "sluice_end_offset", "sluice_committed_offset", "sluice_lag_seconds",
            "sluice_end_offset_age_seconds", "sluice_lag_eta_seconds", "sluice_drain_rate_events_per_second",
            "sluice_arrival_rate_events_per_second",
        ] { #expect(page().contains("# TYPE \(name) gauge")) }
        #expect(!page().contains { $0.hasPrefix("kafka_consumergroup_lag{") }, "unknown is not zero")
        #expect(page().contains("sluice_end_offset_age_seconds{\(labels)} 1"))
        machine.answered([source: .init(committed: 5, end: 15)], now: 2_000_000_000)
        let known = machine.sampled(now: 3_000_000_000, window: 12_000_000_000)
        unknown.withLock { $0 = known }
        for line in [
            #"kafka_consumergroup_lag{consumergroup="g",\#(labels)} 10"#, "sluice_end_offset{\(labels)} 15",
            "sluice_committed_offset{\(labels)} 5", "sluice_lag_seconds{\(labels)} 1", "sluice_lag_eta_seconds +Inf",
        ] { #expect(page().contains { $0 == line }, "the page lacks \(line)") }
    }
}
