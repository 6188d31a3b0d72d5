// Owns what a consumer's user and its poll thread share: commands in one direction, events and counters in the other.

internal import Backpressure
internal import Platform
internal import Records
internal import Synchronization

/// A command for the poll thread. Limits are in monotonic nanoseconds.
enum ConsumerCommand: Sendable {
    case assign([(TopicPartition, Int64)], lastApplied: [TopicPartition: Int64], generation: UInt64)
    case unassign
    case seek(TopicPartition, Int64, lastApplied: Int64?, generation: UInt64)
    case pause([TopicPartition])
    case resume([TopicPartition])
    case commit([(TopicPartition, Int64)])
    case commitAndWait([(TopicPartition, Int64)], limit: UInt64, CheckedContinuation<KafkaError?, Never>)
    case close(limit: UInt64)
}

/// Shared by ``KafkaConsumer`` and its ``PollLoop``. Tasks that prefer it as their executor run on the poll thread, between two
/// reads of the queues.
final class ConsumerShared: TaskExecutor {
    private struct Inbox {
        var commands: [ConsumerCommand] = []
        var jobs: [UnownedJob] = []
        var takesJobs = true
        var isEnded = false
    }

    let mailbox = Mailbox<ConsumerEvent>()
    /// The group was left.
    let left = Latch()
    /// The client was destroyed.
    let finished = Latch()
    let descriptor: EventDescriptor
    let lastPoll = Atomic<UInt64>(MonotonicClock.nanoseconds())
    /// Bytes librdkafka held for all partitions at its last report.
    let prefetchedBytes = Atomic(0)
    /// Maximum of ``prefetchedBytes`` in the last reports.
    let mostPrefetchedBytes = Atomic(0)
    private let counters = Mutex(KafkaConsumerStatistics())
    private let wakeUps = Atomic(0)
    private let inbox = Mutex(Inbox())
    private let hasWork = Atomic(false)
    private let isSleeping = Atomic(false)

    init() throws(KafkaError) { descriptor = try EventDescriptor() }

    /// Counters since the start.
    var statistics: KafkaConsumerStatistics {
        var statistics = counters.withLock { $0 }
        statistics.wakeUps = wakeUps.load(ordering: .relaxed)
        return statistics
    }

    /// Called by the poll thread: its counters have changed.
    func publish(_ statistics: KafkaConsumerStatistics) { counters.withLock { $0 = statistics } }

    /// Called by the thread of ``FetchWakeUp``.
    func fetcherWoken() { wakeUps.wrappingAdd(1, ordering: .relaxed) }

    /// Sends a command to the poll thread; false where the thread has ended.
    @discardableResult
    func send(_ command: ConsumerCommand) -> Bool {
        let isTaken = inbox.withLock { inbox in
            if !inbox.isEnded { inbox.commands.append(command) }
            return !inbox.isEnded
        }
        if isTaken { wake() }
        return isTaken
    }

    /// Called by Swift's runtime to run a part of a task. Once the consumer is closing, Swift's own threads run it.
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let isTaken = inbox.withLock { inbox in
            if inbox.takesJobs { inbox.jobs.append(job) }
            return inbox.takesJobs
        }
        if isTaken { wake() } else { globalConcurrentExecutor.enqueue(job) }
    }

    /// Called by the poll thread before it closes: from now on tasks run on Swift's own threads.
    func releaseJobs() {
        let jobs = inbox.withLock { inbox in
            inbox.takesJobs = false
            defer { inbox.jobs = [] }
            return inbox.jobs
        }
        for job in jobs { globalConcurrentExecutor.enqueue(job) }
    }

    /// Makes the poll thread run another iteration. Costs a system call only where the thread sleeps.
    func wake() {
        hasWork.store(true, ordering: .sequentiallyConsistent)
        if isSleeping.exchange(false, ordering: .sequentiallyConsistent) { descriptor.signal() }
    }

    /// Called by the poll thread: commands and jobs that came since the last call.
    func takeWork() -> (commands: [ConsumerCommand], jobs: [UnownedJob]) {
        // Cleared before the inbox is read, so that work that comes after that sets it again.
        guard hasWork.exchange(false, ordering: .sequentiallyConsistent) else { return ([], []) }
        return inbox.withLock { inbox in
            defer {
                inbox.commands = []
                inbox.jobs = []
            }
            return (inbox.commands, inbox.jobs)
        }
    }

    /// Called by the poll thread: sleeps until librdkafka or a user signals, or `milliseconds` have passed.
    func sleep(milliseconds: Int32) {
        isSleeping.store(true, ordering: .sequentiallyConsistent)
        // A thread that sets `hasWork` after this load sees `isSleeping` and signals.
        if !hasWork.load(ordering: .sequentiallyConsistent) { descriptor.wait(milliseconds: milliseconds) }
        isSleeping.store(false, ordering: .sequentiallyConsistent)
    }

    /// Called by the poll thread at its end: further commands are refused. Returns those that came too late.
    func end() -> [ConsumerCommand] {
        inbox.withLock { inbox in
            inbox.isEnded = true
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }
}
