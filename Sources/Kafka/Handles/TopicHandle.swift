// Owns an `rd_kafka_topic_t`: a topic of one client.

internal import CKafka
internal import Platform
internal import Records

/// A topic of one client. Must be released before the client.
struct TopicHandle: ~Copyable {
    /// How the error ends where no broker answers and nobody knows why.
    static let remedy = "; check kafka.bootstrap_servers and that a broker is running"

    let pointer: OpaquePointer

    init(_ client: Client, _ name: String) throws(KafkaError) {
        guard let pointer = rd_kafka_topic_new(client.pointer, name, nil) else {
            let error = rd_kafka_last_error()
            throw KafkaError(error, "topic \(name) cannot be used: \(String(cString: rd_kafka_err2str(error)))")
        }
        self.pointer = pointer
    }

    deinit { rd_kafka_topic_destroy(pointer) }

    /// Asks the brokers how many partitions a topic has; blocks up to `timeout`.
    static func partitionCount(
        of pointer: OpaquePointer, _ client: Client, name: String, timeout: Duration
    ) -> Result<Int, KafkaError> {
        metadata(of: pointer, client, name: name, timeout: timeout) { Int($0.partition_cnt) }
    }

    /// Asks the brokers for the leader of each partition of a topic; blocks up to `timeout`. Negative: the partition has none.
    static func leaders(
        of name: String, _ client: Client, timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: Int32] {
        let topic = try TopicHandle(client, name)
        return try metadata(of: topic.pointer, client, name: name, timeout: timeout) { answer in
            var leaders: [TopicPartition: Int32] = [:]
            for index in 0..<Int(answer.partition_cnt) {
                leaders[TopicPartition(name, answer.partitions[index].id)] = answer.partitions[index].leader
            }
            return leaders
        }.get()
    }

    /// Asks a broker for the names of all topics that this client may see, without Kafka's own; blocks up to `timeout`.
    static func names(_ client: Client, timeout: Duration) throws(KafkaError) -> [String] {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let error = rd_kafka_metadata(client.pointer, 1, nil, &answer, Swift.max(1, Int32(clamping: timeout.milliseconds)))
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let answer else {
            throw KafkaError(
                error, "no broker returned the list of topics in time (\(String(cString: rd_kafka_err2str(error))))" + remedy)
        }
        defer { rd_kafka_metadata_destroy(answer) }
        return (0..<Int(answer.pointee.topic_cnt)).map { String(cString: answer.pointee.topics[$0].topic) }
            .filter { !TopicPattern.internalTopics.contains($0) }
    }

    private static func metadata<T>(
        of pointer: OpaquePointer, _ client: Client, name: String, timeout: Duration, _ body: (rd_kafka_metadata_topic) -> T
    ) -> Result<T, KafkaError> {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let error = rd_kafka_metadata(client.pointer, 0, pointer, &answer, Swift.max(1, Int32(clamping: timeout.milliseconds)))
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let answer else {
            return .failure(
                KafkaError(
                    error,
                    "no broker returned the metadata of topic \(name) in time (\(String(cString: rd_kafka_err2str(error))))"
                        + remedy))
        }
        defer { rd_kafka_metadata_destroy(answer) }
        guard answer.pointee.topic_cnt == 1 else {
            return .failure(KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, missing(name)))
        }
        let topic = answer.pointee.topics[0]
        switch topic.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR where topic.partition_cnt > 0: return .success(body(topic))
        case RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            return .failure(KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, missing(name)))
        default:
            return .failure(KafkaError(topic.err, "topic \(name): \(String(cString: rd_kafka_err2str(topic.err)))"))
        }
    }

    private static func missing(_ name: String) -> String {
        "topic \(name) does not exist; create it (kafka-topics.sh --create --topic \(name)) or correct its name"
    }
}
