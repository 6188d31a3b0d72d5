// Reads one partition's queue into a batch: the hot path of the room.

internal import CKafka
internal import Records
internal import Synchronization

extension PollLoop {
    /// Stale or repeated records may not hold the thread at one partition for ever.
    private static let dropLimit = 4096

    /// Reads what the gate allows and hands it over as one batch. True where the visit ended before the queue did.
    func visit(_ reader: PartitionReader, slot: Int) -> Bool {
        if reader.isPaused || reader.hasFailed {
            reader.isKickWanted = false
            reader.sweep()
            return false
        }
        let allowance = gate.allowance(slot, assignment: reader.stamp)
        guard allowance.records > 0, allowance.bytes > 0 else {
            sample(reader)
            return false
        }
        var batch: RecordBatch?
        let limit = min(allowance.records, configuration.visitLimit)
        var dropped = 0
        var isEmpty = false
        reading: while dropped < PollLoop.dropLimit {
            if let batch, batch.count >= limit || batch.byteCount >= allowance.bytes { break }
            guard let message = reader.takeMessage() else {
                isEmpty = true
                break
            }
            guard message.error == RD_KAFKA_RESP_ERR_NO_ERROR else {
                failed(reader, message)
                break
            }
            switch reader.position.observed(message.offset) {
            case .accept: break
            case .acceptGap: shared.statistics.withLock { $0.gaps += 1 }
            case .drop:
                dropped += 1
                continue
            case .reseek(let offset):
                shared.statistics.withLock { $0.reseeks += 1 }
                seek([(reader.partition, offset)])
                break reading
            }
            let target = batch ?? makeBatch(reader, limit: limit, bytes: allowance.bytes)
            copy(message, to: target)
            batch = target
        }
        if dropped > 0 { shared.statistics.withLock { $0.duplicates += dropped } }
        if let batch { hand(over: batch, of: reader, slot: slot) }
        sample(reader)
        return !isEmpty && !reader.hasFailed
    }

    private func makeBatch(_ reader: PartitionReader, limit: Int, bytes: Int) -> RecordBatch {
        let records = min(limit, reader.queue.length + 1)
        return RecordBatch(
            source: reader.partition, assignment: reader.stamp, records: records,
            bytes: min(bytes, records * reader.bytesPerRecord + reader.bytesPerRecord))
    }

    @inline(__always)
    private func copy(_ message: borrowing MessageHandle, to batch: RecordBatch) {
        headers.removeAll()
        let hasHeaders = message.forEachHeader { name, value in RecordHeaders.append(name: name, value: value, to: &headers) }
        batch.append(
            offset: message.offset, timestamp: message.timestamp, key: message.key, value: message.value,
            headers: hasHeaders ? headers.bytes : nil)
    }

    private func hand(over batch: RecordBatch, of reader: PartitionReader, slot: Int) {
        let (count, bytes) = (batch.count, batch.byteCount)
        reader.consumed += count
        reader.bytesPerRecord = max(16, (reader.bytesPerRecord * 3 + bytes / count) / 4)
        gate.spent(slot: slot, assignment: reader.stamp, records: count, bytes: bytes)
        shared.statistics.withLock { statistics in
            statistics.records += count
            statistics.bytes += bytes
            statistics.batches += 1
        }
        shared.mailbox.push(.records(batch, slot: slot))
    }

    private func failed(_ reader: PartitionReader, _ message: borrowing MessageHandle) {
        if message.error == RD_KAFKA_RESP_ERR__PARTITION_EOF { return }
        let error = KafkaError(message.error, "\(reader.partition) at offset \(reader.position.expected): \(message.errorText)")
        if error.isRetriable {
            shared.mailbox.push(.notice(error))
        } else {
            reader.hasFailed = true
            shared.mailbox.push(.partitionFailed(reader.partition, error))
        }
    }

    /// Looks whether the partition's queue was full and has been drained.
    private func sample(_ reader: PartitionReader) {
        guard kicker != nil else { return }
        let capacity = reader.capacity(
            records: configuration.queuedMinimumRecords, bytes: configuration.queuedMaximumKibibytes * 1024)
        reader.isKickWanted = reader.kick.sampled(
            queued: reader.queue.length, consumed: reader.consumed, capacity: capacity, now: MonotonicTime.now())
    }
}
