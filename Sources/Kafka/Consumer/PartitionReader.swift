// Owns one assigned partition on the poll thread: its queue in librdkafka and what is known of its position.

internal import CKafka
internal import Records

/// One partition of the current assignment. Used by the poll thread only.
final class PartitionReader {
    let partition: TopicPartition
    let queue: QueueHandle
    /// Assignment generation of the batches read from now on.
    var generation: UInt64
    var position: OffsetGuardMachine
    var start = FetchStartMachine()
    var wakeUp = FetchWakeUpMachine()
    var needsWakeUp = false
    var isPaused = false
    /// Nothing is read until a seek or a new assignment.
    var hasFailed = false
    /// Records read since the assignment.
    var consumed = 0
    /// Estimate, to reserve memory for a batch and to tell when librdkafka's queue is full.
    private(set) var bytesPerRecord = 256
    /// A record that was taken from the queue while none might be read; it is read first.
    private var pending: MessageHandle?

    /// Separates the partition's queue from the main queue. Must happen before `rd_kafka_assign`: only then does the start of
    /// fetching keep it separate.
    init(_ client: Client, _ partition: TopicPartition, offset: Int64, generation: UInt64, wakeUp descriptor: Int32)
        throws(KafkaError)
    {
        guard let pointer = rd_kafka_queue_get_partition(client.pointer, partition.topic, partition.partition) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "\(partition) has no queue in librdkafka")
        }
        self.partition = partition
        self.generation = generation
        queue = QueueHandle(owning: pointer)
        position = OffsetGuardMachine(expected: offset)
        rd_kafka_queue_forward(pointer, nil)
        queue.enableWakeUp(descriptor)
    }

    deinit { queue.disableWakeUp() }

    /// The pending record, to be read before the queue.
    func takePending() -> MessageHandle? { pending.take() }

    /// Drops the pending record, because the position changes.
    func dropPending() { pending = nil }

    /// A record is pending.
    var hasPending: Bool { pending != nil }

    /// Keeps a record, to be read first.
    func keep(_ message: consuming MessageHandle) { pending = consume message }

    /// A batch was read. Its mean moves the estimate by a factor of two at most, so that one large record does not distort it.
    func read(bytes: Int, records: Int) {
        bytesPerRecord = max(16, bytesPerRecord / 2, min(bytesPerRecord * 2, bytes / records))
    }

    /// Records at which librdkafka stops fetching this partition.
    func capacity(records: Int, bytes: Int) -> Int { max(1, min(records, bytes / max(1, bytesPerRecord))) }
}
