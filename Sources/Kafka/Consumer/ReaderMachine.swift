// Decides what is read from which partition, and what librdkafka is told: assignments, seeks, pauses, restarts.

package import Records

/// The partitions of one member: the user's commands, the group's rebalances and what comes out of the queues go in; calls of the
/// ``FetchPort`` and events go out. Runs on the poll thread over librdkafka, and in the simulation over a model of it.
///
/// A round visits every partition once. Reading stops at a revoke and starts with the next assignment. A partition that has failed, or has
/// no offset yet, is not fetched: a seek, which follows its next claim, assigns all partitions anew, unless librdkafka has gone on fetching
/// after the error. librdkafka is never given a logical offset: the answer to the question that it then asks may come after a later seek,
/// and moves the position without a sign.
package struct ReaderMachine<Port: FetchPort>: ~Copyable {
    /// What is fixed for the life of a reader.
    package struct Limits: Sendable {
        /// Records read from one partition in one visit.
        var visit: Int
        /// At which number of records and bytes librdkafka stops fetching a partition.
        var queuedRecords: Int
        var queuedBytes: Int
        /// The fetcher must be woken for queues that were full and have been drained (see ``FetchWakeUp``).
        var needsWakeUps: Bool
        /// Nanoseconds until a partition that gives no sign of being fetched is assigned anew.
        var start: UInt64

        package init(
            visit: Int, queuedRecords: Int, queuedBytes: Int, needsWakeUps: Bool, start: UInt64 = FetchStartMachine.usualLimit
        ) {
            self.visit = visit
            self.queuedRecords = queuedRecords
            self.queuedBytes = queuedBytes
            self.needsWakeUps = needsWakeUps
            self.start = start
        }
    }

    let port: Port
    let limits: Limits
    let readLimit: any ReadLimit
    /// The partitions, by slot.
    package internal(set) var readers: [PartitionReader<Port.Queue>] = []
    /// Partitions are read.
    package private(set) var isReading = false
    /// A rebalance event has not been answered yet.
    package private(set) var isRebalancing = false
    /// A revoke has not been answered yet.
    package private(set) var isRevoking = false
    /// Counters since the start.
    package internal(set) var statistics = KafkaConsumerStatistics()
    /// Partitions are to be assigned anew before the next round: once for all seeks that came together.
    private var mustRestart = false
    private var round = RoundRobinMachine(first: 0, count: 0)
    private var hasMore = false

    /// - Parameter readLimit: asked at each visit of a partition.
    package init(port: Port, limits: Limits, readLimit: any ReadLimit) {
        self.port = port
        self.limits = limits
        self.readLimit = readLimit
    }

    /// The partitions for which librdkafka's fetcher must be woken.
    var partitionsToWake: [TopicPartition] { readers.filter(\.needsWakeUp).map(\.partition) }

    // MARK: Events of the group

    /// The group gave partitions; the answer is ``assign(_:generation:)``.
    package mutating func assigned() { isRebalancing = true }

    /// The group takes the partitions back; the answer is ``unassign()``.
    package mutating func revoked() {
        isRebalancing = true
        isRevoking = true
        isReading = false
    }

    /// The client cannot be used any more.
    mutating func stopped() { isReading = false }

    /// An error of a partition came through the main queue. True: it was not known.
    mutating func partitionFailed(_ partition: TopicPartition) -> Bool {
        guard let reader = reader(of: partition) else { return true }
        reader.isFetched = false
        return fail(reader)
    }

    // MARK: Commands

    /// Reads these partitions from these offsets, instead of those before. One with a negative offset is read after a seek.
    /// - Parameter lastApplied: fingerprints of the records before these offsets, where they are known.
    package mutating func assign(
        _ partitions: [(TopicPartition, Int64)], lastApplied: [TopicPartition: Int64] = [:], generation: UInt64
    ) {
        close()
        isRebalancing = false
        do throws(KafkaError) {
            for (partition, offset) in partitions {
                readers.append(
                    PartitionReader(
                        partition, try port.open(partition), offset: offset, lastApplied: lastApplied[partition],
                        generation: generation, startLimit: limits.start))
            }
        } catch {
            readers = []
            return port.report(.failed(error))
        }
        isReading = assignInLibrary()
    }

    /// Gives all partitions back.
    package mutating func unassign() {
        close()
        isRebalancing = false
        isRevoking = false
        port.unassign()
    }

    /// Releases the partitions' queues, which must happen before librdkafka gets a new assignment.
    mutating func close() {
        isReading = false
        // librdkafka keeps a pause beyond the assignment: it is ended here, so that the next assignment starts without one.
        let paused = readers.filter(\.isPaused).map(\.partition)
        if !paused.isEmpty { port.resume(paused) }
        for reader in readers { dropKept(reader) }
        readers = []
        mustRestart = false
    }

    /// Continues one partition at another offset, under another generation.
    package mutating func seek(
        _ partition: TopicPartition, to offset: Int64, lastApplied: Int64? = nil, generation: UInt64
    ) {
        guard let reader = reader(of: partition) else { return }
        reader.generation = generation
        dropKept(reader)
        reader.moved(to: offset, lastApplied: lastApplied)
        if reader.hasFailed {
            reader.hasFailed = false
            if !reader.isFetched { mustRestart = true }
        }
        if mustRestart { return }
        if !reader.isPaused { reader.start.ordered(at: port.now) }
        port.seek([(partition, reader.begin)])
    }

    /// Stops fetching partitions, and drops what was prefetched of them.
    package mutating func pause(_ partitions: [TopicPartition]) {
        let paused = readers.filter { !$0.isPaused && partitions.contains($0.partition) }
        guard !paused.isEmpty else { return }
        port.pause(paused.map(\.partition))
        for reader in paused {
            reader.isPaused = true
            reader.start.stopped()
            dropKept(reader)
            // The prefetched records are stale now; their memory is freed when the queue is read.
            sweep(reader)
        }
    }

    /// Fetches paused partitions again, from where they were read last.
    package mutating func resume(_ partitions: [TopicPartition]) {
        let resumed = readers.filter { $0.isPaused && partitions.contains($0.partition) }
        guard !resumed.isEmpty else { return }
        port.resume(resumed.map(\.partition))
        for reader in resumed {
            reader.isPaused = false
            dropKept(reader)
            reader.restarted()
            if !reader.hasFailed { reader.start.ordered(at: port.now) }
        }
        // A resume alone takes effect when the broker thread wakes, up to a second later; a seek wakes it. A failed partition is
        // outside its log, where a seek is refused; it continues with the seek that follows its next claim.
        let sought = resumed.filter { !$0.hasFailed }
        if !sought.isEmpty, !mustRestart { port.seek(sought.map { ($0.partition, $0.begin) }) }
    }

    /// The thread has not run for so long that topics may have been deleted and created again: all partitions are assigned anew before
    /// anything is taken, and their last records compared. librdkafka would go on in the new logs at the old positions.
    package mutating func stoodStill() {
        guard isReading, !isRebalancing else { return }
        restart(because: "the consumer's thread stood still; all partitions are assigned anew")
    }

    /// Assigns all partitions anew if one gives no sign of being fetched. To be called a few times a second.
    package mutating func checkStarts() {
        // During a rebalance the next assignment starts the partition anyway.
        guard isReading, !isRebalancing else { return }
        let (port, now) = (port, port.now)
        guard
            let silent = readers.first(where: {
                $0.start.isOverdue(at: now, isReachable: port.isReachable($0.partition))
            })
        else { return }
        restart(
            because:
                "\(silent.partition) is not fetched from offset \(silent.position.expected); all partitions are assigned anew")
    }

    private mutating func restart(because sentence: String) {
        statistics.restarts += 1
        port.publish(statistics)
        port.report(.notice(KafkaError(.other, sentence, isRetriable: true)))
        restart()
    }

    /// Repeats the assignment, each partition at its present offset: librdkafka has stopped fetching a partition and refuses to seek
    /// there, and with an eager assignor only a whole assignment starts it again.
    private mutating func restart() {
        mustRestart = false
        // During a rebalance the next assignment is the user's answer, and starts the partition anyway.
        guard !isRebalancing else { return }
        for reader in readers {
            dropKept(reader)
            reader.restarted()
        }
        _ = assignInLibrary()
    }

    /// Starts fetching the partitions that have not failed. False where librdkafka refuses, which is reported.
    private mutating func assignInLibrary() -> Bool {
        if let error = port.assign(readers.filter { !$0.hasFailed }.map { ($0.partition, $0.begin) }) {
            port.report(.failed(error))
            return false
        }
        let now = port.now
        for reader in readers {
            reader.isFetched = !reader.hasFailed
            if reader.isPaused || reader.hasFailed { reader.start.stopped() } else { reader.start.ordered(at: now) }
            // Stale records of the last assignment count as a full queue and block fetching until the queue is read.
            sweep(reader)
        }
        return true
    }

    func reader(of partition: TopicPartition) -> PartitionReader<Port.Queue>? { readers.first { $0.partition == partition } }

    private func dropKept(_ reader: PartitionReader<Port.Queue>) {
        guard reader.hasKept else { return }
        reader.hasKept = false
        port.dropKept(in: reader.queue)
    }

    // MARK: Rounds

    /// Starts a round: every partition is visited once, in the order of ``RoundRobinMachine``, so that partitions share a rate limit or
    /// a common budget equally.
    package mutating func beginRound() {
        if mustRestart, isReading { restart() }
        round = RoundRobinMachine(first: round.first, count: readers.count)
        hasMore = false
    }

    /// Visits the next partition of the round. False: there is none.
    package mutating func visitNext() -> Bool {
        guard isReading, let slot = round.next() else { return false }
        let reader = readers[slot]
        let before = reader.consumed
        if visit(reader, slot: slot) { hasMore = true }
        if reader.consumed > before { round.served(slot) }
        return true
    }

    /// Ends the round. Returns whether a visit ended before its queue was empty.
    package mutating func endRound() -> Bool { hasMore }
}
