// Performs the commands of the consumer's user that are not the reader's: commits, and the close.

internal import Backpressure
internal import CKafka
internal import Platform
internal import Records
internal import Synchronization

extension PollLoop {
    /// The present assignment is about to be replaced or given back.
    func assignmentEnds() {
        wakeUp?.update(waiting: [])
        prefetched = []
        shared.prefetchedBytes.store(0, ordering: .relaxed)
        shared.mostPrefetchedBytes.store(0, ordering: .relaxed)
        commits.unassigned()
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
        shared.releaseJobs()
        defer { answerLateCommands() }
        // A commit in flight makes the close wait for a session timeout or more: so half of the time is for its answer.
        let now = MonotonicClock.nanoseconds()
        let commitLimit = limit > now ? now + (limit - now) / 2 : now
        while commits.isBusy, MonotonicClock.nanoseconds() < commitLimit {
            if let event = mainQueue.takeEvent(milliseconds: 10) { handle(event) }
            expireCommitWaiters()
        }
        assignmentEnds()
        reader.close()
        wakeUp?.stop()
        defer { mainQueue.disableWakeUp() }
        guard client.fatalError() == nil else { return true }
        if reader.isRebalancing { port.unassign() }
        // A separate queue: the group's queue is forwarded to it, which would be a loop with the main queue.
        guard let pointer = rd_kafka_queue_new(client.pointer) else { return false }
        let queue = QueueHandle(owning: pointer)
        if let error = rd_kafka_consumer_close_queue(client.pointer, queue.pointer) {
            rd_kafka_error_destroy(error)
            return true
        }
        while rd_kafka_consumer_closed(client.pointer) == 0 {
            if MonotonicClock.nanoseconds() >= limit { return false }
            // A rebalance that came just before is in the main queue, and the close waits for its answer.
            serveMainQueue()
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
