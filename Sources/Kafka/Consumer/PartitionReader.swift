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
    var wakeUp = FetchWakeUpMachine()
    var needsWakeUp = false
    var isPaused = false
    /// Nothing is read until a seek or a new assignment.
    var hasFailed = false
    /// Records read since the assignment.
    var consumed = 0
    /// Moving average, to reserve memory for a batch and to estimate when librdkafka's queue is full.
    var bytesPerRecord = 256
    /// Estimate of the bytes librdkafka held for the partition when its queue was sampled last, including its overhead.
    private(set) var prefetchedBytes = 0
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

    /// Makes librdkafka drop the stale records at the head of the queue, which count as full, and as memory, until the queue is
    /// read. A current record that is taken by this becomes the pending one.
    func dropStale() {
        if pending == nil { pending = queue.takeMessage() }
    }

    /// The queue's length was read.
    func sampled(queued records: Int) { prefetchedBytes = records * (bytesPerRecord + PrefetchShare.overheadPerRecord) }

    /// Records at which librdkafka stops fetching this partition.
    func capacity(records: Int, bytes: Int) -> Int { max(1, min(records, bytes / max(1, bytesPerRecord))) }
}
