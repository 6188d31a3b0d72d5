// Owns the metadata client of a worker: queries for topics and offsets, each with a timeout.

internal import CKafka
internal import Dispatch
internal import Platform
public import Records

/// Queries topics and offsets with a client of its own, which never joins a group: on the fetching client each answer would wait
/// for the end of an open fetch.
///
/// Queries run one after another, on a dispatch queue.
public final class KafkaMetadata: Sendable {
    /// An end of a partition's log.
    private enum Bound: Int64 {
        case beginning = -2  // RD_KAFKA_OFFSET_BEGINNING
        case end = -1  // RD_KAFKA_OFFSET_END
    }

    private let client: Client
    // A serial dispatch queue: it needs no thread while there is no query, and dispatch replaces threads that block.
    private let queries = DispatchQueue(label: "kafka-metadata")

    private init(_ client: Client) { self.client = client }

    // Destroying blocks: so not on the thread that releases the last reference.
    deinit {
        let client = client
        queries.async { client.destroy() }
    }

    /// Makes the client.
    /// - Parameter groupID: the group whose committed offsets can be queried; empty: none.
    public static func start(_ configuration: KafkaClientConfiguration, groupID: String) throws(KafkaError) -> KafkaMetadata {
        let properties = try configuration.makeConfiguration()
        if !groupID.isEmpty { try properties.set("group.id", groupID) }
        try KafkaProperties.apply(configuration.properties, to: properties)
        return KafkaMetadata(try Client(RD_KAFKA_CONSUMER, properties, log: configuration.log))
    }

    private func run<T: Sendable>(_ query: @escaping @Sendable (Client) -> Result<T, KafkaError>) async throws(KafkaError) -> T {
        let client = client
        let answer: Result<T, KafkaError> = await withCheckedContinuation { continuation in
            queries.async {
                let isOpen = !client.isDestroyed
                continuation.resume(
                    returning: isOpen ? query(client) : .failure(KafkaError(.closed, "the metadata client is closed")))
            }
        }
        return try answer.get()
    }

    /// The number of partitions of each topic, or the error of a topic that is missing or not allowed. Throws where no broker
    /// answers.
    public func topics(
        _ names: [String], timeout: Duration = .seconds(10)
    ) async throws(KafkaError) -> [String: Result<Int, KafkaError>] {
        let limit = MonotonicClock.nanoseconds() + timeout.nanoseconds
        return try await run { client in
            var answers: [String: Result<Int, KafkaError>] = [:]
            for name in names {
                let now = MonotonicClock.nanoseconds()
                let rest = Duration.nanoseconds(Int64(clamping: limit > now ? limit - now : 0))
                do throws(KafkaError) {
                    let topic = try TopicHandle(client, name)
                    answers[name] = TopicHandle.partitionCount(of: topic.pointer, client, name: name, timeout: rest)
                } catch {
                    answers[name] = .failure(error)
                }
                if case .failure(let error)? = answers[name], error.isRetriable { return .failure(error) }
            }
            return .success(answers)
        }
    }

    /// The offset after the last record of each partition. One request to each leader.
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
        return try await run { client in
            let list = PartitionListHandle(partitions, offset: bound.rawValue)
            let error = rd_kafka_offsets_for_times(client.pointer, list.pointer, max(1, Int32(clamping: timeout.milliseconds)))
            guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                return .failure(KafkaError(error, "the offsets cannot be read: \(String(cString: rd_kafka_err2str(error)))"))
            }
            return .success(KafkaMetadata.answers(list.entries) { $0 })
        }
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
        queries.async {
            client.destroy()
            ended.open()
        }
        return await ended.wait(within: deadline)
    }
}
