// The consumer's public face: a group member whose records, rebalances and errors arrive in one stream of events.

internal import CKafka
public import Records
internal import Synchronization

/// A member of a consumer group.
///
/// One dedicated thread owns every call that may block. Records are read only as far as the ``FetchGate`` allows; the main queue is
/// always served, so the member stays in the group whatever its user does. All methods are cheap, thread-safe and non-blocking.
public final class KafkaConsumer: Sendable {
    private let shared: ConsumerShared

    private init(_ shared: ConsumerShared) { self.shared = shared }

    /// A consumer nobody holds any more leaves its group.
    deinit { shared.send(.close(limit: MonotonicTime.now() + 5_000_000_000)) }

    /// Joins the group.
    ///
    /// Throws for a wrong setting. Brokers that cannot be reached are no error: they are reported as ``ConsumerEvent/notice(_:)``.
    public static func start(
        _ configuration: KafkaConsumerConfiguration, gate: any FetchGate
    ) throws(KafkaError) -> KafkaConsumer {
        let shared = try ConsumerShared()
        var needsKicker = false
        let properties = try configuration.makeConfiguration(needsKicker: &needsKicker)
        let client = try Client(RD_KAFKA_CONSUMER, properties, log: configuration.client.log)
        rd_kafka_poll_set_consumer(client.pointer)
        let topics = PartitionListHandle(topics: configuration.topics)
        let error = rd_kafka_subscribe(client.pointer, topics.pointer)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(error, "cannot subscribe to \(configuration.topics.joined(separator: ", "))")
        }
        let kicker: FetchWakeUp? =
            needsKicker
            ? try FetchWakeUp.start(client) { shared.statistics.withLock { $0.kicks += 1 } } : nil
        do throws(KafkaError) {
            try OwnedThread.start("kafka-poll") { PollLoop.run(configuration, client, gate, kicker, shared) }
        } catch {
            kicker?.stop()
            throw error
        }
        return KafkaConsumer(shared)
    }

    /// The next event, in order. `nil` after the close, or where the awaiting task is cancelled; nothing is lost by that.
    /// One caller at a time.
    public func next() async -> ConsumerEvent? { await shared.mailbox.next() }

    /// Runs tasks on the thread that reads, which has just what they wait for: for work that follows each batch, never waits and is quick.
    /// The group is served in between. Once the consumer closes, such tasks go on on Swift's threads.
    public var executor: any TaskExecutor { shared }

    /// Begins to read these partitions at these offsets: the answer to ``ConsumerEvent/assigned(_:)``. It replaces what was
    /// assigned before.
    /// - Parameters:
    ///   - partitions: their positions in the list are the slots the gate is asked about.
    ///   - assignment: the generation of the batches.
    public func assign(_ partitions: [(TopicPartition, offset: Int64)], assignment: UInt64) {
        shared.send(.assign(partitions.map { ($0.0, $0.offset) }, assignment: assignment))
    }

    /// Gives all partitions back: the answer to ``ConsumerEvent/revoked(_:isLost:)``.
    public func unassign() { shared.send(.unassign) }

    /// Credits came back, or a gate opened: the reader looks again. A system call only where the reader sleeps.
    public func creditsReturned() { shared.wake() }

    /// Goes on reading one assigned partition at `offset`, with a new generation. Records in between are dropped.
    public func seek(_ partition: TopicPartition, to offset: Int64, assignment: UInt64) {
        shared.send(.seek(partition, offset, assignment: assignment))
    }

    /// Stops fetching these partitions and frees what was prefetched, which will be fetched again: the brake for long stalls.
    /// Pausing twice is harmless. A pause ends with the assignment.
    public func pause(_ partitions: [TopicPartition]) { shared.send(.pause(partitions)) }

    /// Fetches paused partitions again, from where reading stopped. Resuming a partition that is not paused does nothing.
    public func resume(_ partitions: [TopicPartition]) { shared.send(.resume(partitions)) }

    /// Commits offsets (of the next record to read) to the group, without waiting; answered by
    /// ``ConsumerEvent/committed(_:_:)``. Offsets that are not ahead are left out; during a rebalance nothing is sent. One request
    /// is on the way at a time; what comes meanwhile is merged into the next.
    public func commit(_ offsets: [(TopicPartition, Int64)]) { shared.send(.commit(offsets)) }

    /// Commits offsets and waits until all commits are answered, or `limit` has passed. For the end of a drain:
    /// it also works while a revoke waits for `unassign`.
    /// - Returns: what went wrong, or `nil`.
    public func commitAndWait(_ offsets: [(TopicPartition, Int64)], within limit: Duration) async -> KafkaError? {
        await withCheckedContinuation { continuation in
            let end = MonotonicTime.now().addingReportingOverflow(UInt64(limit.nanoseconds)).partialValue
            if !shared.send(.commitAndWait(offsets, limit: end, continuation)) {
                continuation.resume(returning: KafkaError(.closed, "the consumer is closed"))
            }
        }
    }

    /// Lets the last commit end, leaves the group and destroys the client.
    /// - Returns: false where `deadline` passed first. The client is then leaked on purpose: exit the process.
    public func close(deadline: Duration) async -> Bool {
        shared.send(.close(limit: MonotonicTime.now() + UInt64(deadline.nanoseconds)))
        return await shared.finished.wait(within: deadline)
    }

    /// How long ago the poll thread last served the group. Beyond some seconds it is wedged: librdkafka would not notice, because
    /// any read of any queue counts as a poll there.
    public var lastPollAge: Duration {
        .nanoseconds(Int64(clamping: MonotonicTime.now() &- shared.lastPoll.load(ordering: .relaxed)))
    }

    /// Bytes librdkafka holds for all assigned partitions, about: the records in their queues, each counted with the average of its
    /// partition and librdkafka's own. The poll thread looks at least every 100 ms; the response that is being received is not in it.
    public var prefetchedBytes: Int { shared.prefetchedBytes.load(ordering: .relaxed) }

    /// The most that ``prefetchedBytes`` has been since the partitions were assigned.
    public var mostPrefetchedBytes: Int { shared.mostPrefetchedBytes.load(ordering: .relaxed) }

    /// Counters since the start.
    public var statistics: KafkaConsumerStatistics { shared.statistics.withLock { $0 } }
}
