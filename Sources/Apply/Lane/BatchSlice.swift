// Owns the unit of a transaction: a run of records of one change batch.

public import Records
import SluiceTables

/// A run of records of one ``ChangeBatch``: all of them, or a part where a transaction had to be made smaller.
public struct BatchSlice: Sendable, Equatable {
    /// The decoded batch.
    public let batch: ChangeBatch
    /// Positions in ``RecordBatch/records``.
    public let records: Range<Int>

    /// The whole batch.
    public init(_ batch: ChangeBatch) { self.init(batch, records: 0..<batch.records.count) }

    /// Some of the batch's records.
    public init(_ batch: ChangeBatch, records: Range<Int>) {
        precondition(records.lowerBound >= 0 && records.upperBound <= batch.records.count, "a slice lies inside its batch")
        self.batch = batch
        self.records = records
    }

    /// The same records of the same batch.
    public static func == (a: BatchSlice, b: BatchSlice) -> Bool { a.batch === b.batch && a.records == b.records }

    /// The partition of the records.
    public var source: TopicPartition { batch.records.source }

    /// The applied offset once this slice is durable; `nil` for a slice without records.
    public var nextOffset: Int64? {
        guard let last = records.last else { return nil }
        return records.upperBound == batch.records.count ? batch.records.nextOffset : batch.records.records[last].offset + 1
    }

    /// Fingerprint of the last record, which is the one before ``nextOffset``; the slice has one.
    var lastFingerprint: Int64 { batch.records.fingerprint(of: batch.records.records[records.upperBound - 1]) }

    /// The same records, as one of a route's mappings has decoded them; `nil` where it has decoded none of the batch.
    func part(_ part: Int) -> BatchSlice? { batch.parts[part].map { BatchSlice($0, records: records) } }

    /// Offset of the first record; the slice has one.
    var firstOffset: Int64 { batch.records.records[records.lowerBound].offset }

    /// Offset of the last record; the slice has one.
    var lastOffset: Int64 { batch.records.records[records.upperBound - 1].offset }

    /// How many of its records have at most this offset.
    func records(upTo offset: Int64) -> Int { records.prefix { batch.records.records[$0].offset <= offset }.count }

    /// A transaction's slices as two lists of about the same number of records, in the same order; `nil` where one record is
    /// left.
    public static func halve(_ slices: [BatchSlice]) -> ([BatchSlice], [BatchSlice])? {
        divide(slices, at: slices.reduce(0) { $0 + $1.records.count } / 2)
    }

    /// The first `count` records and the others, as ``halve(_:)``; `nil` where one of the two would be empty.
    static func divide(_ slices: [BatchSlice], at count: Int) -> ([BatchSlice], [BatchSlice])? {
        guard count > 0, count < slices.reduce(0, { $0 + $1.records.count }) else { return nil }
        var left: [BatchSlice] = []
        var right: [BatchSlice] = []
        var remaining = count
        for slice in slices {
            let cut = slice.records.lowerBound + min(remaining, slice.records.count)
            remaining -= cut - slice.records.lowerBound
            if cut > slice.records.lowerBound {
                left.append(BatchSlice(slice.batch, records: slice.records.lowerBound..<cut))
            }
            if cut < slice.records.upperBound {
                right.append(BatchSlice(slice.batch, records: cut..<slice.records.upperBound))
            }
        }
        return (left, right)
    }

    /// The first record at which a partition must stop, with the number of records before it in the list; `nil`: there is none.
    static func firstStop(in slices: [BatchSlice]) -> (source: TopicPartition, records: Int, reason: StopReason)? {
        var records = 0
        for slice in slices {
            if let stop = slice.batch.stop, stop.record < slice.records.upperBound {
                return (slice.source, records + max(0, stop.record - slice.records.lowerBound), stop.reason)
            }
            records += slice.records.count
        }
        return nil
    }

    /// Positions in ``ChangeBatch/changes`` that belong to the slice.
    var changes: Range<Int> {
        if records.count == batch.records.count { return 0..<batch.changes.count }
        let changes = batch.changes
        func first(from record: Int) -> Int {
            var low = 0
            var high = changes.count
            while low < high {
                let middle = (low + high) / 2
                if changes[middle].record < record { low = middle + 1 } else { high = middle }
            }
            return low
        }
        return first(from: records.lowerBound)..<first(from: records.upperBound)
    }

    /// The faults that belong to the slice.
    var faults: [DecodeFault] {
        if records.count == batch.records.count { return batch.faults }
        return batch.faults.filter { records.contains(Int($0.record)) }
    }

    /// The dead letters of the records that could not be decoded.
    var deadLetters: [DeadLetter] {
        faults.map { fault in
            DeadLetter(
                batch: batch, record: Int(fault.record), reason: DeadLetterReason.decode(fault.reason), detail: fault.detail)
        }
    }
}
