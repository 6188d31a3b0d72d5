// Owns an `rd_kafka_topic_partition_list_t`: partitions with offsets, as librdkafka takes and returns them.

internal import CKafka
internal import Records

/// A list of partitions, each with an offset.
struct PartitionListHandle: ~Copyable {
    let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ partitions: some Collection<(TopicPartition, Int64)>) {
        pointer = rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count))
        for (partition, offset) in partitions {
            rd_kafka_topic_partition_list_add(pointer, partition.topic, partition.partition).pointee.offset = offset
        }
    }

    init(_ partitions: [TopicPartition], offset: Int64) {
        self.init(partitions.map { ($0, offset) })
    }

    init(topics: [String]) {
        // RD_KAFKA_PARTITION_UA: a subscription names topics only.
        self.init(topics.map { (TopicPartition($0, -1), Int64(RD_KAFKA_OFFSET_INVALID)) })
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    /// The list as librdkafka filled it.
    var entries: [PartitionEntry] { PartitionEntry.all(in: pointer) }
}

/// One element of a list: librdkafka's answer for a partition.
struct PartitionEntry: Sendable {
    let partition: TopicPartition
    let offset: Int64
    let error: KafkaError?

    /// The elements of a list that another object owns.
    static func all(in list: UnsafePointer<rd_kafka_topic_partition_list_t>?) -> [PartitionEntry] {
        guard let list, let elements = list.pointee.elems else { return [] }
        return (0..<Int(list.pointee.cnt)).map { index in
            let element = elements[index]
            let partition = TopicPartition(String(cString: element.topic), element.partition)
            let error =
                element.err == RD_KAFKA_RESP_ERR_NO_ERROR
                ? nil : KafkaError(element.err, "\(partition): \(String(cString: rd_kafka_err2str(element.err)))")
            return PartitionEntry(partition: partition, offset: element.offset, error: error)
        }
    }
}
