// Reads the first records of a topic, for a look at them: without a group, and without committing.

internal import CKafka
internal import Platform
public import Records

/// Samples of topics.
public enum TopicSample {
    /// Reads the first records of a topic: about as many of each partition, and more of the others where one has few. The same log gives
    /// the same sample.
    /// - Parameters:
    ///   - partitions: how many partitions the topic has.
    ///   - limit: the most records.
    ///   - timeout: how long a partition may send nothing before its end.
    /// - Returns: one record a batch, by partition and offset.
    public static func read(
        _ topic: String, partitions: Int, limit: Int, _ configuration: KafkaClientConfiguration, timeout: Duration = .seconds(15)
    ) async throws(KafkaError) -> [RecordBatch] {
        let answer: Result<[RecordBatch], KafkaError> = await withCheckedContinuation { continuation in
            do throws(KafkaError) {
                try OwnedThread.startForKafka("kafka-sample") {
                    do throws(KafkaError) {
                        let client = try client(configuration)
                        let answer = Result { () throws(KafkaError) in try read(topic, partitions, limit, client, timeout) }
                        // Before the client is destroyed: that never ends where the topic was deleted meanwhile (librdkafka 2.0.2).
                        continuation.resume(returning: answer)
                        client.destroy()
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try answer.get()
    }

    private static func client(_ configuration: KafkaClientConfiguration) throws(KafkaError) -> Client {
        let properties = try configuration.makeConfiguration()
        // A sample needs little of what librdkafka would fetch ahead.
        try properties.set("queued.min.messages", "1000")
        try properties.set("queued.max.messages.kbytes", "4096")
        try KafkaProperties.apply(configuration.properties, to: properties)
        try properties.set("enable.partition.eof", "true")
        // Without a group.id there is nothing to commit to.
        try properties.set("enable.auto.commit", "false")
        try properties.set("enable.auto.offset.store", "false")
        return try Client(RD_KAFKA_CONSUMER, properties, configuration)
    }

    /// One partition that is read.
    private final class Partition {
        let source: TopicPartition
        let queue: QueueHandle

        init(_ source: TopicPartition, _ queue: consuming QueueHandle) {
            self.source = source
            self.queue = queue
        }
    }

    private static func read(
        _ name: String, _ partitions: Int, _ limit: Int, _ client: Client, _ timeout: Duration
    ) throws(KafkaError) -> [RecordBatch] {
        let topic = try TopicHandle(client, name)
        var open: [Partition] = []
        defer { for number in 0..<partitions { rd_kafka_consume_stop(topic.pointer, Int32(clamping: number)) } }
        for number in 0..<partitions {
            let source = TopicPartition(name, Int32(clamping: number))
            guard let queue = rd_kafka_queue_new(client.pointer) else {
                throw KafkaError(.other, "librdkafka has no queue for \(source)")
            }
            let partition = Partition(source, QueueHandle(owning: queue))
            guard rd_kafka_consume_start_queue(topic.pointer, source.partition, Int64(RD_KAFKA_OFFSET_BEGINNING), queue) == 0
            else {
                let error = rd_kafka_last_error()
                throw KafkaError(error, "\(source) cannot be read: \(String(cString: rd_kafka_err2str(error)))")
            }
            open.append(partition)
        }
        var sample: [RecordBatch] = []
        var headers = ByteBuffer()
        while sample.count < limit, !open.isEmpty {
            let share = max(1, (limit - sample.count + open.count - 1) / open.count)
            var ended: Set<TopicPartition> = []
            for partition in open where sample.count < limit {
                for _ in 0..<min(share, limit - sample.count) {
                    guard let batch = try next(of: partition, timeout, &headers) else {
                        ended.insert(partition.source)
                        break
                    }
                    sample.append(batch)
                }
            }
            open.removeAll { ended.contains($0.source) }
        }
        return sample.sorted { ($0.source, $0.nextOffset) < ($1.source, $1.nextOffset) }
    }

    /// The next record of a partition; `nil` at its end.
    private static func next(
        of partition: Partition, _ timeout: Duration, _ headers: inout ByteBuffer
    ) throws(KafkaError) -> RecordBatch? {
        guard let message = partition.queue.takeMessage(milliseconds: Int32(clamping: timeout.milliseconds)) else {
            throw KafkaError(
                .other, "\(partition.source) sent neither a record nor its end within \(timeout); is its leader reachable?",
                isRetriable: true)
        }
        switch message.error {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            let batch = RecordBatch(source: partition.source, generation: 0)
            message.copy(to: batch, headers: &headers)
            return batch
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: return nil
        default: throw KafkaError(message.error, "\(partition.source): \(message.errorText)")
        }
    }
}
