// The public API of the consumer: a group member whose records, rebalances and errors arrive in one sequence of events.

internal import Backpressure
internal import CKafka
internal import Platform
public import Records
internal import Synchronization

/// A member of a consumer group.
///
/// One thread of its own (the poll thread) makes every call that may block. It reads no more records than the ``ReadLimit``
/// allows, and always serves the main queue, so the member stays in its group whatever its user does. All methods are thread-safe
/// and return at once.
public final class KafkaConsumer: Sendable {
    private let shared: ConsumerShared

    private init(_ shared: ConsumerShared) { self.shared = shared }

    /// A consumer without references leaves its group.
    deinit { leave(within: .seconds(5)) }

    /// Joins the group.
    ///
    /// Throws for a wrong setting. Unreachable brokers are not an error here: they are reported as ``ConsumerEvent/notice(_:)``.
    public static func start(
        _ configuration: KafkaConsumerConfiguration, limit: any ReadLimit
    ) throws(KafkaError) -> KafkaConsumer {
        let shared = try ConsumerShared()
        var needsWakeUp = false
        let properties = try configuration.makeConfiguration(needsWakeUp: &needsWakeUp)
        let client = try Client(RD_KAFKA_CONSUMER, properties, configuration.client)
        do throws(KafkaError) {
            try start(configuration, client, shared, needsWakeUp: needsWakeUp, limit: limit)
        } catch {
            // Destroying joins librdkafka's threads. Where there is no thread for it either, the last reference here does it.
            try? OwnedThread.startForKafka("kafka-destroy") { client.destroy() }
            throw error
        }
        return KafkaConsumer(shared)
    }

    private static func start(
        _ configuration: KafkaConsumerConfiguration, _ client: Client, _ shared: ConsumerShared, needsWakeUp: Bool,
        limit: any ReadLimit
    ) throws(KafkaError) {
        rd_kafka_poll_set_consumer(client.pointer)
        let topics = PartitionListHandle(topics: configuration.topics)
        let error = rd_kafka_subscribe(client.pointer, topics.pointer)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(error, "cannot subscribe to \(configuration.topics.joined(separator: ", "))")
        }
        let wakeUp = needsWakeUp ? try FetchWakeUp.start(client) { shared.fetcherWoken() } : nil
        do throws(KafkaError) {
            try OwnedThread.startForKafka("kafka-poll") { PollLoop.run(configuration, client, limit, wakeUp, shared) }
        } catch {
            wakeUp?.stop()
            throw error
        }
    }

    /// The next event, in order. `nil` after the close, or where the calling task is cancelled; no event is lost by that. One
    /// caller at a time.
    public func next() async -> ConsumerEvent? { try? await shared.mailbox.receive() }

    /// Runs tasks on the poll thread, without a thread switch after each batch: for quick work that never blocks. The group is
    /// served in between. Once the consumer closes, such tasks continue on Swift's own threads.
    public var executor: any TaskExecutor { shared }

    /// In ``assign(_:generation:)``: no offset yet. The partition is read after a seek, and librdkafka knows nothing of it before.
    public static let noOffset = Int64(RD_KAFKA_OFFSET_INVALID)

    /// Starts reading these partitions at these offsets: the answer to ``ConsumerEvent/assigned(_:)``. Replaces the previous
    /// assignment.
    /// - Parameters:
    ///   - partitions: a partition's position in the list is its slot in ``ReadLimit``.
    ///   - lastApplied: fingerprints (``Record/fingerprint(timestamp:key:value:)``) of the records before these offsets, where they are
    ///     known. A partition whose log has another record there is not read (``ConsumerEvent/otherLog(_:lastApplied:reason:)``).
    ///   - generation: the assignment generation that batches carry.
    public func assign(
        _ partitions: [(TopicPartition, offset: Int64)], lastApplied: [TopicPartition: Int64] = [:], generation: UInt64
    ) {
        shared.send(.assign(partitions.map { ($0.0, $0.offset) }, lastApplied: lastApplied, generation: generation))
    }

    /// Releases all partitions: the answer to ``ConsumerEvent/revoked(_:isLost:)``.
    public func unassign() { shared.send(.unassign) }

    /// The ``ReadLimit`` may allow more now: the poll thread asks it again. A system call only where the thread sleeps.
    public func creditsReturned() { shared.wake() }

    /// Continues one assigned partition at `offset`, with a new generation.
    /// - Parameter lastApplied: as for ``assign(_:lastApplied:generation:)``.
    public func seek(_ partition: TopicPartition, to offset: Int64, lastApplied: Int64? = nil, generation: UInt64) {
        shared.send(.seek(partition, offset, lastApplied: lastApplied, generation: generation))
    }

    /// Stops fetching these partitions and frees their prefetched records, which will be fetched again: for long stalls. Pausing
    /// a paused partition does nothing. A pause ends with the assignment.
    public func pause(_ partitions: [TopicPartition]) { shared.send(.pause(partitions)) }

    /// Resumes fetching paused partitions where reading stopped. Resuming a partition that is not paused does nothing.
    public func resume(_ partitions: [TopicPartition]) { shared.send(.resume(partitions)) }

    /// Commits offsets (of the next record to read) to the group, without waiting; answered by ``ConsumerEvent/committed(_:_:)``.
    /// Offsets that are not ahead of the last commit are left out; during a rebalance nothing is sent. One request is in flight
    /// at a time; later offsets are merged into the next one.
    public func commit(_ offsets: [(TopicPartition, Int64)]) { shared.send(.commit(offsets)) }

    /// Commits offsets and waits until all commits are answered, or `limit` has passed. For the end of a drain: it also works
    /// while a revoke waits for ``unassign()``.
    /// - Returns: the failure, or `nil`.
    public func commitAndWait(_ offsets: [(TopicPartition, Int64)], within limit: Duration) async -> KafkaError? {
        await withCheckedContinuation { continuation in
            let end = MonotonicClock.nanoseconds() + limit.nanoseconds
            if !shared.send(.commitAndWait(offsets, limit: end, continuation)) {
                continuation.resume(returning: KafkaError(.closed, "the consumer is closed"))
            }
        }
    }

    /// Begins to leave the group, without waiting: for the moment from which nobody takes the events any more. Until the member has
    /// left, the poll thread answers rebalances itself, so the others of the group wait for none. Later commands do nothing.
    public func leave(within limit: Duration) {
        shared.send(.close(limit: MonotonicClock.nanoseconds() + limit.nanoseconds))
    }

    /// Waits for the last commit's answer, leaves the group and destroys the client. After ``leave(within:)`` it only waits for the end.
    ///
    /// librdkafka 2.0.2 never ends the destruction of a client that has read a topic which was deleted since: a thread of it waits for a
    /// reference to the broker that its partitions keep. So that is waited for a second at most. Then the client is left behind: it has no
    /// partition any more, and fetches nothing.
    /// - Returns: false where the group was not left before `deadline`. The client is then leaked on purpose: exit the process.
    public func close(deadline: Duration) async -> Bool {
        leave(within: deadline)
        guard await shared.left.wait(within: deadline) else { return false }
        _ = await shared.finished.wait(within: min(deadline, .seconds(1)))
        return true
    }

    /// How long ago the poll thread last served the main queue. Beyond some seconds the thread is stuck: librdkafka would not
    /// notice, because any read of any queue counts as a poll there.
    public var lastPollAge: Duration {
        .nanoseconds(Int64(clamping: MonotonicClock.nanoseconds() &- shared.lastPoll.load(ordering: .relaxed)))
    }

    /// Bytes that librdkafka holds for all partitions: the payloads in its queues as it counts them, and
    /// ``PrefetchShare/overheadPerRecord`` for each record. Measured once a second; a response that is being received is not in it.
    public var prefetchedBytes: Int { shared.prefetchedBytes.load(ordering: .relaxed) }

    /// Maximum of ``prefetchedBytes`` in the last five seconds, and since the partitions were assigned.
    public var mostPrefetchedBytes: Int { shared.mostPrefetchedBytes.load(ordering: .relaxed) }

    /// Counters since the start.
    public var statistics: KafkaConsumerStatistics { shared.statistics }
}
