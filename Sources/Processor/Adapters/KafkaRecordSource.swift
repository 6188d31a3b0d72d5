// Puts the Kafka consumer behind the pipeline's source port.

import Backpressure
import Kafka
import Pipeline
import Platform
import Records
import Telemetry

/// The credit pool and the consume limits as the poll thread's read limit.
struct CreditReadLimit: ReadLimit {
    let pool: CreditPool
    /// Holds the largest transaction (charged bytes), too: a batch is written whole, so none may be larger.
    let limiter: ConsumeLimiter

    func allowance(slot: Int, generation: UInt64) -> (records: Int, bytes: Int) {
        let credits = pool.allowance(slot: slot, generation: generation)
        // A partition without credits waits for those: the reader need not come back when a rate allows more.
        guard credits.isPositive else { return (0, 0) }
        let allowance = limiter.allowance(slot: slot, within: credits)
        return (allowance.records, allowance.bytes)
    }

    func nanosecondsUntilAllowed() -> UInt64? { limiter.opensIn() }

    func spent(slot: Int, generation: UInt64, records: Int, bytes: Int) {
        pool.spent(slot: slot, generation: generation, pool.charge(records: records, bytes: bytes))
        // A rate counts the log's bytes, not the memory they take here.
        limiter.spent(slot: slot, Credits(records: records, bytes: bytes))
    }

    var recordOverhead: Int { pool.recordOverhead }
}

/// A Kafka consumer group member as the pipeline's source.
struct KafkaRecordSource: RecordSource {
    let consumer: KafkaConsumer
    let metadata: KafkaMetadata
    /// The same without the records of open transactions.
    let committedMetadata: KafkaMetadata
    let limiter: ConsumeLimiter
    /// librdkafka's share of the memory budget.
    let prefetchBytes: Int
    /// By how many partitions that was divided; a consumer cannot divide it anew.
    let partitionLimit: Int
    let logger: Logger

    var executor: (any TaskExecutor)? { consumer.executor }

    func next() async throws -> SourceEvent? {
        while let event = await consumer.next() {
            switch event {
            case .records(let batch): return .records(batch)
            case .assigned(let partitions): return .assigned(partitions)
            case .revoked(let partitions, let isLost): return .revoked(partitions, isLost: isLost)
            case .reachedEnd(let partition, let offset, let generation):
                return .reachedEnd(partition, offset: offset, generation: generation)
            case .partitionFailed(let partition, let error, let generation) where error.code == .offsetOutOfRange:
                return .positionLost(partition, generation: generation, reason: error.description)
            case .otherLog(let partition, let lastApplied, let generation, let reason):
                return .positionLost(partition, generation: generation, mismatch: lastApplied, reason: reason)
            case .partitionFailed(let partition, let error, let generation):
                return .partitionFailed(partition, generation: generation, reason: error.description)
            case .failed(let error): return .failed(error)
            case .notice(let error): return .notice(error.description)
            case .committed(let offsets, let error?):
                // For lag tools only; the ledger commits it again.
                return .offsetCommitFailed(
                    offsets.map(\.0), reason: "Offset commit failed and is repeated: \(error.description)")
            case .committed(_, nil): break
            }
        }
        try Task.checkCancellation()
        return nil
    }

    func assign(_ partitions: [PartitionStart], unclaimed: [TopicPartition], generation: UInt64) {
        limiter.assigned(topics: partitions.map(\.source.topic) + unclaimed.map(\.topic))
        consumer.assign(
            partitions.map { ($0.source, offset: $0.offset) } + unclaimed.map { ($0, offset: KafkaConsumer.noOffset) },
            lastApplied: Dictionary(
                uniqueKeysWithValues: partitions.compactMap { start in start.lastApplied.map { (start.source, $0) } }),
            generation: generation)
    }

    func unassign() { consumer.unassign() }

    func seek(_ start: PartitionStart, generation: UInt64) {
        consumer.seek(start.source, to: start.offset, lastApplied: start.lastApplied, generation: generation)
    }

    func pause(_ partition: TopicPartition) { consumer.pause([partition]) }

    func resume(_ partition: TopicPartition) { consumer.resume([partition]) }

    func creditsReturned() { consumer.creditsReturned() }

    func commit(_ offsets: [PartitionStart]) { consumer.commit(offsets.map { ($0.source, $0.offset) }) }

    func commitAndWait(_ offsets: [PartitionStart], until deadline: UInt64) async {
        let now = MonotonicClock.nanoseconds()
        let limit = Duration.nanoseconds(Int64(clamping: deadline > now ? deadline - now : 0))
        if let error = await consumer.commitAndWait(offsets.map { ($0.source, $0.offset) }, within: limit) {
            logger.warning("Last offset commit failed.", ["message": error.description])
        }
    }

    func leave() { consumer.leave(within: .seconds(5)) }

    func endOffsets(_ partitions: [TopicPartition]) async throws -> LogEnds { try await ends(partitions, metadata) }

    func readableEnds(_ partitions: [TopicPartition]) async throws -> [TopicPartition: Int64] {
        try await ends(partitions, committedMetadata).ends
    }

    private func ends(_ partitions: [TopicPartition], _ metadata: KafkaMetadata) async throws -> LogEnds {
        var answer = LogEnds([:])
        var failure: KafkaError?
        for (partition, end) in try await metadata.endOffsets(partitions) {
            switch end {
            case .success(let end): answer.ends[partition] = end
            case .failure(let error):
                if error.code == .unknownTopic { answer.missing.insert(partition) } else { failure = error }
                logger.debug("End offset could not be read.", ["partition": "\(partition)", "message": error.description])
            }
        }
        if answer.ends.isEmpty, answer.missing.isEmpty, let failure { throw failure }
        return answer
    }

    /// A broker sends a producer's batch whole, however small the fetch is, and the size is not known before. Each byte that is not read
    /// saves two: its own, and the one reserved for its change batch. Measured by librdkafka, and forgotten after five seconds.
    var overrun: Int { Swift.max(0, (consumer.mostPrefetchedBytes - prefetchBytes + 1) / 2) }

    var lastPoll: UInt64 {
        let age = consumer.lastPollAge.nanoseconds
        let now = MonotonicClock.nanoseconds()
        return now > age ? now - age : 0
    }
}
