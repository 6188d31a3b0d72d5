// Owns one assigned partition on the poll thread: its split queue and what is known of its position.

internal import CKafka
internal import Records

/// One partition of the current assignment. Lives on the poll thread only.
final class PartitionReader {
    let partition: TopicPartition
    let queue: QueueHandle
    /// Stamp of the batches read from now on.
    var generation: UInt64
    var position: OffsetGuardMachine
    var kick = FetchWakeUpMachine()
    var isKickWanted = false
    var isPaused = false
    /// Nothing is read until a seek or a new assignment.
    var hasFailed = false
    /// Records taken since the assignment.
    var consumed = 0
    /// Moving average, for reserving memory and for judging when librdkafka's queue is full.
    var bytesPerRecord = 256
    /// Bytes librdkafka held for the partition when its queue was looked at last, its own included.
    private(set) var prefetchedBytes = 0
    /// A record that came out while the gate was closed; read first when it opens.
    private var held: MessageHandle?

    /// Splits the partition's queue off, so that nothing of it reaches the main queue. Must happen before `rd_kafka_assign`:
    /// only then does the start of fetching keep the split.
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

    /// The held record, to be read before the queue.
    func takeHeld() -> MessageHandle? { held.take() }

    /// Makes librdkafka drop what is stale at the queue's head: it counts as full, and as memory, until somebody looks. A fresh
    /// record that comes out is held.
    func sweep() {
        if held == nil { held = queue.takeMessage() }
    }

    /// Forgets the held record: the position moves.
    func dropHeld() { held = nil }

    /// The queue was looked at.
    func noteQueued(_ records: Int) {
        prefetchedBytes = records * (bytesPerRecord + KafkaConsumerConfiguration.bytesBesideEachRecord)
    }

    /// Records at which librdkafka stops fetching this partition.
    func capacity(records: Int, bytes: Int) -> Int { max(1, min(records, bytes / max(1, bytesPerRecord))) }
}
