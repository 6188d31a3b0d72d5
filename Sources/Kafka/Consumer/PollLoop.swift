// Owns the poll thread of one consumer: the only caller of everything that may block on the fetching handle.

internal import CKafka
internal import Records
internal import Synchronization

/// The loop: commands, then the main queue, then each partition in turn, then sleep.
///
/// It never waits for its user: rebalances are handed out as events, and the answers come back as commands.
final class PollLoop {
    /// A lost wake-up costs at most this (edge-triggered descriptors have been known to lose one).
    private static let safetyPoll: Int32 = 100
    /// How often tasks may resume each other before the queues are looked at again.
    private static let turns = 16

    let configuration: KafkaConsumerConfiguration
    let shared: ConsumerShared
    let client: Client
    let gate: any FetchGate
    let mainQueue: QueueHandle
    let kicker: FetchWakeUp?
    var readers: [PartitionReader] = []
    /// Reading stops at a revoke and begins with the next assignment.
    var isReading = false
    /// A rebalance event was handed out and not answered yet.
    var isRebalancing = false
    var isClosing = false
    /// The user knows that the client is useless.
    private var isFatal = false
    var commits = CommitMachine()
    var commitWaiters: [(limit: UInt64, continuation: CheckedContinuation<KafkaError?, Never>)] = []
    var headers = ByteBuffer()
    private var firstReader = 0
    /// When the main queue was served last, monotonic nanoseconds.
    private var servedAt: UInt64 = 0
    private var closeLimit: UInt64?

    private init(
        _ configuration: KafkaConsumerConfiguration, _ client: Client, _ gate: any FetchGate, _ kicker: FetchWakeUp?,
        _ shared: ConsumerShared, queue: OpaquePointer
    ) {
        self.configuration = configuration
        self.client = client
        self.gate = gate
        self.kicker = kicker
        self.shared = shared
        mainQueue = QueueHandle(owning: queue)
        mainQueue.enableWakeUp(shared.descriptor.descriptor)
    }

    /// The body of the poll thread. Destroys the client at the end, or leaks it where closing takes longer than it may.
    static func run(
        _ configuration: KafkaConsumerConfiguration, _ client: Client, _ gate: any FetchGate, _ kicker: FetchWakeUp?,
        _ shared: ConsumerShared
    ) {
        let isClosed: Bool
        if let queue = rd_kafka_queue_get_consumer(client.pointer) {
            // In a function of its own, so that the loop's queues are gone before the client is.
            isClosed = runLoop(PollLoop(configuration, client, gate, kicker, shared, queue: queue))
        } else {
            shared.mailbox.push(.failed(KafkaError(.fatal, "the consumer of group \(configuration.groupID) has no queue")))
            shared.mailbox.close()
            shared.releaseJobs()
            isClosed = true
        }
        guard isClosed else {
            // librdkafka may still write to the descriptor and log: what it uses stays for ever. The process is about to exit.
            _ = Unmanaged.passRetained(client)
            _ = Unmanaged.passRetained(shared)
            return
        }
        client.destroy()
        shared.finished.open()
    }

    @inline(never)
    private static func runLoop(_ loop: PollLoop) -> Bool { loop.run() }

    private func run() -> Bool {
        while closeLimit == nil {
            var hasMore = false
            work()
            serveMainQueue()
            if isReading { hasMore = readAll() }
            expireCommitWaiters()
            if !hasMore, closeLimit == nil { shared.sleep(milliseconds: sleepLimit()) }
        }
        return close(limit: closeLimit ?? 0)
    }

    /// Does what it was told, and runs the tasks that want to be here: what they resume of each other runs before the queues are looked at,
    /// but not without end, and not once the consumer is to close: what is left then waits for the next turn, or is released.
    private func work() {
        for _ in 0..<PollLoop.turns where closeLimit == nil {
            let (commands, jobs) = shared.takeWork()
            for command in commands { perform(command) }
            if jobs.isEmpty {
                // Only now: whoever trusts a partition because a poll has passed must have seen its revoke, which a task here takes.
                if servedAt > 0 { shared.lastPoll.store(servedAt, ordering: .relaxed) }
                return
            }
            for job in jobs { job.runSynchronously(on: shared.asUnownedTaskExecutor()) }
        }
    }

    /// Visits every partition once, beginning behind the one that was served last: where there is less than all could take (a rate limit,
    /// a budget they share), each has its turn, however often the loop comes round in between.
    private func readAll() -> Bool {
        guard !readers.isEmpty else { return false }
        var hasMore = false
        var wantsKick = false
        var prefetched = 0
        var turn = RoundRobinMachine(first: firstReader, count: readers.count)
        while let slot = turn.next() {
            let before = readers[slot].consumed
            if visit(readers[slot], slot: slot) { hasMore = true }
            if readers[slot].consumed > before { turn.served(slot) }
            if readers[slot].isKickWanted { wantsKick = true }
            prefetched += readers[slot].prefetchedBytes
        }
        shared.prefetchedBytes.store(prefetched, ordering: .relaxed)
        if prefetched > shared.mostPrefetchedBytes.load(ordering: .relaxed) {
            shared.mostPrefetchedBytes.store(prefetched, ordering: .relaxed)
        }
        firstReader = turn.first
        kicker?.want(wantsKick ? readers.filter(\.isKickWanted).map(\.partition) : [])
        return hasMore
    }

    func serveMainQueue() {
        while let event = mainQueue.takeEvent(milliseconds: 0) { handle(event) }
        servedAt = MonotonicTime.now()
    }

    func handle(_ event: borrowing EventHandle) {
        switch event.type {
        case RD_KAFKA_EVENT_REBALANCE: handleRebalance(event)
        case RD_KAFKA_EVENT_OFFSET_COMMIT: handleCommitted(event)
        case RD_KAFKA_EVENT_ERROR: handleError(event)
        default: break
        }
    }

    private func handleRebalance(_ event: borrowing EventHandle) {
        let partitions = PartitionEntry.all(in: rd_kafka_event_topic_partition_list(event.pointer)).map(\.partition)
        if isClosing {
            // Nobody is there to answer; the drain came before the close.
            rd_kafka_assign(client.pointer, nil)
            return
        }
        isRebalancing = true
        if event.error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            shared.mailbox.push(.assigned(partitions.sorted()))
        } else {
            isReading = false
            kicker?.want([])
            let isLost = rd_kafka_assignment_lost(client.pointer) != 0
            shared.mailbox.push(.revoked(partitions.sorted(), isLost: isLost))
        }
    }

    private func handleError(_ event: borrowing EventHandle) {
        guard let error = event.failure else { return }
        // A fenced member is told so by the cause's own code, not by _FATAL.
        if let fatal = client.fatalError() {
            if !isFatal { shared.mailbox.push(.failed(fatal)) }
            isFatal = true
            isReading = false
            return
        }
        if event.error == RD_KAFKA_RESP_ERR__PARTITION_EOF { return }
        if let entry = rd_kafka_event_topic_partition(event.pointer) {
            defer { rd_kafka_topic_partition_destroy(entry) }
            if !error.isRetriable, entry.pointee.partition >= 0 {
                let partition = TopicPartition(String(cString: entry.pointee.topic), entry.pointee.partition)
                readers.first { $0.partition == partition }?.hasFailed = true
                shared.mailbox.push(.partitionFailed(partition, error))
                return
            }
        }
        shared.mailbox.push(.notice(error))
    }

    private func perform(_ command: ConsumerCommand) {
        switch command {
        case .assign(let partitions, let assignment): assign(partitions, assignment: assignment)
        case .unassign: unassign()
        case .seek(let partition, let offset, let assignment): seek(partition, to: offset, assignment: assignment)
        case .pause(let partitions): pause(partitions)
        case .resume(let partitions): resume(partitions)
        case .commit(let offsets): if !isRebalancing { commit(offsets) }
        case .commitAndWait(let offsets, let limit, let continuation):
            commit(offsets)
            if commits.isBusy { commitWaiters.append((limit, continuation)) } else { continuation.resume(returning: nil) }
        case .close(let limit): closeLimit = limit
        }
    }

    private func sleepLimit() -> Int32 {
        var limit = PollLoop.safetyPoll
        if isReading, let wait = gate.opensIn() { limit = Int32(min(UInt64(limit), wait / 1_000_000 + 1)) }
        guard let first = commitWaiters.map(\.limit).min() else { return limit }
        let now = MonotonicTime.now()
        return first <= now ? 0 : min(limit, Int32(clamping: (first - now) / 1_000_000) + 1)
    }
}
