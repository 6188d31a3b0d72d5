// Reads one partition's queue into a batch: the hot path of the module.

internal import Records

extension ReaderMachine {
    /// Records dropped in one visit, at most: so stale or repeated records do not keep the thread at one partition.
    private static var dropLimit: Int { 4096 }

    /// Reads what the limit allows and hands it over as one batch. True where the visit ended before the queue was empty.
    mutating func visit(_ reader: PartitionReader<Port.Queue>, slot: Int) -> Bool {
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
        var batch: RecordBatch?
        let end: VisitEnd
        if let early = compareLast(reader) {
            end = early
        } else {
            (batch, end) = read(
                reader, position: &reader.position, records: min(allowance.records, limits.visit), bytes: allowance.bytes)
        }
        if let batch { handOver(batch, of: reader, slot: slot) }
        if batch != nil { reader.start.answered() }
        switch end {
        case .otherLog(let lastApplied): otherLog(reader, lastApplied)
        case .gap(let offset): reseek(reader, to: offset)
        case .end(let offset): reportEnd(reader, offset)
        case .error: failed(reader)
        case .empty, .limit: break
        }
        sample(reader)
        return end != .empty && !reader.hasFailed
    }

    // Position is `inout`: as a property, each record would pay for Swift's check of exclusive access.
    private mutating func read(
        _ reader: PartitionReader<Port.Queue>, position: inout OffsetGuardMachine, records: Int, bytes: Int
    ) -> (RecordBatch?, VisitEnd) {
        let (port, queue, overhead) = (port, reader.queue, readLimit.recordOverhead)
        var batch: RecordBatch?
        var dropped = 0
        var gaps = 0
        defer {
            if dropped > 0 || gaps > 0 { count(dropped: dropped, gaps: gaps) }
            if dropped > 0 { reader.start.answered() }
        }
        // The first to be taken.
        reader.hasKept = false
        var taken = 0
        while taken < records, dropped < Self.dropLimit {
            switch port.take(from: queue) {
            case .nothing: return (batch, .empty)
            case .error: return (batch, .error)
            case .end(let offset):
                reader.start.answered()
                switch position.ended(at: offset) {
                case .none: continue
                case .reseek(let offset): return (batch, .gap(from: offset))
                case .report:
                    gaps += 1
                    return (batch, .end(offset))
                }
            case .record(let offset):
                switch position.observed(offset) {
                case .accept: break
                case .acceptGap: gaps += 1
                case .drop:
                    dropped += 1
                    continue
                case .reseek(let offset): return (batch, .gap(from: offset))
                }
            }
            let target = batch ?? makeBatch(reader, limit: records, bytes: bytes)
            port.copyRecord(to: target)
            batch = target
            taken += 1
            if target.byteCount + taken * overhead >= bytes { break }
        }
        return (batch, .limit)
    }

    /// Compares the last record before the position, where that is to be done. `nil`: records may be taken. Otherwise why the visit ends.
    private mutating func compareLast(_ reader: PartitionReader<Port.Queue>) -> VisitEnd? {
        var dropped = 0
        while reader.last.isAwaited {
            guard dropped < Self.dropLimit else { return .limit }
            reader.hasKept = false
            let fetched = port.take(from: reader.queue)
            if fetched == .nothing { return .empty }
            reader.start.answered()
            switch fetched {
            case .nothing: return .empty
            case .error: return .error
            case .end(let offset):
                switch ended(reader, at: offset) {
                case .none: break
                case .reseek(let offset): return .gap(from: offset)
                case .report:
                    count(dropped: 0, gaps: 1)
                    return .end(offset)
                }
            case .record(let offset):
                switch reader.last.observed(offset) {
                case .drop: dropped += 1
                case .seek(let offset): return .gap(from: offset)
                case .compare(let fingerprint):
                    if port.fingerprint != fingerprint { return .otherLog(lastApplied: fingerprint) }
                    reader.position.began(isCertain: true)
                case .pass:
                    port.keepRecord(in: reader.queue)
                    reader.hasKept = true
                    reader.position.began(isCertain: false)
                }
            }
        }
        return nil
    }

    /// The end of the log came.
    private func ended(_ reader: PartitionReader<Port.Queue>, at offset: Int64) -> OffsetGuardMachine.EndAction {
        guard reader.last.isAwaited else { return reader.position.ended(at: offset) }
        switch reader.last.ended(at: offset) {
        case .drop, .compare: return .none
        case .seek(let offset): return .reseek(to: offset)
        case .pass:
            reader.position.began(isCertain: false)
            return reader.position.ended(at: offset)
        }
    }

    /// Makes librdkafka drop the stale elements at the head of the queue, which count as full, and as memory, until the queue is read.
    /// A record that comes is kept, to be read first. An end or an error is never kept, as what is kept is dropped when the position
    /// changes.
    mutating func sweep(_ reader: PartitionReader<Port.Queue>) {
        while !reader.hasKept {
            let fetched = port.take(from: reader.queue)
            if fetched == .nothing { return }
            reader.start.answered()
            switch fetched {
            case .nothing: break
            case .record:
                port.keepRecord(in: reader.queue)
                reader.hasKept = true
            case .end(let offset):
                switch ended(reader, at: offset) {
                case .none: break
                // The resume of a paused partition seeks.
                case .reseek(let offset): if !reader.isPaused { reseek(reader, to: offset) }
                case .report:
                    count(dropped: 0, gaps: 1)
                    reportEnd(reader, offset)
                }
            case .error: failed(reader)
            }
        }
    }

    private mutating func reseek(_ reader: PartitionReader<Port.Queue>, to offset: Int64) {
        statistics.reseeks += 1
        port.publish(statistics)
        reader.start.ordered(at: port.now)
        port.seek([(reader.partition, offset)])
    }

    private func reportEnd(_ reader: PartitionReader<Port.Queue>, _ offset: Int64) {
        port.report(.reachedEnd(reader.partition, offset: offset, generation: reader.generation))
    }

    private mutating func count(dropped: Int, gaps: Int) {
        statistics.duplicates += dropped
        statistics.gaps += gaps
        port.publish(statistics)
    }

    private func makeBatch(_ reader: PartitionReader<Port.Queue>, limit: Int, bytes: Int) -> RecordBatch {
        let records = min(limit, port.length(of: reader.queue) + 1)
        return RecordBatch(
            source: reader.partition, generation: reader.generation, records: records,
            bytes: min(bytes, records * reader.bytesPerRecord + reader.bytesPerRecord))
    }

    private mutating func handOver(_ batch: RecordBatch, of reader: PartitionReader<Port.Queue>, slot: Int) {
        let (count, bytes) = (batch.count, batch.byteCount)
        reader.consumed += count
        reader.last.taken(lastRecord(of: batch))
        reader.read(bytes: bytes, records: count)
        readLimit.spent(slot: slot, generation: reader.generation, records: count, bytes: bytes)
        statistics.records += count
        statistics.bytes += bytes
        statistics.batches += 1
        port.publish(statistics)
        port.report(.records(batch))
    }

    /// What a later restart or resume compares. Not of a large record: its fingerprint would hold up the thread.
    private func lastRecord(of batch: RecordBatch) -> LastRecordMachine.Record? {
        guard let last = batch.records.last, last.key.length + last.value.length <= 16 << 10 else { return nil }
        return LastRecordMachine.Record(offset: last.offset, fingerprint: batch.fingerprint(of: last))
    }

    /// The last record before the position is another one than was read there.
    private mutating func otherLog(_ reader: PartitionReader<Port.Queue>, _ lastApplied: Int64) {
        guard fail(reader), let offset = reader.last.offset else { return }
        let reason = "\(reader.partition): the record at offset \(offset) is not the one that was read there before"
        port.report(.otherLog(reader.partition, lastApplied: lastApplied, generation: reader.generation, reason: reason))
    }

    /// The current element is an error.
    private mutating func failed(_ reader: PartitionReader<Port.Queue>) {
        reader.start.answered()
        let error = port.error(of: reader.partition, at: reader.position.expected)
        if error.isRetriable { return port.report(.notice(error)) }
        // After an offset out of range the fetch state is NONE, and an unknown partition has none. After others librdkafka goes on. (One of
        // authorization it reports once, but again after a seek.)
        reader.isFetched = reader.isFetched && (error.code == .notAuthorized || error.code == .other)
        if fail(reader) { port.report(.partitionFailed(reader.partition, error, generation: reader.generation)) }
    }

    /// Nothing is read any more. False where that was so.
    mutating func fail(_ reader: PartitionReader<Port.Queue>) -> Bool {
        guard !reader.hasFailed else { return false }
        reader.hasFailed = true
        reader.start.stopped()
        return true
    }

    /// Samples whether the partition's queue was full and has been drained.
    private func sample(_ reader: PartitionReader<Port.Queue>) {
        guard limits.needsWakeUps else { return }
        let capacity = reader.capacity(records: limits.queuedRecords, bytes: limits.queuedBytes)
        reader.needsWakeUp = reader.wakeUp.sampled(
            queued: port.length(of: reader.queue), consumed: reader.consumed, capacity: capacity, now: port.now)
    }
}

/// Why a visit ended.
private enum VisitEnd: Equatable {
    case empty
    case limit
    /// The current element is an error.
    case error
    /// The last record before the position is another one than that of this fingerprint.
    case otherLog(lastApplied: Int64)
    /// Records are missing from this offset on: seek there.
    case gap(from: Int64)
    /// This offset is the end of the log, and all records before it were handed over.
    case end(Int64)
}
