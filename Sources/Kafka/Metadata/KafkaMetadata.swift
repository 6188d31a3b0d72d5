// Owns the second handle of a worker: questions about topics and offsets, each with a time-out, beside the fetching handle.

internal import CKafka
internal import Dispatch
public import Records

/// Answers questions about topics and offsets on a handle of its own that never joins a group: on the fetching handle every answer
/// would wait behind an open fetch.
///
/// Questions are answered one after another on a thread of their own.
public final class KafkaMetadata: Sendable {
    /// A position every partition has.
    private enum Bound: Int64 {
        case beginning = -2  // RD_KAFKA_OFFSET_BEGINNING
        case end = -1  // RD_KAFKA_OFFSET_END
    }

    private let client: Client
    // One question at a time. A queue, not a loop thread: it sleeps without a wake-up while nobody asks, and dispatch makes threads
    // for what blocks.
    private let questions = DispatchQueue(label: "kafka-metadata")

    private init(_ client: Client) { self.client = client }

    // Destroying blocks: not on the thread that happens to drop the last reference.
    deinit {
        let client = client
        questions.async { client.destroy() }
    }

    /// Makes the handle.
    /// - Parameter groupID: the group whose committed offsets can be asked for.
    public static func start(_ configuration: KafkaClientConfiguration, groupID: String) throws(KafkaError) -> KafkaMetadata {
        let properties = try configuration.makeConfiguration()
        if !groupID.isEmpty { try properties.set("group.id", groupID) }
        try KafkaProperties.apply(configuration.properties, to: properties)
        return KafkaMetadata(try Client(RD_KAFKA_CONSUMER, properties, log: configuration.log))
    }

    private func ask<T: Sendable>(_ question: @escaping @Sendable (Client) -> Result<T, KafkaError>) async throws(KafkaError) -> T
    {
        let client = client
        let answer: Result<T, KafkaError> = await withCheckedContinuation { continuation in
            questions.async {
                let isOpen = !client.isDestroyed
                continuation.resume(
                    returning: isOpen ? question(client) : .failure(KafkaError(.closed, "the metadata client is closed")))
            }
        }
        return try answer.get()
    }

    /// How many partitions each topic has; a topic that is missing or not allowed has its error. Throws where no broker answers.
    public func topics(
        _ names: [String], timeout: Duration = .seconds(10)
    ) async throws(KafkaError) -> [String: Result<Int, KafkaError>] {
        let limit = MonotonicTime.now() + UInt64(timeout.nanoseconds)
        return try await ask { client in
            var answers: [String: Result<Int, KafkaError>] = [:]
            for name in names {
                let now = MonotonicTime.now()
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

    /// The offset behind the last record of each partition. One request to each leader.
    public func endOffsets(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        try await offsets(partitions, .end, timeout)
    }

    /// The offset of the first record each partition still has. One request to each leader.
    public func beginningOffsets(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        try await offsets(partitions, .beginning, timeout)
    }

    // Not rd_kafka_query_watermark_offsets: in 2.0.2 it ignores its time-out.
    private func offsets(
        _ partitions: [TopicPartition], _ bound: Bound, _ timeout: Duration
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
        if partitions.isEmpty { return [:] }
        return try await ask { client in
            let list = PartitionListHandle(partitions, offset: bound.rawValue)
            let error = rd_kafka_offsets_for_times(client.pointer, list.pointer, max(1, timeout.milliseconds))
            guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                return .failure(KafkaError(error, "offsets: \(String(cString: rd_kafka_err2str(error)))"))
            }
            return .success(KafkaMetadata.answers(list.entries) { $0 })
        }
    }

    /// The group's committed offset of each partition; `nil` where there is none.
    public func committed(
        _ partitions: [TopicPartition], timeout: Duration = .seconds(5)
    ) async throws(KafkaError) -> [TopicPartition: Result<Int64?, KafkaError>] {
        if partitions.isEmpty { return [:] }
        return try await ask { client in
            let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
            let error = rd_kafka_committed(client.pointer, list.pointer, max(1, timeout.milliseconds))
            guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                return .failure(KafkaError(error, "committed offsets: \(String(cString: rd_kafka_err2str(error)))"))
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

    /// Destroys the handle behind the questions that are there; later questions fail.
    /// - Returns: false where `deadline` passed first.
    public func close(deadline: Duration) async -> Bool {
        let ended = Latch()
        let client = client
        questions.async {
            client.destroy()
            ended.open()
        }
        return await ended.wait(within: deadline)
    }
}
