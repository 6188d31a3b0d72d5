// Owns the poll thread of one consumer, the only caller of everything on the fetching client that may block.

internal import Backpressure
internal import CKafka
internal import Platform
internal import Records
internal import Synchronization

/// The loop: commands, the main queue, one visit of each partition, sleep.
///
/// It never waits for its user: rebalances are events, and the user's answers are commands.
final class PollLoop {
    /// Longest sleep in milliseconds, in case a wake-up is lost (edge-triggered descriptors have been known to lose one).
    private static let longestSleep: Int32 = 100
    /// How often tasks may resume each other before the queues are read again.
    private static let jobRounds = 16
    /// Reports, one a second, with a connected coordinator, after which a group that has given nothing has nothing to give.
    private static let silentReports = 2
    /// After so many nanoseconds without an iteration (the process was stopped, say) the logs may be other ones than before.
    private static let longestGap: UInt64 = 2_000_000_000
    /// Reports, one a second, of which the largest counts. The queues are full at one moment and drained at the next.
    private static let prefetchReports = 5

    let shared: ConsumerShared
    let client: Client
    private let readLimit: any ReadLimit
    let port: LibrdkafkaPort
    var reader: ReaderMachine<LibrdkafkaPort>
    /// `nil`: the group gives and takes all partitions at once.
    private var group: IncrementalGroupMachine?
    /// What such a group has given before its revoke was answered. Where the topics change meanwhile (a partition is added, a topic
    /// matches an expression), librdkafka joins again without that answer (2.0.2, rdkafka_cgrp.c: `rd_kafka_cgrp_revoke_rejoin`).
    private var givenEarly: [TopicPartition]?
    let mainQueue: QueueHandle
    let wakeUp: FetchWakeUp?
    var isClosing = false
    /// ``ConsumerEvent/failed(_:)`` was reported.
    private var isFatal = false
    var commits = CommitMachine()
    var commitWaiters: [(limit: UInt64, continuation: CheckedContinuation<KafkaError?, Never>)] = []
    /// Reports in a row with a connected coordinator.
    private var coordinatorReports = 0
    /// Bytes that librdkafka held at its last reports.
    var prefetched: [Int] = []
    /// When the main queue was served last, monotonic nanoseconds.
    private var servedAt: UInt64 = 0
    private var closeLimit: UInt64?

    private init(
        _ configuration: KafkaConsumerConfiguration, _ client: Client, _ limit: any ReadLimit, _ wakeUp: FetchWakeUp?,
        _ shared: ConsumerShared
    ) {
        guard let queue = rd_kafka_queue_get_consumer(client.pointer) else {
            preconditionFailure("a client with a group has a queue")
        }
        self.client = client
        readLimit = limit
        self.wakeUp = wakeUp
        self.shared = shared
        port = LibrdkafkaPort(client: client, shared: shared, groupProtocol: configuration.groupProtocol)
        group = configuration.groupProtocol == .consumer ? IncrementalGroupMachine() : nil
        reader = ReaderMachine(
            port: port, limits: configuration.readerLimits(needsWakeUps: wakeUp != nil), readLimit: limit)
        mainQueue = QueueHandle(owning: queue)
        mainQueue.enableWakeUp(shared.descriptor.descriptor)
    }

    /// The body of the poll thread. Destroys the client at the end, or leaks it where the close exceeds its limit.
    static func run(
        _ configuration: KafkaConsumerConfiguration, _ client: Client, _ limit: any ReadLimit, _ wakeUp: FetchWakeUp?,
        _ shared: ConsumerShared
    ) {
        // In a function of its own, so that the loop's queues are released before the client.
        guard runLoop(PollLoop(configuration, client, limit, wakeUp, shared)) else {
            // librdkafka may still write to the descriptor and log: what it uses is never released. The process is about to exit.
            _ = Unmanaged.passRetained(client)
            _ = Unmanaged.passRetained(shared)
            return
        }
        shared.left.open()
        client.destroy()
        shared.finished.open()
    }

    @inline(never)
    private static func runLoop(_ loop: consuming PollLoop) -> Bool { loop.run() }

    private func run() -> Bool {
        var last = MonotonicClock.nanoseconds()
        while closeLimit == nil {
            var hasMore = false
            let now = MonotonicClock.nanoseconds()
            let stoodStill = now > last + PollLoop.longestGap
            last = now
            work()
            // A rebalance that came now would be given to a user who is gone.
            if closeLimit != nil { break }
            // First the rebalances that have come meanwhile: an assignment that is made anew would answer them.
            serveMainQueue()
            if stoodStill { reader.stoodStill() }
            if reader.isReading { hasMore = readAll() }
            expireCommitWaiters()
            if !hasMore, closeLimit == nil { shared.sleep(milliseconds: sleepLimit()) }
        }
        return close(limit: closeLimit ?? 0)
    }

    /// Performs the commands and runs the tasks of this executor. Tasks that they resume run, too, before the queues are read,
    /// but for a bounded number of rounds, and not once the consumer is to close: the rest waits for the next iteration, or is
    /// released.
    private func work() {
        for _ in 0..<PollLoop.jobRounds where closeLimit == nil {
            let (commands, jobs) = shared.takeWork()
            for command in commands { perform(command) }
            if jobs.isEmpty {
                // Only now: a user who trusts a partition because of a later poll must have seen its revoke, which a task here
                // handles.
                if servedAt > 0 { shared.lastPoll.store(servedAt, ordering: .relaxed) }
                return
            }
            for job in jobs { job.runSynchronously(on: shared.asUnownedTaskExecutor()) }
        }
    }

    /// Visits every partition once. Returns whether there may be more to read.
    private func readAll() -> Bool {
        reader.beginRound()
        while reader.visitNext() {}
        let hasMore = reader.endRound()
        reader.checkStarts()
        wakeUp?.update(waiting: reader.partitionsToWake)
        return hasMore
    }

    func serveMainQueue() {
        while let event = mainQueue.takeEvent(milliseconds: 0) { handle(event) }
        servedAt = MonotonicClock.nanoseconds()
    }

    func handle(_ event: borrowing EventHandle) {
        switch event.type {
        case RD_KAFKA_EVENT_REBALANCE: handleRebalance(event)
        case RD_KAFKA_EVENT_OFFSET_COMMIT: handleCommitted(event)
        case RD_KAFKA_EVENT_ERROR: handleError(event)
        case RD_KAFKA_EVENT_STATS: event.withStatistics { measured(FetchStatistics($0)) }
        default: break
        }
    }

    private func measured(_ statistics: FetchStatistics) {
        port.unreachable = statistics.unreachable
        coordinatorReports = statistics.isCoordinatorUp ? coordinatorReports + 1 : 0
        if coordinatorReports >= PollLoop.silentReports, !isClosing { report(group?.waited()) }
        prefetched.append(statistics.prefetchedBytes)
        if prefetched.count > PollLoop.prefetchReports { prefetched.removeFirst() }
        shared.prefetchedBytes.store(statistics.prefetchedBytes, ordering: .relaxed)
        shared.mostPrefetchedBytes.store(prefetched.max() ?? 0, ordering: .relaxed)
    }

    private func handleRebalance(_ event: borrowing EventHandle) {
        let partitions = PartitionEntry.all(in: rd_kafka_event_topic_partition_list(event.pointer)).map(\.partition)
        if isClosing {
            // The user no longer answers; the drain came before the close.
            reader.close()
            port.unassignAtTheEnd()
            return
        }
        if event.error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if group == nil, reader.isRevoking {
                givenEarly = partitions.sorted()
                return
            }
            if group == nil { return report(.assigned(partitions.sorted())) }
            port.accept()
            report(group?.assigned(partitions))
        } else {
            givenEarly = nil
            let isLost = rd_kafka_assignment_lost(client.pointer) != 0
            if group == nil { return report(.revoked(partitions.sorted(), isLost: isLost)) }
            guard let revoked = group?.revoked(partitions, isLost: isLost) else { return }
            if revoked.isAnswerDue { port.unassign() }
            report(revoked.report)
        }
    }

    private func report(_ rebalance: IncrementalGroupMachine.Report?) {
        switch rebalance {
        case .assigned(let partitions)?:
            reader.assigned()
            shared.mailbox.send(.assigned(partitions))
        case .revoked(let partitions, let isLost)?:
            reader.revoked()
            wakeUp?.update(waiting: [])
            shared.mailbox.send(.revoked(partitions, isLost: isLost))
        case nil: break
        }
    }

    private func handleError(_ event: borrowing EventHandle) {
        guard let error = event.failure else { return }
        // A fenced member gets the cause's own code, not _FATAL.
        if let fatal = client.fatalError() {
            if !isFatal { shared.mailbox.send(.failed(fatal)) }
            isFatal = true
            reader.stopped()
            return
        }
        if event.error == RD_KAFKA_RESP_ERR__PARTITION_EOF { return }
        if let entry = rd_kafka_event_topic_partition(event.pointer) {
            defer { rd_kafka_topic_partition_destroy(entry) }
            if !error.isRetriable, entry.pointee.partition >= 0 {
                let partition = TopicPartition(String(cString: entry.pointee.topic), entry.pointee.partition)
                let generation = reader.reader(of: partition)?.generation
                if reader.partitionFailed(partition) {
                    shared.mailbox.send(.partitionFailed(partition, error, generation: generation))
                }
                return
            }
        }
        shared.mailbox.send(.notice(error))
    }

    private func perform(_ command: ConsumerCommand) {
        switch command {
        case .assign(let partitions, let lastApplied, let generation):
            // Its answer to a rebalance that was overtaken by the next one.
            if group?.isRevoking == true { break }
            assignmentEnds()
            reader.assign(partitions, lastApplied: lastApplied, generation: generation)
        case .unassign:
            assignmentEnds()
            reader.unassign()
            report(group?.unassigned() ?? givenEarly.map { .assigned($0) })
            givenEarly = nil
        case .seek(let partition, let offset, let lastApplied, let generation):
            commits.moved(partition, to: offset)
            reader.seek(partition, to: offset, lastApplied: lastApplied, generation: generation)
        case .pause(let partitions): reader.pause(partitions)
        case .resume(let partitions): reader.resume(partitions)
        case .commit(let offsets): if !reader.isRebalancing { commit(offsets) }
        case .commitAndWait(let offsets, let limit, let continuation):
            commit(offsets)
            if commits.isBusy { commitWaiters.append((limit, continuation)) } else { continuation.resume(returning: nil) }
        case .close(let limit): closeLimit = limit
        }
    }

    /// Milliseconds.
    private func sleepLimit() -> Int32 {
        var longest = PollLoop.longestSleep
        if reader.isReading, let wait = readLimit.nanosecondsUntilAllowed() {
            longest = Int32(min(UInt64(longest), wait / 1_000_000 + 1))
        }
        guard let first = commitWaiters.map(\.limit).min() else { return longest }
        let now = MonotonicClock.nanoseconds()
        return first <= now ? 0 : min(longest, Int32(clamping: (first - now) / 1_000_000) + 1)
    }
}
