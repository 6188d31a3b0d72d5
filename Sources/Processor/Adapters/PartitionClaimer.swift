// Claims partitions for the pipeline: makes sure that the table can be written, chooses each partition's first offset, and writes the
// claims.

import Apply
import Backpressure
import Kafka
import Pipeline
import Postgres
import Records
import SluiceTables
import Telemetry

/// Claims partitions on the connections that will write them, so that a successor can end the right session.
final class PartitionClaimer: OffsetClaimer {
    /// Of each question to Kafka.
    private static let timeout = Duration.seconds(2)

    private let store: OffsetStore
    private let member: String
    private let kafka: KafkaSettings
    private let plans: TablePlans
    private let metadata: KafkaMetadata
    private let lanes: [DatabaseLane]
    private let pauses: OperatorPauseSync
    private let logger: Logger

    init(
        member: String, plans: TablePlans, kafka: KafkaSettings, metadata: KafkaMetadata, lanes: [DatabaseLane],
        pauses: OperatorPauseSync, logger: Logger
    ) {
        store = OffsetStore(group: kafka.groupID)
        self.member = member
        self.plans = plans
        self.kafka = kafka
        self.metadata = metadata
        self.lanes = lanes
        self.pauses = pauses
        self.logger = logger
    }

    /// Changes limits of the lanes' present and later writers.
    func reconfigure(constraintTimeout: Duration, poison: PoisonLimits) {
        plans.reconfigure(poison: poison)
        for lane in lanes { lane.reconfigure(constraintTimeout: constraintTimeout) }
    }

    func claim(
        _ requests: [ClaimRequest], isWanted: @escaping @Sendable () -> Bool,
        answer: @escaping @Sendable ([TopicPartition: ClaimResult]) -> Void
    ) async throws {
        try await withTaskCancellationHandler {
            try await claimPartitions(requests, Answers(isWanted: isWanted, answer: answer))
        } onCancel: {
            // The pipeline has ended, and waits for this task: a call of libpq ends only with its connection.
            for lane in lanes { lane.abandon() }
            pauses.abandon()
        }
    }

    /// How a claim's results get back to the pipeline.
    private struct Answers {
        let isWanted: @Sendable () -> Bool
        let answer: @Sendable ([TopicPartition: ClaimResult]) -> Void

        func all(_ partitions: [TopicPartition], _ result: ClaimResult) {
            if !partitions.isEmpty { answer(Dictionary(uniqueKeysWithValues: partitions.map { ($0, result) })) }
        }
    }

    /// Where one partition is to start.
    private struct Start {
        let source: TopicPartition
        let offset: Int64
        /// The stored offset that is replaced.
        var replaces: Int64?
        /// Why the known offset is not used.
        var reason: String?
    }

    private func claimPartitions(_ requests: [ClaimRequest], _ answers: Answers) async throws {
        // The pipeline learns of pauses before the claims, and so before the first record: a paused partition must not be read.
        try await pauses.refresh()
        var byTable: [Int: [ClaimRequest]] = [:]
        for request in requests {
            if let fault = plans.fault(of: request.source.topic) {
                answers.all([request.source], Self.held(fault))
            } else {
                byTable[plans.index(of: request.source), default: []].append(request)
            }
        }
        // A table that is locked keeps the question waiting: those that were written before come first.
        func isNew(_ table: Int) -> Int { plans.together[table].contains { $0.current == nil } ? 1 : 0 }
        let tables = byTable.keys.sorted { (isNew($0), $0) < (isNew($1), $1) }
        let failure = await withDiscardingTaskGroup { group -> (any Error)? in
            for table in tables {
                let requests = byTable[table] ?? []
                do {
                    guard try await areWritable(plans.together[table], requests, answers) else { continue }
                    let stored = try await storedOffsets(of: requests.map(\.source))
                    // A stored offset is taken as it is. Where the log does not hold it, the consumer finds out, and the next claim
                    // decides.
                    let starts = requests.compactMap { request -> Start? in
                        guard !request.checksBounds, let offset = stored[request.source]?.nextOffset,
                            offset != OffsetStore.endToCome
                        else { return nil }
                        return Start(source: request.source, offset: offset)
                    }
                    let known = Set(starts.map(\.source))
                    let others = requests.filter { !known.contains($0.source) }
                    group.addTask { await self.claim(starts, answers) }
                    group.addTask { await self.claim(await self.starts(of: others, answers), answers) }
                } catch {
                    // The connection is lost: what was begun ends first.
                    return error
                }
            }
            return nil
        }
        if let failure { throw failure }
    }

    /// Whether tables can be written; otherwise the requests are answered.
    /// - Throws: where the server could not be asked.
    private func areWritable(_ plans: [TablePlan], _ requests: [ClaimRequest], _ answers: Answers) async throws -> Bool {
        for plan in plans where try await !isWritable(plan, requests, answers) { return false }
        return true
    }

    private func isWritable(_ plan: TablePlan, _ requests: [ClaimRequest], _ answers: Answers) async throws -> Bool {
        let partitions = requests.map(\.source)
        do {
            try await plan.claimed(on: pauses)
            return true
        } catch let error as PostgresError where !error.isConnectionLost && error.sqlState?.hasClass("42") == true {
            // Such as a missing privilege on the schema.
            answers.all(partitions, Self.held("table \(plan.table) cannot be read from the catalog: \(error)"))
        } catch let error as PostgresError where !error.isConnectionLost && error.sqlState != nil {
            // Such as a lock on this table.
            answers.all(partitions, .later(reason: "table \(plan.table): \(error)"))
        } catch let error as ApplyError {
            answers.all(partitions, Self.held(error.description))
        }
        return false
    }

    /// Claims partitions on their lanes, all lanes at the same time.
    private func claim(_ starts: [Start], _ answers: Answers) async {
        await withDiscardingTaskGroup { group in
            for (lane, starts) in Dictionary(grouping: starts, by: { EventPipeline.lane(of: $0.source, among: lanes.count) }) {
                group.addTask {
                    do {
                        try await self.claim(starts, on: self.lanes[lane], answers)
                    } catch {
                        answers.all(starts.map(\.source), .later(reason: "\(error)"))
                    }
                }
            }
        }
    }

    private func claim(_ starts: [Start], on lane: DatabaseLane, _ answers: Answers) async throws {
        let moves = starts.compactMap { start in start.replaces.map { (source: start.source, from: $0, to: start.offset) } }
        let claims = try await lane.session { [store, member] session -> [PartitionClaim] in
            // Here, on the lane's thread, which may have been busy for long: the partitions may be another member's by now.
            guard answers.isWanted() else { return [] }
            // Said here: if the claim fails, the next one finds the offset moved, and nothing to say.
            if !moves.isEmpty { self.report(starts, at: try store.move(moves, member: member, on: session)) }
            return try store.claim(starts.map { ($0.source, $0.offset) }, member: member, on: session)
        }
        if claims.isEmpty { return }
        lane.reset(claims.map(\.source))
        let unmoved = starts.filter { start in
            start.replaces == nil && claims.contains { $0.source == start.source && $0.nextOffset == start.offset }
        }
        report(unmoved, at: unmoved.map(\.source))
        answers.answer(
            Dictionary(
                uniqueKeysWithValues: claims.map {
                    // Another member has prepared the row meanwhile.
                    $0.nextOffset == OffsetStore.endToCome
                        ? ($0.source, .later(reason: "the end of its log is not known yet"))
                        : ($0.source, .claimed(epoch: $0.epoch, nextOffset: $0.nextOffset, lastApplied: $0.lastApplied))
                }))
    }

    /// Logs which of these partitions do not start at the offset that was known.
    private func report(_ starts: [Start], at sources: [TopicPartition]) {
        for start in starts where sources.contains(start.source) {
            guard let reason = start.reason else { continue }
            logger.error(
                "Partition does not continue at its stored offset.",
                ["partition": "\(start.source)", "reason": reason, "starts_at": start.offset])
        }
    }

    private static func held(_ sentence: String) -> ClaimResult { .held(reason: StopReason(.schema, sentence)) }

    /// Asks Kafka where partitions start of which nothing is stored, or whose stored offset the log does not hold. Those that do not start
    /// now are answered.
    private func starts(of requests: [ClaimRequest], _ answers: Answers) async -> [Start] {
        if requests.isEmpty { return [] }
        var results: [TopicPartition: ClaimResult] = [:]
        var starts: [Start] = []
        var passed: [(source: TopicPartition, offset: Int64, before: Int64)] = []
        do {
            for (source, answer) in try await offsets(of: requests) {
                let offsets: StartPosition.Offsets
                do throws(KafkaError) {
                    offsets = try answer.get()
                } catch {
                    // A topic that does not exist may be about to be created again.
                    results[source] =
                        error.isRetriable || error.code == .unknownTopic
                        ? .later(reason: error.description) : .held(reason: StopReason(.kafka, error.description))
                    continue
                }
                let decision = StartPosition.decide(
                    offsets, reset: kafka.autoOffsetReset, firstStart: kafka.firstStart, outOfRange: kafka.offsetOutOfRange)
                switch decision {
                case .hold(let reason):
                    results[source] = .held(reason: StopReason(.offset, reason))
                case .start(let offset, let replacesStored, let reason):
                    starts.append(
                        Start(
                            source: source, offset: offset,
                            replaces: offsets.isEndToCome ? OffsetStore.endToCome : replacesStored ? offsets.stored : nil,
                            reason: reason))
                case .startCommitted(let offset, let before):
                    if before > 0 { passed.append((source, offset, before)) }
                    starts.append(
                        Start(source: source, offset: offset, replaces: offsets.isEndToCome ? OffsetStore.endToCome : nil))
                case .startAdded(let offset):
                    logger.info(
                        "Partition has no offset, but others of its topic have: it is read from its beginning.",
                        ["partition": "\(source)", "starts_at": offset])
                    starts.append(Start(source: source, offset: offset))
                }
            }
        } catch {
            answers.all(requests.map(\.source), .later(reason: "\(error)"))
            return []
        }
        if !passed.isEmpty { warn(of: passed.sorted { $0.source < $1.source }) }
        answers.answer(results)
        return starts
    }

    private func warn(of passed: [(source: TopicPartition, offset: Int64, before: Int64)]) {
        logger.warning(
            "Partitions start at offsets committed to Kafka, because sluice_offsets has none. What is before them is not applied.",
            [
                "partitions": passed.map { "\($0.source) at \($0.offset)" }.joined(separator: ", "),
                "records_before": passed.reduce(0) { $0 + $1.before },
                "remedy":
                    "in a new database: stop the workers, delete the group's rows from sluice_offsets, and set kafka.first_start "
                    + "to earliest",
            ])
    }

    private func storedOffsets(of partitions: [TopicPartition]) async throws -> [TopicPartition: StoredOffset] {
        let rows = try await pauses.session { [store] in try store.read(partitions, on: $0) }
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.source, $0) })
    }

    /// The topics of which the group has stored offsets.
    private func knownTopics(of partitions: [TopicPartition]) async throws -> Set<String> {
        let topics = Set(partitions.map(\.topic)).sorted()
        return try await pauses.session { [store] in try store.known(topics, on: $0) }
    }

    /// At the first start of a group that begins at the end of the log: stores the ends of all partitions of its topics, for all members
    /// at once. So no record between this claim and another member's is lost, and a partition without a row is known to be new. Where an
    /// end cannot be learned, for lack of a leader, the row says so: the partition is claimed once it is known, and begins there.
    private func storeEnds(of topics: Set<String>) async throws {
        for topic in topics.sorted() {
            guard let count = try await metadata.topics([topic], timeout: Self.timeout)[topic]?.get() else { continue }
            let partitions = (0..<Int32(clamping: count)).map { TopicPartition(topic, $0) }
            let committed = try await metadata.committed(partitions, timeout: Self.timeout)
            var starts: [(source: TopicPartition, start: Int64)] = []
            for (source, end) in try await metadata.endOffsets(partitions, timeout: Self.timeout) {
                guard try committed[source]?.get() == nil else { continue }
                starts.append((source, (try? end.get()) ?? OffsetStore.endToCome))
            }
            try await pauses.session { [store, member, starts] in try store.prepare(starts, member: member, on: $0) }
        }
    }

    private func offsets(
        of requests: [ClaimRequest]
    ) async throws -> [TopicPartition: Result<StartPosition.Offsets, KafkaError>] {
        let partitions = requests.map(\.source)
        var known = try await knownTopics(of: partitions)
        let unknown = Set(partitions.map(\.topic)).subtracting(known)
        if kafka.autoOffsetReset == .latest, !unknown.isEmpty {
            try await storeEnds(of: unknown)
            known = try await knownTopics(of: partitions)
        }
        let stored = try await storedOffsets(of: partitions)
        // Partitions whose leader answers wait for the time-out of one that does not.
        let committed = try await metadata.committed(partitions.filter { stored[$0] == nil }, timeout: Self.timeout)
        let beginnings = try await metadata.beginningOffsets(partitions, timeout: Self.timeout)
        let ends = try await metadata.endOffsets(partitions, timeout: Self.timeout)
        var offsets: [TopicPartition: Result<StartPosition.Offsets, KafkaError>] = [:]
        for request in requests {
            let source = request.source
            offsets[source] = Result { () throws(KafkaError) in
                guard let beginning = beginnings[source], let end = ends[source] else {
                    throw KafkaError(.other, "Kafka returned no offsets of \(source)", isRetriable: true)
                }
                let isEndToCome = stored[source]?.nextOffset == OffsetStore.endToCome
                // Where an operator has moved the stored offset, or another member has applied more, nothing speaks against it.
                let isOtherLog = request.mismatch.map { $0 == stored[source]?.lastApplied } ?? false
                return StartPosition.Offsets(
                    stored: isEndToCome ? nil : stored[source]?.nextOffset, committed: try committed[source]?.get(),
                    beginning: try beginning.get(), end: try end.get(), isEndToCome: isEndToCome,
                    isTopicKnown: known.contains(source.topic), isOtherLog: isOtherLog)
            }
        }
        return offsets
    }
}
