// Owns the metadata client of a worker: queries for topics and offsets, each with a timeout.

internal import CKafka
internal import Dispatch
internal import Platform
public import Records
internal import Synchronization

/// Queries topics and offsets with a client of its own, which never joins a group: on the fetching client each answer would wait
/// for the end of an open fetch.
///
/// Queries run at the same time, each on a serial queue of its own, so that none waits for the time-out of another. The threads of a
/// concurrent queue would be those on which Swift runs its tasks.
public final class KafkaMetadata: Sendable {
    /// An end of a partition's log.
    private enum Bound: Int64 {
        case beginning = -2  // RD_KAFKA_OFFSET_BEGINNING
        case end = -1  // RD_KAFKA_OFFSET_END
    }

    private struct Known {
        /// The leaders as the brokers returned them last; negative: none.
        var leaders: [TopicPartition: Int32] = [:]
        /// The last question about offsets was not answered for every partition.
        var isPartial = false
    }

    private let client: Client
    private let failures: ConnectionFailures
    private let known = Mutex(Known())
    // librdkafka's handles are thread-safe. The destruction waits for the queries under way, and excludes later ones.
    private let queries = DispatchGroup()
    private let isClosed = Atomic(false)

    private init(_ client: Client, _ failures: ConnectionFailures) {
        self.client = client
        self.failures = failures
    }

    // Destroying blocks: so not on the thread that releases the last reference.
    deinit {
        let client = client
        queries.notify(queue: Self.queue()) { client.destroy() }
    }

    private static func queue() -> DispatchQueue { DispatchQueue(label: "kafka-metadata") }

    /// Makes the client.
    /// - Parameters:
    ///   - groupID: the group whose committed offsets can be queried; empty: none.
    ///   - seesOpenTransactions: whether ``endOffsets(_:timeout:)`` returns high watermarks. Otherwise it returns what a consumer with the
    ///     same properties can read up to: with `read_committed`, librdkafka's default, the last stable offsets.
    public static func start(
        _ configuration: KafkaClientConfiguration, groupID: String, seesOpenTransactions: Bool = true
    ) throws(KafkaError) -> KafkaMetadata {
        let properties = try configuration.makeConfiguration()
        if !groupID.isEmpty { try properties.set("group.id", groupID) }
        try KafkaProperties.apply(configuration.properties, to: properties)
        // ListOffsets carries it: KIP-98.
        if seesOpenTransactions { try properties.set("isolation.level", "read_uncommitted") }
        try properties.set("log.connection.close", "true")
        let failures = ConnectionFailures()
        var configuration = configuration
        configuration.log = failures.watching(
            configuration.log, logsCloses: configuration.properties["log.connection.close"] == "true")
        return KafkaMetadata(try Client(RD_KAFKA_CONSUMER, properties, configuration), failures)
    }

    func run<T: Sendable>(_ query: @escaping @Sendable (Client) -> Result<T, KafkaError>) async throws(KafkaError) -> T {
        let (client, queries) = (client, queries)
        let waiter = Waiter<T>()
        queries.enter()
        guard !isClosed.load(ordering: .sequentiallyConsistent) else {
            queries.leave()
            throw KafkaError(.closed, "the metadata client is closed")
        }
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiter.wait(continuation)
                Self.queue().async {
                    waiter.answer(query(client))
                    queries.leave()
                }
            }
        } onCancel: {
            // The query goes on until its time-out, and nobody waits for it.
            waiter.answer(.failure(KafkaError(.closed, "the question was cancelled")))
        }
        do throws(KafkaError) { return try answer.get() } catch { throw failures.explain(error) }
    }

    /// The number of partitions of each topic, or the error of a topic that is missing or not allowed. Throws where no broker
    /// answers. A regular expression (``TopicPattern``) stands for the topics that match, and is missing where none does.
    /// - Parameter suggests: the error of a missing topic names the nearest one that exists; this asks for the names of all topics.
    public func topics(
        _ names: [String], suggests: Bool = false, timeout: Duration = .seconds(10)
    ) async throws(KafkaError) -> [String: Result<Int, KafkaError>] {
        let limit = MonotonicClock.nanoseconds() + timeout.nanoseconds
        return try await run { [self] client in
            var answers: [String: Result<Int, KafkaError>] = [:]
            var concrete = names.filter { !TopicPattern.isPattern($0) }
            if concrete.count < names.count {
                do throws(KafkaError) {
                    let all = try TopicHandle.names(client, timeout: KafkaMetadata.rest(until: limit))
                    for text in names where TopicPattern.isPattern(text) {
                        let matching = Self.names(all, matching: text)
                        concrete += matching
                        if matching.isEmpty {
                            answers[text] = .failure(KafkaError(.unknownTopic, "no topic matches the expression \(text)"))
                        }
                    }
                } catch {
                    return .failure(error)
                }
            }
            for name in concrete where answers[name] == nil {
                let rest = KafkaMetadata.rest(until: limit)
                do throws(KafkaError) {
                    answers[name] = .success(try leaders(of: name, client, timeout: rest).count)
                } catch {
                    // What an expression matched may have been deleted since.
                    if error.code == .unknownTopic, !names.contains(name) { continue }
                    answers[name] = .failure(error)
                }
                if case .failure(let error)? = answers[name], error.isRetriable { return .failure(error) }
            }
            return .success(suggests ? Self.suggested(answers, client, limit) : answers)
        }
    }

    /// The offset after the last record of each partition, open transactions included or not as chosen at the start. One request to each
    /// leader.
    public func endOffsets(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        try await offsets(partitions, .end, timeout)
    }

    /// The offset of the first record of each partition. One request to each leader.
    public func beginningOffsets(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        try await offsets(partitions, .beginning, timeout)
    }

    // Not rd_kafka_query_watermark_offsets: in 2.0.2 it ignores its timeout.
    private func offsets(
        _ partitions: [TopicPartition], _ bound: Bound, _ timeout: Duration
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        if partitions.isEmpty { return [:] }
        let limit = MonotonicClock.nanoseconds() + timeout.nanoseconds
        let answers = try await run { [self] client in
            if !known.withLock({ $0.isPartial }),
                case .success(let answers) = Self.ask(client, partitions, bound, within: Self.rest(until: limit) / 2)
            {
                return .success(answers)
            }
            return offsetsByLeader(client, partitions, bound, limit)
        }
        return answers.mapValues { $0.mapError { failures.explain($0) } }
    }

    /// Asks each leader by itself: while one partition has no leader, or one broker does not answer, a call of librdkafka for all partitions
    /// returns nothing of the others.
    private func offsetsByLeader(
        _ client: Client, _ partitions: [TopicPartition], _ bound: Bound, _ limit: UInt64
    ) -> Result<[TopicPartition: Result<Int64, KafkaError>], KafkaError> {
        var answers: [TopicPartition: Result<Int64, KafkaError>] = [:]
        var byLeader: [Int32: [TopicPartition]] = [:]
        for (topic, partitions) in Dictionary(grouping: partitions, by: \.topic) {
            do throws(KafkaError) {
                _ = try leaders(of: topic, client, timeout: Self.rest(until: limit) / 2)
            } catch {
                // The broker that was asked may be the one that does not answer: then the leaders are those of the last answer.
                let isKnown = known.withLock { known in partitions.contains { known.leaders[$0] != nil } }
                guard error.isRetriable, isKnown else {
                    for partition in partitions { answers[partition] = .failure(error) }
                    continue
                }
            }
            for partition in partitions {
                let leader = known.withLock { $0.leaders[partition] } ?? -1
                if leader >= 0 {
                    byLeader[leader, default: []].append(partition)
                } else {
                    answers[partition] = .failure(
                        KafkaError(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, "\(partition) has no leader at the moment"))
                }
            }
        }
        let answered = Shared(answers)
        let leaders = DispatchGroup()
        for partitions in byLeader.values {
            Self.queue().async(group: leaders) {
                let group: [TopicPartition: Result<Int64, KafkaError>]
                switch Self.ask(client, partitions, bound, within: Self.rest(until: limit)) {
                case .success(let answers): group = answers
                case .failure(let error): group = Dictionary(uniqueKeysWithValues: partitions.map { ($0, .failure(error)) })
                }
                answered.value.withLock { $0.merge(group) { $1 } }
            }
        }
        leaders.wait()
        let all = answered.value.withLock { $0 }
        let failure = all.values.lazy.compactMap { if case .failure(let error) = $0 { error } else { nil } }.first
        known.withLock { $0.isPartial = failure != nil }
        // Nobody answers: one error, and not one for each partition.
        if let failure, failure.isRetriable, !all.values.contains(where: { if case .success = $0 { true } else { false } }) {
            return .failure(failure)
        }
        return .success(all)
    }

    private func leaders(
        of topic: String, _ client: Client, timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: Int32] {
        let fresh = try TopicHandle.leaders(of: topic, client, timeout: timeout)
        known.withLock { known in
            known.leaders = known.leaders.filter { $0.key.topic != topic }
            known.leaders.merge(fresh) { $1 }
        }
        return fresh
    }

    private static func ask(
        _ client: Client, _ partitions: [TopicPartition], _ bound: Bound, within timeout: Duration
    ) -> Result<[TopicPartition: Result<Int64, KafkaError>], KafkaError> {
        let list = PartitionListHandle(partitions, offset: bound.rawValue)
        let error = rd_kafka_offsets_for_times(client.pointer, list.pointer, max(1, Int32(clamping: timeout.milliseconds)))
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            let text = "the offsets cannot be read: \(String(cString: rd_kafka_err2str(error)))"
            // The code of newer versions where no leader can be asked. A partition that does not exist has an error of its own.
            guard error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION else { return .failure(KafkaError(error, text)) }
            return .failure(
                KafkaError(
                    code: .brokerUnreachable, kafkaCode: error.rawValue, message: text, isRetriable: true, mayBePersisted: false))
        }
        return .success(answers(list.entries) { $0 })
    }

    static func rest(until limit: UInt64) -> Duration {
        let now = MonotonicClock.nanoseconds()
        return .nanoseconds(Int64(clamping: limit > now ? limit - now : 0))
    }

    /// The group's committed offset of each partition; `nil` where there is none.
    public func committed(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64?, KafkaError>] {
        if partitions.isEmpty { return [:] }
        return try await run { client in
            let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
            let error = rd_kafka_committed(client.pointer, list.pointer, max(1, Int32(clamping: timeout.milliseconds)))
            guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                return .failure(
                    KafkaError(error, "the committed offsets cannot be read: \(String(cString: rd_kafka_err2str(error)))"))
            }
            return .success(KafkaMetadata.answers(list.entries) { $0 >= 0 ? $0 : nil })
        }
    }

    private static func answers<T>(
        _ entries: [PartitionEntry], _ offset: (Int64) -> T
    ) -> [TopicPartition: Result<T, KafkaError>] {
        var answers: [TopicPartition: Result<T, KafkaError>] = [:]
        for entry in entries { answers[entry.partition] = entry.error.map { .failure($0) } ?? .success(offset(entry.offset)) }
        return answers
    }

    /// Destroys the client after the queries that are waiting; later queries fail.
    /// - Returns: false where `deadline` passed first.
    public func close(deadline: Duration) async -> Bool {
        let ended = Latch()
        let client = client
        isClosed.store(true, ordering: .sequentiallyConsistent)
        queries.notify(queue: Self.queue()) {
            client.destroy()
            ended.open()
        }
        return await ended.wait(within: deadline)
    }
}

/// Answers that several threads collect.
private final class Shared<Value: Sendable>: Sendable {
    let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }
}

/// One task that waits for an answer, which a query and a cancellation may both give: the first one counts.
private final class Waiter<T: Sendable>: Sendable {
    private enum State {
        case idle
        case waiting(CheckedContinuation<Result<T, KafkaError>, Never>)
        case answered(Result<T, KafkaError>)
    }

    private let state = Mutex(State.idle)

    func wait(_ continuation: CheckedContinuation<Result<T, KafkaError>, Never>) {
        let early: Result<T, KafkaError>? = state.withLock { state in
            if case .answered(let answer) = state { return answer }
            state = .waiting(continuation)
            return nil
        }
        if let early { continuation.resume(returning: early) }
    }

    func answer(_ answer: Result<T, KafkaError>) {
        let continuation: CheckedContinuation<Result<T, KafkaError>, Never>? = state.withLock { state in
            switch state {
            case .idle: state = .answered(answer)
            case .waiting(let continuation):
                state = .answered(answer)
                return continuation
            case .answered: break
            }
            return nil
        }
        continuation?.resume(returning: answer)
    }
}
