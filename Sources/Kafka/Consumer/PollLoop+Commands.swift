// Carries out what the consumer's user asks for: assignments, seeks, pauses, commits, the close.

internal import CKafka
internal import Records
internal import Synchronization

extension PollLoop {
    func assign(_ partitions: [(TopicPartition, Int64)], assignment: UInt64) {
        dropReaders()
        isRebalancing = false
        do throws(KafkaError) {
            for (partition, offset) in partitions {
                readers.append(
                    try PartitionReader(
                        client, partition, offset: offset, generation: assignment, wakeUp: shared.descriptor.descriptor))
            }
        } catch {
            readers = []
            shared.mailbox.push(.failed(error))
            return
        }
        let list = PartitionListHandle(partitions)
        let error = rd_kafka_assign(client.pointer, list.pointer)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            shared.mailbox.push(.failed(client.fatalError() ?? KafkaError(error, "the assignment was not taken")))
            return
        }
        // Records of the last assignment that nobody looks at count as full and block fetching.
        for reader in readers { reader.sweep() }
        isReading = true
    }

    func unassign() {
        dropReaders()
        isRebalancing = false
        rd_kafka_assign(client.pointer, nil)
    }

    /// Lets go of the partitions' queues, which must happen before librdkafka is told about a new assignment.
    private func dropReaders() {
        isReading = false
        kicker?.want([])
        // A pause survives in librdkafka: end it here, so that the next assignment begins without one.
        resumeInLibrary(readers.filter(\.isPaused).map(\.partition))
        readers = []
        shared.prefetchedBytes.store(0, ordering: .relaxed)
        shared.mostPrefetchedBytes.store(0, ordering: .relaxed)
        commits.unassigned()
    }

    func seek(_ partition: TopicPartition, to offset: Int64, assignment: UInt64) {
        guard let reader = readers.first(where: { $0.partition == partition }) else { return }
        let hasFailed = reader.hasFailed
        reader.generation = assignment
        reader.hasFailed = false
        reader.position.moved(to: offset)
        reader.dropHeld()
        if hasFailed { restart() } else { seek([(partition, offset)]) }
    }

    /// Assigns what is assigned once more, each partition where it stands: librdkafka has stopped fetching a failed partition,
    /// where a seek is refused, and under an eager assignor only a whole assignment starts it again.
    private func restart() {
        // The answer to a rebalance is not ours to give, and makes this pointless.
        guard !isRebalancing else { return }
        for reader in readers { reader.dropHeld() }
        let list = PartitionListHandle(readers.filter { !$0.hasFailed }.map { ($0.partition, $0.position.expected) })
        let error = rd_kafka_assign(client.pointer, list.pointer)
        if error != RD_KAFKA_RESP_ERR_NO_ERROR {
            shared.mailbox.push(.failed(client.fatalError() ?? KafkaError(error, "the assignment was not taken")))
        }
        for reader in readers { reader.sweep() }
    }

    /// Asks librdkafka to fetch from elsewhere. With a time-out of 0 it only starts the seek (2.0.2 reads other time-outs as
    /// microseconds); everything already queued is stale when the call returns, and the offset guard watches the rest.
    func seek(_ offsets: [(TopicPartition, Int64)]) {
        guard !offsets.isEmpty else { return }
        let list = PartitionListHandle(offsets)
        guard let error = rd_kafka_seek_partitions(client.pointer, list.pointer, 0) else { return }
        let text = String(cString: rd_kafka_error_string(error))
        shared.mailbox.push(.notice(KafkaError(rd_kafka_error_code(error), "seek: \(text)")))
        rd_kafka_error_destroy(error)
    }

    func pause(_ partitions: [TopicPartition]) {
        let found = readers.filter { !$0.isPaused && partitions.contains($0.partition) }
        guard !found.isEmpty else { return }
        let list = PartitionListHandle(found.map(\.partition), offset: Int64(RD_KAFKA_OFFSET_INVALID))
        rd_kafka_pause_partitions(client.pointer, list.pointer)
        for reader in found {
            reader.isPaused = true
            reader.dropHeld()
            // The prefetched records are stale now, and free their memory when somebody looks.
            reader.sweep()
        }
    }

    func resume(_ partitions: [TopicPartition]) {
        // Resuming a partition that is not paused would rewind it: hence the map of our own.
        let found = readers.filter { $0.isPaused && partitions.contains($0.partition) }
        resumeInLibrary(found.map(\.partition))
        for reader in found {
            reader.isPaused = false
            reader.dropHeld()
        }
        // Resume alone waits for the broker thread's next round, up to a second; the seek wakes it.
        // One that has failed is out of its log's range, where a seek is refused; it goes on with the seek that its claim leads to.
        seek(found.filter { !$0.hasFailed }.map { ($0.partition, $0.position.expected) })
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
            shared.mailbox.push(.committed(offsets, KafkaError(error)))
            offsets = commits.answered(failed: Set(offsets.map(\.0)))
        }
    }

    func handleCommitted(_ event: borrowing EventHandle) {
        let entries = PartitionEntry.all(in: rd_kafka_event_topic_partition_list(event.pointer))
        let failure = event.failure ?? entries.lazy.compactMap(\.error).first
        let failed = event.failure != nil ? entries : entries.filter { $0.error != nil }
        shared.mailbox.push(.committed(entries.map { ($0.partition, $0.offset) }, failure))
        send(commits.answered(failed: Set(failed.map(\.partition))))
        guard !commits.isBusy else { return }
        for waiter in commitWaiters { waiter.continuation.resume(returning: failure) }
        commitWaiters = []
    }

    func expireCommitWaiters() {
        guard !commitWaiters.isEmpty else { return }
        let now = MonotonicTime.now()
        for waiter in commitWaiters where waiter.limit <= now {
            waiter.continuation.resume(
                returning: KafkaError(.timedOut, "no broker answered the commit in time", isRetriable: true))
        }
        commitWaiters.removeAll { $0.limit <= now }
    }

    /// Leaves the group. False where that takes longer than it may; the client must then not be destroyed.
    func close(limit: UInt64) -> Bool {
        isClosing = true
        isReading = false
        shared.releaseJobs()
        defer { endOfCommands() }
        // An outstanding commit makes the close wait for a session time-out or more: let it end first, in half of the time.
        let now = MonotonicTime.now()
        let commitLimit = limit > now ? now + (limit - now) / 2 : now
        while commits.isBusy, MonotonicTime.now() < commitLimit {
            if let event = mainQueue.takeEvent(milliseconds: 10) { handle(event) }
            expireCommitWaiters()
        }
        dropReaders()
        kicker?.stop()
        defer { mainQueue.disableWakeUp() }
        guard client.fatalError() == nil else { return true }
        // A queue of its own: the group's queue is forwarded to it, which would be a loop with the main queue.
        guard let pointer = rd_kafka_queue_new(client.pointer) else { return false }
        let queue = QueueHandle(owning: pointer)
        if let error = rd_kafka_consumer_close_queue(client.pointer, queue.pointer) {
            rd_kafka_error_destroy(error)
            return true
        }
        while rd_kafka_consumer_closed(client.pointer) == 0 {
            if MonotonicTime.now() >= limit { return false }
            if let event = queue.takeEvent(milliseconds: 10) { handle(event) }
        }
        return true
    }

    /// Nobody may wait for ever: commands that came too late are answered.
    private func endOfCommands() {
        let tooLate = KafkaError(.closed, "the consumer is closed")
        for waiter in commitWaiters { waiter.continuation.resume(returning: tooLate) }
        commitWaiters = []
        for case .commitAndWait(_, _, let continuation) in shared.end() { continuation.resume(returning: tooLate) }
        shared.mailbox.close()
    }
}
