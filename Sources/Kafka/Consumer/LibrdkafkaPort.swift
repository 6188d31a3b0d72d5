// Carries out what the reader asks of librdkafka.

internal import Backpressure
internal import CKafka
internal import Platform
internal import Records
internal import Synchronization

/// The fetching client as the reader's port. Used by the poll thread only.
final class LibrdkafkaPort: FetchPort {
    /// One partition's queue. Must be released before librdkafka gets a new assignment.
    final class Queue {
        fileprivate let handle: QueueHandle
        fileprivate var kept: MessageHandle?

        fileprivate init(_ handle: consuming QueueHandle) { self.handle = handle }

        deinit { handle.disableWakeUp() }
    }

    private let client: Client
    private let shared: ConsumerShared
    /// Partitions without a connected broker, at the last report of statistics.
    var unreachable: Set<TopicPartition> = []
    private var current: MessageHandle?
    private var headers = ByteBuffer()
    /// What librdkafka has been given, where assignments are incremental; `nil`: they are whole.
    private var held: [TopicPartition]?

    init(client: Client, shared: ConsumerShared, groupProtocol: GroupProtocol) {
        self.client = client
        self.shared = shared
        held = groupProtocol == .consumer ? [] : nil
    }

    var now: UInt64 { MonotonicClock.nanoseconds() }

    func open(_ partition: TopicPartition) throws(KafkaError) -> Queue {
        guard let pointer = rd_kafka_queue_get_partition(client.pointer, partition.topic, partition.partition) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "\(partition) has no queue in librdkafka")
        }
        let handle = QueueHandle(owning: pointer)
        rd_kafka_queue_forward(pointer, nil)
        handle.enableWakeUp(shared.descriptor.descriptor)
        return Queue(handle)
    }

    @inline(__always)
    func take(from queue: Queue) -> Fetched {
        guard let message = queue.kept.take() ?? queue.handle.takeMessage() else {
            current = nil
            return .nothing
        }
        let error = message.error
        let offset = message.offset
        current = consume message
        if error == RD_KAFKA_RESP_ERR_NO_ERROR { return .record(offset: offset) }
        return error == RD_KAFKA_RESP_ERR__PARTITION_EOF ? .end(offset: offset) : .error
    }

    @inline(__always)
    func copyRecord(to batch: RecordBatch) {
        guard let message = current.take() else { return }
        message.copy(to: batch, headers: &headers)
    }

    var fingerprint: Int64 {
        // Taken and put back, as it cannot be borrowed out of a property.
        guard let message = current.take() else { preconditionFailure("there is no current element") }
        let fingerprint = Record.fingerprint(timestamp: message.timestamp, key: message.key, value: message.value)
        current = consume message
        return fingerprint
    }

    func keepRecord(in queue: Queue) { queue.kept = current.take() }

    func dropKept(in queue: Queue) { queue.kept = nil }

    func error(of partition: TopicPartition, at offset: Int64) -> KafkaError {
        guard let message = current.take() else { preconditionFailure("there is no current element") }
        return KafkaError(message.error, "\(partition) at offset \(offset): \(message.errorText)")
    }

    func length(of queue: Queue) -> Int { queue.handle.length }

    func assign(_ partitions: [(TopicPartition, Int64)]) -> KafkaError? {
        current = nil
        let list = PartitionListHandle(partitions)
        if held != nil {
            unassign()
            held = partitions.map(\.0)
            return failure(rd_kafka_incremental_assign(client.pointer, list.pointer))
        }
        defer { awaitStops() }
        let error = rd_kafka_assign(client.pointer, list.pointer)
        guard error != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return client.fatalError() ?? KafkaError(error, "librdkafka refused the assignment")
    }

    func unassign() {
        defer { awaitStops() }
        unassignAtTheEnd()
    }

    /// The same where the consumer closes: nothing is assigned after it, so it does not wait for the stops. The group may have ended once
    /// it has this answer, and its end drops the questions that wait for it: `rd_kafka_assignment` would never return.
    func unassignAtTheEnd() {
        current = nil
        guard let partitions = held else {
            rd_kafka_assign(client.pointer, nil)
            return
        }
        held = []
        // Also without partitions: it is the group's answer.
        let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
        if let error = failure(rd_kafka_incremental_unassign(client.pointer, list.pointer)) { report(.notice(error)) }
    }

    /// Waits until librdkafka has stopped the partitions that an assignment has replaced. Its main thread stops them by an operation to
    /// itself, and learns of the end by another. A partition that is taken away once more in between is stopped twice, which ends the
    /// process (2.0.2, rdkafka_assignment.c: `Assertion rktp->rktp_started failed`). A question goes through the same queue: the first one
    /// is answered after the stops, the second after their ends.
    private func awaitStops() {
        for _ in 0..<2 {
            var list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
            if rd_kafka_assignment(client.pointer, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
                rd_kafka_topic_partition_list_destroy(list)
            }
        }
    }

    /// Tells a group whose assignments are incremental that its new partitions are accepted. They are read once they are assigned.
    func accept() {
        let none = PartitionListHandle([TopicPartition](), offset: Int64(RD_KAFKA_OFFSET_INVALID))
        if let error = failure(rd_kafka_incremental_assign(client.pointer, none.pointer)) { report(.notice(error)) }
    }

    private func failure(_ error: OpaquePointer?) -> KafkaError? {
        guard let error else { return nil }
        defer { rd_kafka_error_destroy(error) }
        return client.fatalError()
            ?? KafkaError(
                rd_kafka_error_code(error), "librdkafka refused the assignment: \(String(cString: rd_kafka_error_string(error)))")
    }

    /// With a timeout of 0 it only starts the seek (2.0.2 takes other timeouts for microseconds); everything already queued is stale
    /// when the call returns, and ``OffsetGuardMachine`` checks the rest.
    func seek(_ offsets: [(TopicPartition, Int64)]) {
        // It keeps a whole response of the broker in memory.
        current = nil
        let list = PartitionListHandle(offsets)
        guard let error = rd_kafka_seek_partitions(client.pointer, list.pointer, 0) else { return }
        let text = String(cString: rd_kafka_error_string(error))
        shared.mailbox.send(.notice(KafkaError(rd_kafka_error_code(error), "seek: \(text)")))
        rd_kafka_error_destroy(error)
    }

    func pause(_ partitions: [TopicPartition]) {
        let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
        rd_kafka_pause_partitions(client.pointer, list.pointer)
    }

    func resume(_ partitions: [TopicPartition]) {
        let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
        rd_kafka_resume_partitions(client.pointer, list.pointer)
    }

    func isReachable(_ partition: TopicPartition) -> Bool { !unreachable.contains(partition) }

    func report(_ event: ConsumerEvent) { shared.mailbox.send(event) }

    func publish(_ statistics: KafkaConsumerStatistics) { shared.publish(statistics) }
}
