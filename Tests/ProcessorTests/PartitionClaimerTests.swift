// Proves that claims of partitions do not wait for each other, and that a late one fences nobody: on a real PostgreSQL and the embedded
// broker.

import Apply
import Decode
import Foundation
import Kafka
import Pipeline
import Postgres
import Records
import Settings
import SluiceTables
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// Two lanes into a database of their own, and the claimer on them.
private struct ClaimWorld {
    let uri: String
    let metadata: KafkaMetadata
    let lanes: [DatabaseLane]
    let pauses: OperatorPauseSync
    let claimer: PartitionClaimer
    let lines = Shared<[String]>([])
    private let store = OffsetStore(group: "sluice")

    private struct Lines: LogSink {
        let kept: Shared<[String]>
        func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    }

    /// - Parameters:
    ///   - bootstrapServers: where nothing listens by default.
    ///   - isRouted: both mappings are the route's.
    init(
        _ bootstrapServers: String = "127.0.0.1:1", reset: OffsetReset = .earliest, firstStart: FirstStart = .committed,
        outOfRange: OutOfRange = .stop, lockTimeout: Duration = .seconds(5), isRouted: Bool = false
    ) async throws {
        uri = try await TestPostgres.database(migrated: true)
        var settings = PostgresSettings()
        settings.uri = uri
        settings.lockTimeout = lockTimeout
        pauses = OperatorPauseSync(
            store: PauseStore(group: "sluice"), configuration: settings.operatorConnection, interval: .seconds(60),
            logger: .silent)
        pauses.attach { _ in }
        let mapping = try Mapping.compile([
            try YAML.load(path: "\(TestPostgres.checkout.path)/examples/messages/mapping.yaml")
        ])[0]
        var apply = ApplyConfiguration(group: "sluice", outcomes: try OutcomeTable())
        apply.mapping = mapping.name
        let plan = TablePlan(shape: mapping.table, configuration: apply, poison: PoisonLimits(), logger: .silent)
        apply.mapping = "other"
        let missing = TableShape(name: "missing", columns: [ColumnShape(name: "id", type: .int4)], key: [0])
        let other = TablePlan(shape: missing, configuration: apply, poison: PoisonLimits(), logger: .silent)
        let plans = TablePlans(
            [plan, other],
            routes: TopicRoutes([mapping.topics + ["^both"], [Self.otherTopic, "^bo"]], routed: isRouted ? [0, 1] : []))
        lanes = try (0..<2).map {
            try DatabaseLane(
                configuration: settings.connection(name: "lane \($0)"), plans: plans, apply: apply, constraintTimeout: .zero,
                logger: .silent)
        }
        metadata = try KafkaMetadata.start(KafkaClientConfiguration(bootstrapServers: bootstrapServers), groupID: "sluice")
        var kafka = KafkaSettings()
        kafka.autoOffsetReset = reset
        kafka.firstStart = firstStart
        kafka.offsetOutOfRange = outOfRange
        claimer = PartitionClaimer(
            member: "test", plans: plans, kafka: kafka, metadata: metadata, lanes: lanes, pauses: pauses,
            logger: Logger(label: "test", sink: Lines(kept: lines)))
    }

    /// A topic whose table does not exist.
    static let otherTopic = "orders"

    /// A partition of a lane.
    static func partition(ofLane lane: Int) -> TopicPartition {
        (0..<2).map { TopicPartition("messages", $0) }.first { EventPipeline.lane(of: $0, among: 2) == lane }!
    }

    /// Another member has a partition.
    func own(_ sources: TopicPartition..., start: Int64) async throws {
        _ = try await query { [store] in try store.claim(sources.map { ($0, start) }, member: "other", on: $0) }
    }

    func stored(_ source: TopicPartition) async throws -> StoredOffset? {
        try await query { [store] in try store.read([source], on: $0) }.first
    }

    func query<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        return try await connection.performLast(body)
    }

    /// Keeps the thread of a lane in a statement until cancelled.
    func blocked(_ lane: Int) async throws -> Task<Void, Never> {
        let lane = lanes[lane]
        let started = Shared(false)
        let task = Task {
            _ = try? await lane.session { session in
                started.withLock { $0 = true }
                try session.execute("SELECT pg_sleep(30)")
            }
        }
        #expect(await eventually { started.current })
        return task
    }

    /// Another member has a partition, and has applied `count` records of it, the last of which has this fingerprint.
    func apply(_ source: TopicPartition, count: Int64, lastApplied: Int64) async throws {
        try await own(source, start: 0)
        let advance = OffsetAdvance(source: source, epoch: 1, expected: 0, next: count, lastApplied: lastApplied)
        _ = try await query { [store] session in
            try session.pipeline { pipeline in try store.encode([advance], ArrayPool(keptBytes: 0)).queue(&pipeline) }
        }
    }

    /// Begins to claim partitions. What is answered is in `answers`.
    func claim(
        _ requests: [ClaimRequest], isWanted: Shared<Bool> = Shared(true)
    ) -> (task: Task<Void, any Error>, answers: Shared<[TopicPartition: ClaimResult]>) {
        let answers = Shared<[TopicPartition: ClaimResult]>([:])
        let task = Task { [claimer] in
            try await claimer.claim(requests, isWanted: { isWanted.current }) { results in
                answers.withLock { $0.merge(results) { $1 } }
            }
        }
        return (task, answers)
    }

    func claim(_ sources: [TopicPartition]) async throws -> [TopicPartition: ClaimResult] {
        let claim = claim(sources.map { ClaimRequest(source: $0) })
        try await claim.task.value
        return claim.answers.current
    }

    func close() async {
        for lane in lanes { lane.abandon() }
        await pauses.close()
        _ = await metadata.close(deadline: .seconds(5))
    }
}

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct PartitionClaimerTests {
    @Test func aTableThatIsMissingHoldsItsOwnPartitionsOnly() async throws {
        let world = try await ClaimWorld()
        let (healthy, other) = (TopicPartition("messages", 0), TopicPartition(ClaimWorld.otherTopic, 0))
        try await world.own(healthy, other, start: 3)
        let results = try await world.claim([other, healthy])
        #expect(results[healthy] == .claimed(epoch: 2, nextOffset: 3))
        guard case .held(let reason) = results[other] else {
            Issue.record("not held: \(String(describing: results[other]))")
            return
        }
        #expect(reason.kind == .schema && reason.description.contains("does not exist"))
        #expect(try await world.stored(other)?.epoch == 1, "it was claimed")
        await world.close()
    }

    /// A lock on one table keeps its own partitions waiting, and no others.
    @Test func aLockedTableKeepsOnlyItsOwnPartitionsWaiting() async throws {
        let world = try await ClaimWorld(lockTimeout: .milliseconds(300))
        let (healthy, other) = (TopicPartition("messages", 0), TopicPartition(ClaimWorld.otherTopic, 0))
        try await world.own(healthy, other, start: 3)
        _ = try await world.query { try $0.executeScript("CREATE TABLE missing (id int PRIMARY KEY)") }
        let locker = try await PostgresConnection.connect(PostgresConfiguration(uri: world.uri))
        _ = try await locker.perform { try $0.executeScript("BEGIN; LOCK TABLE missing IN ACCESS EXCLUSIVE MODE") }
        let results = try await world.claim([other, healthy])
        await locker.close()
        #expect(results[healthy] == .claimed(epoch: 2, nextOffset: 3))
        guard case .later(let reason)? = results[other] else {
            Issue.record("not told to come later: \(String(describing: results[other]))")
            return
        }
        #expect(reason.hasPrefix("table missing: "))
        #expect(try await world.claim([other])[other] == .claimed(epoch: 2, nextOffset: 3), "the lock is gone")
        await world.close()
    }

    /// The order of the log is that of all its tables: a missing one holds the partitions of the routed topic, and no others.
    @Test func aMissingTableHoldsTheRoutedTopic() async throws {
        let world = try await ClaimWorld(isRouted: true)
        let (healthy, routed) = (TopicPartition("messages", 0), TopicPartition("both-of-them", 0))
        try await world.own(healthy, routed, start: 3)
        let results = try await world.claim([healthy, routed])
        guard case .held(let reason) = results[routed], case .claimed = results[healthy] else {
            Issue.record("\(results)")
            return
        }
        #expect(reason.description.contains("missing"), "\(reason)")
    }

    @Test func aTopicThatTwoMappingsMatchIsHeld() async throws {
        let world = try await ClaimWorld()
        let results = try await world.claim([TopicPartition("both-of-them", 0)])
        guard case .held(let reason)? = results.values.first else {
            Issue.record("not held: \(results)")
            return
        }
        #expect(reason.description.hasPrefix("topic both-of-them matches expressions of the mappings mapping and other;"))
        await world.close()
    }

    /// Kafka is not asked: it does not even run.
    @Test func aStoredOffsetIsTakenAsItIs() async throws {
        let world = try await ClaimWorld()
        let (a, b) = (TopicPartition("messages", 0), TopicPartition("messages", 1))
        try await world.own(a, start: 7)
        let claim = world.claim([ClaimRequest(source: a), ClaimRequest(source: b)])
        #expect(await eventually { claim.answers.current[a] == .claimed(epoch: 2, nextOffset: 7) })
        try await claim.task.value
        guard case .later? = claim.answers.current[b] else {
            Issue.record("a partition without a stored offset needs Kafka: \(claim.answers.current)")
            return
        }
        await world.close()
    }

    @Test func aPartitionWithoutALeaderHoldsUpNobody() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 4)])
        defer { broker.stop() }
        try broker.setLeader(of: "messages", partition: 2, to: nil)
        let world = try await ClaimWorld(broker.bootstrapServers)
        let sources = (0..<4).map { TopicPartition("messages", $0) }
        let results = try await world.claim(sources)
        for source in sources where source.partition != 2 {
            #expect(results[source] == .claimed(epoch: 1, nextOffset: 0))
        }
        guard case .later(let reason)? = results[sources[2]] else {
            Issue.record("a partition without a leader was answered \(results[sources[2]] as Any)")
            return
        }
        #expect(reason.contains("LEADER_NOT_AVAILABLE"))
        try broker.setLeader(of: "messages", partition: 2, to: 1)
        let end = ContinuousClock.now + .seconds(20)
        var result: ClaimResult?
        while result != .claimed(epoch: 1, nextOffset: 0), ContinuousClock.now < end {
            result = try await world.claim([sources[2]])[sources[2]]
        }
        #expect(result == .claimed(epoch: 1, nextOffset: 0))
        await world.close()
    }

    @Test(arguments: 0..<2) func noClaimWaitsForAnotherLane(stuck: Int) async throws {
        let world = try await ClaimWorld()
        let partitions = (0..<2).map(ClaimWorld.partition(ofLane:))
        try await world.own(partitions[0], partitions[1], start: 3)
        let blocked = try await world.blocked(stuck)
        let claim = world.claim(partitions.map { ClaimRequest(source: $0) })
        #expect(
            await eventually { claim.answers.current[partitions[1 - stuck]] == .claimed(epoch: 2, nextOffset: 3) },
            "lane \(stuck) holds up the other")
        #expect(claim.answers.current[partitions[stuck]] == nil)
        claim.task.cancel()
        _ = await claim.task.result
        await blocked.value
        await world.close()
    }

    @Test func aClaimThatIsLateFencesNobody() async throws {
        let world = try await ClaimWorld()
        let source = ClaimWorld.partition(ofLane: 1)
        try await world.own(source, start: 3)
        let blocked = try await world.blocked(1)
        let isWanted = Shared(true)
        let claim = world.claim([ClaimRequest(source: source)], isWanted: isWanted)
        try await Task.sleep(for: .milliseconds(300))
        // The partition is revoked, and its next owner claims it, while the claim still waits for the lane.
        isWanted.withLock { $0 = false }
        try await world.own(source, start: 3)
        world.lanes[1].abandon()
        _ = await blocked.value
        _ = await claim.task.result
        #expect(claim.answers.current[source] != .claimed(epoch: 3, nextOffset: 3))
        #expect(try await world.stored(source)?.epoch == 2, "the next owner has been fenced")
        #expect(try await world.stored(source)?.member == "other")
        await world.close()
    }

    @Test func theEndDoesNotWaitForAClaim() async throws {
        let world = try await ClaimWorld()
        let source = ClaimWorld.partition(ofLane: 0)
        try await world.own(source, start: 3)
        let blocked = try await world.blocked(0)
        let claim = world.claim([ClaimRequest(source: source)])
        try await Task.sleep(for: .milliseconds(300))
        let start = ContinuousClock.now
        claim.task.cancel()
        _ = await claim.task.result
        #expect(ContinuousClock.now - start < .seconds(5))
        await blocked.value
        await world.close()
    }

    /// What is stored of the record before the offset goes to the reader. If the log has another one there, the claim that follows holds
    /// the partition, until an operator says where to continue.
    @Test func anotherLogIsHeldUntilAnOperatorDecides() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 1)])
        defer { broker.stop() }
        try await produce(broker, 20, partitions: 1)
        let world = try await ClaimWorld(broker.bootstrapServers)
        let source = TopicPartition("messages", 0)
        try await world.apply(source, count: 10, lastApplied: 77)
        #expect(try await world.claim([source]) == [source: .claimed(epoch: 2, nextOffset: 10, lastApplied: 77)])
        func claimAgain() async throws -> ClaimResult? {
            let claim = world.claim([ClaimRequest(source: source, checksBounds: true, mismatch: 77)])
            try await claim.task.value
            return claim.answers.current[source]
        }
        guard case .held(let reason)? = try await claimAgain() else {
            Issue.record("it must be held")
            return
        }
        #expect(reason.kind == .offset && reason.description.contains("created again"), "\(reason)")
        #expect(try await world.stored(source)?.epoch == 2)
        // A member that had read on without applying it has met another log: that says nothing about what was applied.
        let unapplied = world.claim([ClaimRequest(source: source, checksBounds: true, mismatch: 78)])
        try await unapplied.task.value
        #expect(unapplied.answers.current[source] == .claimed(epoch: 3, nextOffset: 10, lastApplied: 77))
        // He wants all of the new log.
        _ = try await world.query { try $0.execute("UPDATE sluice_offsets SET next_offset = 0").rowCount }
        #expect(try await claimAgain() == .claimed(epoch: 5, nextOffset: 0))
        await world.close()
    }

    @Test func anotherLogIsReadFromItsBeginningWhereThatIsTheSetting() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 1)])
        defer { broker.stop() }
        try await produce(broker, 20, partitions: 1)
        let world = try await ClaimWorld(broker.bootstrapServers, outOfRange: .earliest)
        let source = TopicPartition("messages", 0)
        try await world.apply(source, count: 10, lastApplied: 77)
        let claim = world.claim([ClaimRequest(source: source, checksBounds: true, mismatch: 77)])
        try await claim.task.value
        #expect(claim.answers.current == [source: .claimed(epoch: 3, nextOffset: 0)])
        #expect(
            world.lines.current.contains { $0.contains("does not continue at its stored offset") && $0.contains("created again") }
        )
        await world.close()
    }

    /// Also if the claim fails once the offset is moved: the next one finds nothing to say.
    @Test func recordsThatArePassedOverAreLoggedOnce() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 1)])
        defer { broker.stop() }
        try await produce(broker, 20, partitions: 1)
        let world = try await ClaimWorld(broker.bootstrapServers, outOfRange: .earliest)
        let source = TopicPartition("messages", 0)
        try await world.apply(source, count: 10, lastApplied: 77)
        _ = try await world.query {
            try $0.executeScript(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON sluice_offsets FOR EACH ROW EXECUTE FUNCTION refuse();
                """)
        }
        func claim() async throws -> ClaimResult? {
            let claim = world.claim([ClaimRequest(source: source, checksBounds: true, mismatch: 77)])
            try await claim.task.value
            return claim.answers.current[source]
        }
        func lines() -> Int { world.lines.current.filter { $0.contains("does not continue at its stored offset") }.count }
        guard case .later? = try await claim() else {
            Issue.record("the claim must fail")
            return
        }
        #expect(try await world.stored(source)?.nextOffset == 0)
        #expect(lines() == 1)
        _ = try await world.query { try $0.executeScript("DROP TRIGGER refuse ON sluice_offsets") }
        #expect(try await claim() == .claimed(epoch: 4, nextOffset: 0))
        #expect(lines() == 1)
        await world.close()
    }

    /// A new database under a group that has committed offsets: one warning with the number of records that are passed over, or all of them.
    @Test(arguments: FirstStart.allCases) func aFirstStartUnderAGroupThatKafkaKnows(firstStart: FirstStart) async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)])
        defer { broker.stop() }
        try await produce(broker, 20, partitions: 2)
        let sources = (0..<2).map { TopicPartition("messages", $0) }
        var configuration = KafkaConsumerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "sluice", topics: ["messages"])
        configuration.adaptToEmbeddedBroker()
        let consumer = try KafkaConsumer.start(configuration, limit: FixedReadLimit())
        while let event = await consumer.next() {
            guard case .assigned(let partitions) = event else { continue }
            consumer.assign(partitions.map { ($0, offset: 0) }, generation: 1)
            #expect(await consumer.commitAndWait([(sources[0], 7), (sources[1], 4)], within: .seconds(10)) == nil)
            break
        }
        _ = await consumer.close(deadline: .seconds(30))

        let world = try await ClaimWorld(broker.bootstrapServers, firstStart: firstStart)
        let results = try await world.claim(sources)
        let warning = world.lines.current.first { $0.contains("committed to Kafka") }
        switch firstStart {
        case .committed:
            #expect(results == [sources[0]: .claimed(epoch: 1, nextOffset: 7), sources[1]: .claimed(epoch: 1, nextOffset: 4)])
            #expect(
                warning?.contains("records_before=11") == true && warning?.contains("messages[0] at 7, messages[1] at 4") == true
                    && warning?.contains("kafka.first_start") == true, "\(world.lines.current)")
        case .earliest:
            #expect(results == [sources[0]: .claimed(epoch: 1, nextOffset: 0), sources[1]: .claimed(epoch: 1, nextOffset: 0)])
            #expect(warning == nil)
        }
        await world.close()
    }

    private func produce(_ broker: EmbeddedBroker, _ count: Int, partitions: Int) async throws {
        let producer = try KafkaProducer.start(
            KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)))
        let topic = try await producer.prepare("messages").topic
        for number in 0..<count {
            _ = try await producer.send(topic, key: nil, value: [1], partition: Int32(number % partitions))
        }
        _ = await producer.close(deadline: .seconds(5))
    }

    /// With `latest`, what was produced to an added partition before it was noticed is read.
    @Test func anAddedPartitionIsReadFromItsBeginning() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)])
        defer { broker.stop() }
        let world = try await ClaimWorld(broker.bootstrapServers, reset: .latest)
        try await world.own(TopicPartition("messages", 0), start: 5)
        try await produce(broker, 6, partitions: 2)
        let added = TopicPartition("messages", 1)
        #expect(try await world.claim([added]) == [added: .claimed(epoch: 1, nextOffset: 0)])
        #expect(world.lines.current.contains { $0.contains("it is read from its beginning") && $0.contains("messages") })
        await world.close()
    }

    /// It has no end that could be stored at the first start: it waits for its leader, and begins at the end then.
    @Test func theFirstStartAtTheEndReadsNoHistoryOfAPartitionThatHadNoLeader() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)])
        defer { broker.stop() }
        try await produce(broker, 6, partitions: 2)
        let (first, second) = (TopicPartition("messages", 0), TopicPartition("messages", 1))
        try broker.setLeader(of: "messages", partition: 1, to: nil)
        let world = try await ClaimWorld(broker.bootstrapServers, reset: .latest)
        let results = try await world.claim([first, second])
        #expect(results[first] == .claimed(epoch: 1, nextOffset: 3))
        guard case .later(let reason)? = results[second] else {
            Issue.record("a partition without a leader was answered \(results[second] as Any)")
            return
        }
        #expect(reason.contains("LEADER_NOT_AVAILABLE"))
        try broker.setLeader(of: "messages", partition: 1, to: 1)
        let end = ContinuousClock.now + .seconds(20)
        var result: ClaimResult?
        while ContinuousClock.now < end {
            result = try await world.claim([second])[second]
            if case .claimed? = result { break }
        }
        guard case .claimed(_, nextOffset: 3, _)? = result else {
            Issue.record("it begins elsewhere: \(result as Any)")
            return
        }
        // From now on it is a stored offset like any other.
        try await produce(broker, 2, partitions: 2)
        guard case .claimed(_, nextOffset: 3, _)? = try await world.claim([second])[second] else {
            Issue.record("the end was not stored")
            return
        }
        await world.close()
    }

    /// The first start is that of the group: the members that come later begin where the first one found the logs.
    @Test func theFirstStartAtTheEndIsTheSameForAllMembers() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)])
        defer { broker.stop() }
        try await produce(broker, 6, partitions: 2)
        let world = try await ClaimWorld(broker.bootstrapServers, reset: .latest)
        let (first, second) = (TopicPartition("messages", 0), TopicPartition("messages", 1))
        #expect(try await world.claim([first]) == [first: .claimed(epoch: 1, nextOffset: 3)])
        try await produce(broker, 2, partitions: 2)
        #expect(try await world.claim([second]) == [second: .claimed(epoch: 1, nextOffset: 3)])
        await world.close()
    }
}
