// Performs the commands of the consumer's user: assignments, seeks, pauses, commits, the close.

internal import Backpressure
internal import CKafka
internal import Platform
internal import Records
internal import Synchronization

extension PollLoop {
    func assign(_ partitions: [(TopicPartition, Int64)], generation: UInt64) {
        dropReaders()
        isRebalancing = false
        do throws(KafkaError) {
            for (partition, offset) in partitions {
                readers.append(
                    try PartitionReader(
                        client, partition, offset: offset, generation: generation, wakeUp: shared.descriptor.descriptor))
            }
        } catch {
            readers = []
            shared.mailbox.send(.failed(error))
            return
        }
        isReading = assignInLibrary(partitions)
    }

    /// Starts fetching. False where librdkafka refuses, which is reported.
    private func assignInLibrary(_ partitions: [(TopicPartition, Int64)]) -> Bool {
        let list = PartitionListHandle(partitions)
        let error = rd_kafka_assign(client.pointer, list.pointer)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            shared.mailbox.send(.failed(client.fatalError() ?? KafkaError(error, "librdkafka refused the assignment")))
            return false
        }
        let now = MonotonicClock.nanoseconds()
        for reader in readers {
            if reader.isPaused || reader.hasFailed { reader.start.stopped() } else { reader.start.ordered(at: now) }
            // Stale records of the last assignment count as a full queue and block fetching until the queue is read.
            sweep(reader)
        }
        return true
    }

    func unassign() {
        dropReaders()
        isRebalancing = false
        rd_kafka_assign(client.pointer, nil)
    }

    /// Releases the partitions' queues, which must happen before librdkafka gets a new assignment.
    private func dropReaders() {
        isReading = false
        wakeUp?.update(waiting: [])
        // librdkafka keeps a pause beyond the assignment: it is ended here, so that the next assignment starts without one.
        resumeInLibrary(readers.filter(\.isPaused).map(\.partition))
        readers = []
        prefetched = []
        shared.prefetchedBytes.store(0, ordering: .relaxed)
        shared.mostPrefetchedBytes.store(0, ordering: .relaxed)
        commits.unassigned()
    }

    func seek(_ partition: TopicPartition, to offset: Int64, generation: UInt64) {
        guard let reader = readers.first(where: { $0.partition == partition }) else { return }
        let hasFailed = reader.hasFailed
        reader.generation = generation
        reader.hasFailed = false
        reader.position.moved(to: offset)
        reader.dropPending()
        if hasFailed { return restart() }
        if !reader.isPaused { reader.start.ordered(at: MonotonicClock.nanoseconds()) }
        seek([(partition, offset)])
    }

    /// A partition that librdkafka was told to fetch gives no sign of it.
    func restart(_ reader: PartitionReader) {
        shared.statistics.withLock { $0.restarts += 1 }
        shared.mailbox.send(
            .notice(
                KafkaError(
                    .other,
                    "\(reader.partition) is not fetched from offset \(reader.position.expected); all partitions are assigned anew",
                    isRetriable: true)))
        restart()
    }

    /// Repeats the assignment, each partition at its present offset: librdkafka has stopped fetching a partition and refuses to seek
    /// there, and with an eager assignor only a whole assignment starts it again.
    private func restart() {
        // During a rebalance the next assignment is the user's answer, and starts the partition anyway.
        guard !isRebalancing else { return }
        for reader in readers {
            reader.dropPending()
            reader.position.moved(to: reader.position.expected)
        }
        _ = assignInLibrary(readers.filter { !$0.hasFailed }.map { ($0.partition, $0.position.expected) })
    }

    /// Makes librdkafka fetch from other offsets. With a timeout of 0 it only starts the seek (2.0.2 takes other timeouts for
    /// microseconds); everything already queued is stale when the call returns, and ``OffsetGuardMachine`` checks the rest.
    func seek(_ offsets: [(TopicPartition, Int64)]) {
        guard !offsets.isEmpty else { return }
        let list = PartitionListHandle(offsets)
        guard let error = rd_kafka_seek_partitions(client.pointer, list.pointer, 0) else { return }
        let text = String(cString: rd_kafka_error_string(error))
        shared.mailbox.send(.notice(KafkaError(rd_kafka_error_code(error), "seek: \(text)")))
        rd_kafka_error_destroy(error)
    }

    func pause(_ partitions: [TopicPartition]) {
        let paused = readers.filter { !$0.isPaused && partitions.contains($0.partition) }
        guard !paused.isEmpty else { return }
        let list = PartitionListHandle(paused.map(\.partition), offset: Int64(RD_KAFKA_OFFSET_INVALID))
        rd_kafka_pause_partitions(client.pointer, list.pointer)
        for reader in paused {
            reader.isPaused = true
            reader.start.stopped()
            reader.dropPending()
            // The prefetched records are stale now; their memory is freed when the queue is read.
            sweep(reader)
        }
    }

    func resume(_ partitions: [TopicPartition]) {
        // Resuming a partition that is not paused would rewind it: so `isPaused` is kept here.
        let resumed = readers.filter { $0.isPaused && partitions.contains($0.partition) }
        resumeInLibrary(resumed.map(\.partition))
        for reader in resumed {
            reader.isPaused = false
            reader.dropPending()
            reader.position.moved(to: reader.position.expected)
            if !reader.hasFailed { reader.start.ordered(at: MonotonicClock.nanoseconds()) }
        }
        // A resume alone takes effect when the broker thread wakes, up to a second later; a seek wakes it. A failed partition is
        // outside its log, where a seek is refused; it continues with the seek that follows its next claim.
        seek(resumed.filter { !$0.hasFailed }.map { ($0.partition, $0.position.expected) })
    }

    private func resumeInLibrary(_ partitions: [TopicPartition]) {
        guard !partitions.isEmpty else { return }
        let list = PartitionListHandle(partitions, offset: Int64(RD_KAFKA_OFFSET_INVALID))
        rd_kafka_resume_partitions(client.pointer, list.pointer)
    }

    func commit(_ offsets: [(TopicPartition, Int64)]) { send(commits.requested(offsets)) }

    private func send(_ offsets: [(TopicPartition, Int64)]) {
        var offsets = offsets
        while !offsets.isEmpty {
            let list = PartitionListHandle(offsets)
            let error = rd_kafka_commit_queue(client.pointer, list.pointer, mainQueue.pointer, nil, nil)
            if error == RD_KAFKA_RESP_ERR_NO_ERROR { return }
            shared.mailbox.send(.committed(offsets, KafkaError(error)))
            offsets = commits.answered(failed: Set(offsets.map(\.0)))
        }
    }

    func handleCommitted(_ event: borrowing EventHandle) {
        let entries = PartitionEntry.all(in: rd_kafka_event_topic_partition_list(event.pointer))
        let failure = event.failure ?? entries.lazy.compactMap(\.error).first
        let failed = event.failure != nil ? entries : entries.filter { $0.error != nil }
        shared.mailbox.send(.committed(entries.map { ($0.partition, $0.offset) }, failure))
        send(commits.answered(failed: Set(failed.map(\.partition))))
        guard !commits.isBusy else { return }
        for waiter in commitWaiters { waiter.continuation.resume(returning: failure) }
        commitWaiters = []
    }

    func expireCommitWaiters() {
        guard !commitWaiters.isEmpty else { return }
        let now = MonotonicClock.nanoseconds()
        for waiter in commitWaiters where waiter.limit <= now {
            waiter.continuation.resume(
                returning: KafkaError(.timedOut, "no broker answered the commit in time", isRetriable: true))
        }
        commitWaiters.removeAll { $0.limit <= now }
    }

    /// Leaves the group. False where that takes until after `limit`; the client must then not be destroyed.
    func close(limit: UInt64) -> Bool {
        isClosing = true
        isReading = false
        shared.releaseJobs()
        defer { answerLateCommands() }
        // A commit in flight makes the close wait for a session timeout or more: so half of the time is for its answer.
        let now = MonotonicClock.nanoseconds()
        let commitLimit = limit > now ? now + (limit - now) / 2 : now
        while commits.isBusy, MonotonicClock.nanoseconds() < commitLimit {
            if let event = mainQueue.takeEvent(milliseconds: 10) { handle(event) }
            expireCommitWaiters()
        }
        dropReaders()
        wakeUp?.stop()
        defer { mainQueue.disableWakeUp() }
        guard client.fatalError() == nil else { return true }
        // A separate queue: the group's queue is forwarded to it, which would be a loop with the main queue.
        guard let pointer = rd_kafka_queue_new(client.pointer) else { return false }
        let queue = QueueHandle(owning: pointer)
        if let error = rd_kafka_consumer_close_queue(client.pointer, queue.pointer) {
            rd_kafka_error_destroy(error)
            return true
        }
        while rd_kafka_consumer_closed(client.pointer) == 0 {
            if MonotonicClock.nanoseconds() >= limit { return false }
            if let event = queue.takeEvent(milliseconds: 10) { handle(event) }
        }
        return true
    }

    /// Answers the commands that came too late, and ends the events.
    private func answerLateCommands() {
        let tooLate = KafkaError(.closed, "the consumer is closed")
        for waiter in commitWaiters { waiter.continuation.resume(returning: tooLate) }
        commitWaiters = []
        for case .commitAndWait(_, _, let continuation) in shared.end() { continuation.resume(returning: tooLate) }
        shared.mailbox.finish()
    }
}
