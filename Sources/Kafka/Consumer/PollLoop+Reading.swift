// Reads one partition's queue into a batch: the hot path of the module.

internal import Backpressure
internal import CKafka
internal import Platform
internal import Records
internal import Synchronization

extension PollLoop {
    /// Records dropped in one visit, at most: so stale or repeated records do not keep the thread at one partition.
    private static let dropLimit = 4096

    /// Reads what the limit allows and hands it over as one batch. True where the visit ended before the queue was empty.
    func visit(_ reader: PartitionReader, slot: Int) -> Bool {
        if reader.isPaused || reader.hasFailed {
            reader.needsWakeUp = false
            sweep(reader)
            return false
        }
        let allowance = readLimit.allowance(slot: slot, generation: reader.generation)
        guard allowance.records > 0, allowance.bytes > 0 else {
            if reader.start.isAwaited { sweep(reader) }
            sample(reader)
            return false
        }
        let (batch, end) = read(
            reader, position: &reader.position, headers: &headers, records: min(allowance.records, configuration.visitLimit),
            bytes: allowance.bytes)
        if let batch { handOver(batch, of: reader, slot: slot) }
        if end != .empty || batch != nil { reader.start.answered() }
        switch end {
        case .gap(let offset): reseek(reader, to: offset)
        case .end(let offset): reportEnd(reader, offset)
        case .empty, .limit: break
        }
        sample(reader)
        return end != .empty && !reader.hasFailed
    }

    /// Why a visit ended.
    private enum End: Equatable {
        case empty
        case limit
        /// Records are missing from this offset on: seek there.
        case gap(from: Int64)
        /// This offset is the end of the log, and all records before it were handed over.
        case end(Int64)
    }

    // Position and scratch memory are `inout`: as properties, each record would pay for Swift's check of exclusive access.
    private func read(
        _ reader: PartitionReader, position: inout OffsetGuardMachine, headers: inout ByteBuffer, records: Int, bytes: Int
    ) -> (RecordBatch?, End) {
        var batch: RecordBatch?
        var dropped = 0
        var gaps = 0
        defer {
            if dropped > 0 || gaps > 0 { count(dropped: dropped, gaps: gaps) }
            if dropped > 0 { reader.start.answered() }
        }
        var pending = reader.takePending()
        var taken = 0
        let overhead = readLimit.recordOverhead
        while taken < records, dropped < PollLoop.dropLimit {
            guard let message = pending.take() ?? reader.queue.takeMessage() else { return (batch, .empty) }
            guard message.error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                if message.error == RD_KAFKA_RESP_ERR__PARTITION_EOF {
                    reader.start.answered()
                    switch position.ended(at: message.offset) {
                    case .none: continue
                    case .reseek(let offset): return (batch, .gap(from: offset))
                    case .report:
                        gaps += 1
                        return (batch, .end(message.offset))
                    }
                }
                failed(reader, message, at: position.expected)
                return (batch, .limit)
            }
            switch position.observed(message.offset) {
            case .accept: break
            case .acceptGap: gaps += 1
            case .drop:
                dropped += 1
                continue
            case .reseek(let offset): return (batch, .gap(from: offset))
            }
            let target = batch ?? makeBatch(reader, limit: records, bytes: bytes)
            copy(message, to: target, headers: &headers)
            batch = target
            taken += 1
            if target.byteCount + taken * overhead >= bytes { break }
        }
        return (batch, .limit)
    }

    /// Makes librdkafka drop the stale elements at the head of the queue, which count as full, and as memory, until the queue is read.
    /// A record that comes is kept, to be read first; an error is never kept, as what is kept is dropped when the position changes.
    func sweep(_ reader: PartitionReader) {
        while !reader.hasPending, let message = reader.queue.takeMessage() {
            reader.start.answered()
            let error = message.error
            if error == RD_KAFKA_RESP_ERR_NO_ERROR {
                reader.keep(message)
            } else if error == RD_KAFKA_RESP_ERR__PARTITION_EOF {
                switch reader.position.ended(at: message.offset) {
                case .none: break
                // The resume of a paused partition seeks.
                case .reseek(let offset): if !reader.isPaused { reseek(reader, to: offset) }
                case .report:
                    count(dropped: 0, gaps: 1)
                    reportEnd(reader, message.offset)
                }
            } else {
                failed(reader, message, at: reader.position.expected)
            }
        }
    }

    private func reseek(_ reader: PartitionReader, to offset: Int64) {
        shared.statistics.withLock { $0.reseeks += 1 }
        reader.start.ordered(at: MonotonicClock.nanoseconds())
        seek([(reader.partition, offset)])
    }

    private func reportEnd(_ reader: PartitionReader, _ offset: Int64) {
        shared.mailbox.send(.reachedEnd(reader.partition, offset: offset, generation: reader.generation))
    }

    private func count(dropped: Int, gaps: Int) {
        shared.statistics.withLock { statistics in
            statistics.duplicates += dropped
            statistics.gaps += gaps
        }
    }

    private func makeBatch(_ reader: PartitionReader, limit: Int, bytes: Int) -> RecordBatch {
        let records = min(limit, reader.queue.length + 1)
        return RecordBatch(
            source: reader.partition, generation: reader.generation, records: records,
            bytes: min(bytes, records * reader.bytesPerRecord + reader.bytesPerRecord))
    }

    @inline(__always)
    private func copy(_ message: borrowing MessageHandle, to batch: RecordBatch, headers: inout ByteBuffer) {
        headers.removeAll()
        let hasHeaders = message.forEachHeader { name, value in RecordHeaders.append(name: name, value: value, to: &headers) }
        batch.append(
            offset: message.offset, timestamp: message.timestamp, key: message.key, value: message.value,
            headers: hasHeaders ? headers.bytes : nil)
    }

    private func handOver(_ batch: RecordBatch, of reader: PartitionReader, slot: Int) {
        let (count, bytes) = (batch.count, batch.byteCount)
        reader.consumed += count
        reader.read(bytes: bytes, records: count)
        readLimit.spent(slot: slot, generation: reader.generation, records: count, bytes: bytes)
        shared.statistics.withLock { statistics in
            statistics.records += count
            statistics.bytes += bytes
            statistics.batches += 1
        }
        shared.mailbox.send(.records(batch))
    }

    private func failed(_ reader: PartitionReader, _ message: borrowing MessageHandle, at offset: Int64) {
        let error = KafkaError(message.error, "\(reader.partition) at offset \(offset): \(message.errorText)")
        if error.isRetriable {
            shared.mailbox.send(.notice(error))
        } else {
            guard !reader.hasFailed else { return }
            reader.hasFailed = true
            reader.start.stopped()
            shared.mailbox.send(.partitionFailed(reader.partition, error))
        }
    }

    /// Samples whether the partition's queue was full and has been drained.
    private func sample(_ reader: PartitionReader) {
        guard wakeUp != nil else { return }
        let queued = reader.queue.length
        let capacity = reader.capacity(
            records: configuration.queuedMinimumRecords, bytes: configuration.queuedMaximumKibibytes * 1024)
        reader.needsWakeUp = reader.wakeUp.sampled(
            queued: queued, consumed: reader.consumed, capacity: capacity, now: MonotonicClock.nanoseconds())
    }
}
