// Owns the sequence of a transaction's events, and the same events grouped by key.

import Records

/// One event: its slice, and its position in the slice's batch.
struct Event {
    let slice: Int32
    let change: Int32
    let operation: Operation
}

/// The positions of a sequence's events, grouped by key.
struct KeyRuns {
    /// Sorted by key; positions of one key are neighbours and in ascending order.
    let positions: ContiguousArray<UInt32>
    /// Where each key's run begins, and the count of ``positions`` at the end.
    let starts: ContiguousArray<Int32>

    /// Number of keys.
    var count: Int { starts.count - 1 }

    /// The range of a key's events in ``positions``.
    @inline(__always)
    subscript(run: Int) -> Range<Int> { Int(starts[run])..<Int(starts[run + 1]) }
}

/// The events of a transaction, in the order in which they must take effect: slices in list order, each in log order.
final class EventSequence {
    let slices: [BatchSlice]
    let shape: TableShape
    let events: ContiguousArray<Event>
    private let batches: [Unmanaged<ChangeBatch>]
    private let keyIsExact: Bool
    /// Which changes of each slice's batch are in the sequence.
    private let ranges: [Range<Int>]

    convenience init(_ slices: [BatchSlice], shape: TableShape) {
        self.init(slices, ranges: slices.map(\.changes), shape: shape)
    }

    /// - Parameter ranges: the changes of each slice's batch; a slice may stand several times.
    init(_ slices: [BatchSlice], ranges: [Range<Int>], shape: TableShape) {
        self.slices = slices
        self.ranges = ranges
        self.shape = shape
        // `slices` retains the batches as long as this object lives.
        batches = slices.map { Unmanaged.passUnretained($0.batch) }
        keyIsExact = shape.key.count == 1 && shape.columns[shape.key[0]].type.fitsKeyPrefix
        var events: ContiguousArray<Event> = []
        events.reserveCapacity(ranges.reduce(0) { $0 + $1.count })
        for (slice, range) in ranges.enumerated() {
            slices[slice].batch.changes.withUnsafeBufferPointer { changes in
                for change in range {
                    let operation = changes[change].operation
                    events.append(Event(slice: Int32(slice), change: Int32(change), operation: operation))
                }
            }
        }
        self.events = events
    }

    var count: Int { events.count }

    /// The events at these positions as a sequence of their own, whose positions begin at 0.
    func part(_ positions: Range<Int>) -> EventSequence {
        var end = 0
        let parts = ranges.map { range -> Range<Int> in
            let start = end
            end += range.count
            let cut = positions.clamped(to: start..<end)
            return range.lowerBound + cut.lowerBound - start..<range.lowerBound + cut.upperBound - start
        }
        return EventSequence(slices, ranges: parts, shape: shape)
    }

    /// The record of an event: its batch, and its position in the batch's records.
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

    @inline(__always)
    func isAbsent(_ position: Int, _ column: Int) -> Bool { withCell(position, column) { cell, _ in cell.isAbsent } }

    /// The value of an event in a column of integers, dates or timestamps that is not null, as an int8.
    @inline(__always)
    func int8(of position: Int, _ column: Int) -> Int64 {
        withCell(position, column) { _, bytes in
            switch bytes?.count {
            case 8: Int64(bigEndian: bytes!.loadUnaligned(as: Int64.self))
            case 4: Int64(Int32(bigEndian: bytes!.loadUnaligned(as: Int32.self)))
            case 2: Int64(Int16(bigEndian: bytes!.loadUnaligned(as: Int16.self)))
            default: preconditionFailure("an integer has two, four or eight bytes")
            }
        }
    }

    /// Writes the key of an event as `sluice_tombstones` has it: the length and the bytes of each column. Integers have eight bytes, so
    /// that a column may become wider.
    func writeTombstoneKey(of position: Int, to buffer: inout ByteBuffer) {
        buffer.removeAll()
        for column in shape.key {
            let type = shape.columns[column].type
            if type == .int2 || type == .int4 || type == .int8 {
                buffer.append(bigEndian: Int32(8))
                buffer.append(bigEndian: int8(of: position, column))
            } else {
                withCell(position, column) { _, bytes in
                    buffer.append(bigEndian: Int32(truncatingIfNeeded: bytes?.count ?? 0))
                    if let bytes { buffer.append(bytes) }
                }
            }
        }
    }

    /// Groups the events by key.
    func sortByKey() -> KeyRuns {
        var sorter = KeySorter(capacity: events.count)
        var position: UInt32 = 0
        for (slice, range) in zip(slices, ranges) {
            slice.batch.changes.withUnsafeBufferPointer { changes in
                for change in range {
                    sorter.append(prefix: changes[change].keyPrefix, position: position)
                    position += 1
                }
            }
        }
        sorter.sort()
        if !keyIsExact { sorter.refine { self.compareKeys($0, $1) } }
        var byKey: ContiguousArray<UInt32> = []
        var runs: ContiguousArray<Int32> = []
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
        return KeyRuns(positions: byKey, starts: runs)
    }

    /// Negative, zero or positive as the key of `a` sorts before, equal to or after that of `b`, column by column, as bytes.
    private func compareKeys(_ a: UInt32, _ b: UInt32) -> Int {
        for column in shape.key {
            let order = withCell(Int(a), column) { _, left in
                withCell(Int(b), column) { _, right in compareBytes(left, right) }
            }
            if order != 0 { return order }
        }
        return 0
    }

    /// Whether an event that writes a row has no value for one of these columns.
    func lacksAny(of columns: [Int]) -> Bool {
        !columns.isEmpty
            && events.indices.contains { position in
                events[position].operation != .delete && columns.contains { isAbsent(position, $0) }
            }
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

/// As `memcmp`; a prefix sorts before the longer value, null before everything.
private func compareBytes(_ a: UnsafeRawBufferPointer?, _ b: UnsafeRawBufferPointer?) -> Int {
    guard let a, let b else { return (a == nil ? 0 : 1) - (b == nil ? 0 : 1) }
    for (left, right) in zip(a, b) where left != right { return left < right ? -1 : 1 }
    return a.count - b.count
}
