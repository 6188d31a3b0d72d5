// Owns the one order in which the events of a transaction must seem to happen, and the same events gathered by key.

import Records

/// One event: which slice's batch it is in, and where.
struct Event {
    let slice: Int32
    let change: Int32
    let operation: Operation
}

/// The events of a transaction. Their position in ``events`` is their place in the sequence: slices in list order, each in log order.
final class EventSequence {
    let slices: [BatchSlice]
    let shape: TableShape
    // A sequence has one owner, which prepares it and then only reads: nothing for the check of exclusive access to find.
    @exclusivity(unchecked) private(set) var events: ContiguousArray<Event> = []
    /// Positions sorted by key; those of one key are neighbours and in ascending order. Empty until ``sortByKey()``.
    @exclusivity(unchecked) private(set) var byKey: ContiguousArray<UInt32> = []
    /// Where in ``byKey`` each key's run begins, and the count of ``byKey`` at the end.
    @exclusivity(unchecked) private(set) var runs: ContiguousArray<Int32> = []
    private let batches: [Unmanaged<ChangeBatch>]
    private let keyIsExact: Bool

    init(_ slices: [BatchSlice], shape: TableShape) {
        self.slices = slices
        self.shape = shape
        // The slices hold the batches as long as this object lives, so the references need no counting.
        batches = slices.map { Unmanaged.passUnretained($0.batch) }
        keyIsExact = shape.key.count == 1 && [.int2, .int4, .int8].contains(shape.columns[shape.key[0]].type)
        let ranges = slices.map(\.changes)
        events.reserveCapacity(ranges.reduce(0) { $0 + $1.count })
        for (slice, range) in ranges.enumerated() {
            slices[slice].batch.changes.withUnsafeBufferPointer { changes in
                for change in range {
                    let operation = changes[change].operation
                    events.append(Event(slice: Int32(slice), change: Int32(change), operation: operation))
                }
            }
        }
    }

    var count: Int { events.count }

    /// The record an event came from: its batch, and its place in that batch's records.
    func record(of position: Int) -> (batch: ChangeBatch, record: Int) {
        let event = events[position]
        let batch = slices[Int(event.slice)].batch
        return (batch, Int(batch.changes[Int(event.change)].record))
    }

    /// Calls `body` with the cell of an event, and the value's bytes unless it is null or absent.
    @inline(__always)
    func withCell<R>(_ position: Int, _ column: Int, _ body: (Slice, UnsafeRawBufferPointer?) -> R) -> R {
        let event = events[position]
        return batches[Int(event.slice)]._withUnsafeGuaranteedRef { batch in
            let cell = batch.cell(change: Int(event.change), column: column)
            return body(cell, batch.value(cell))
        }
    }

    /// Calls `body` with the batch of an event and the event's place in it.
    @inline(__always)
    func withEvent(_ position: Int, _ body: (ChangeBatch, Int) -> Void) {
        let event = events[position]
        batches[Int(event.slice)]._withUnsafeGuaranteedRef { body($0, Int(event.change)) }
    }

    @inline(__always)
    func isAbsent(_ position: Int, _ column: Int) -> Bool { withCell(position, column) { cell, _ in cell.isAbsent } }

    /// Gathers the events by key.
    func sortByKey() {
        var sorter = KeySorter(capacity: events.count)
        var at = 0
        for slice in slices {
            let range = slice.changes
            slice.batch.changes.withUnsafeBufferPointer { changes in
                for change in range {
                    sorter.append(prefix: changes[change].keyPrefix, position: UInt32(at))
                    at += 1
                }
            }
        }
        sorter.sort()
        if !keyIsExact { sorter.refine { self.compareKeys($0, $1) } }
        byKey.removeAll(keepingCapacity: true)
        runs.removeAll(keepingCapacity: true)
        byKey.reserveCapacity(events.count)
        runs.reserveCapacity(events.count + 1)
        let exact = keyIsExact
        sorter.withEntries { entries in
            for index in entries.indices {
                let starts =
                    index == 0 || entries[index].prefix != entries[index - 1].prefix
                    || (!exact && compareKeys(entries[index].position, entries[index - 1].position) != 0)
                if starts { runs.append(Int32(index)) }
                byKey.append(entries[index].position)
            }
        }
        runs.append(Int32(byKey.count))
    }

    /// Negative, zero or positive as the key of `a` sorts before, with or after that of `b`, column by column, as bytes.
    private func compareKeys(_ a: UInt32, _ b: UInt32) -> Int {
        for column in shape.key {
            let order = withCell(Int(a), column) { _, left in
                withCell(Int(b), column) { _, right in compareBytes(left, right) }
            }
            if order != 0 { return order }
        }
        return 0
    }

    /// Bytes of the longest key.
    func longestKey() -> Int {
        if keyIsExact { return 8 }
        var longest = 0
        for position in events.indices {
            let length = shape.key.reduce(0) { sum, column in
                sum + withCell(position, column) { _, bytes in bytes?.count ?? 0 }
            }
            longest = max(longest, length)
        }
        return longest
    }
}

/// As `memcmp`, a prefix before what it begins and null before everything.
private func compareBytes(_ a: UnsafeRawBufferPointer?, _ b: UnsafeRawBufferPointer?) -> Int {
    guard let a, let b else { return (a == nil ? 0 : 1) - (b == nil ? 0 : 1) }
    for (left, right) in zip(a, b) where left != right { return left < right ? -1 : 1 }
    return a.count - b.count
}
