// Owns the rows of a change batch while they are written.

/// The content of a ``ChangeBatch``, with one owner: a decoder fills it without the access checks of a class's properties.
///
/// A change is written cell by cell, in column order, and finished by ``append(record:operation:keyPrefix:)``; the cells of a
/// change that cannot be finished are removed by ``abandonRow()``.
public struct ChangeRows: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: this non-copyable value is the only owner of the cells' memory.

    /// Number of cells of a change.
    public let columnCount: Int
    /// The finished changes, in log order.
    @inlinable public var changes: ContiguousArray<Change> { finished }
    /// The records that could not be decoded, in log order.
    public private(set) var faults: [DecodeFault] = []
    /// The record before which the partition must stop, and why.
    public private(set) var stop: (record: Int, reason: StopReason)?
    /// Decoded events whose record key names another row than their payload.
    public var keyMismatches = 0
    /// The buffer of the cells' values.
    public var values: ByteBuffer
    @usableFromInline var finished: ContiguousArray<Change> = []
    @usableFromInline var valuesOfFinished = 0
    @usableFromInline let longestChange: Int
    // The cells, row by row. Not an array, because that checks at every append whether it is shared.
    @usableFromInline var cells: UnsafeMutablePointer<Slice>
    @usableFromInline var cellCount = 0
    @usableFromInline var cellCapacity: Int

    /// - Parameters:
    ///   - columnCount: number of cells of a change.
    ///   - changes: number of changes to reserve space for.
    ///   - bytes: bytes of values to reserve space for.
    ///   - longestChange: bytes that the values of one change may have; see ``isTooLong``.
    public init(columnCount: Int, changes: Int = 0, bytes: Int = 0, longestChange: Int = .max) {
        self.columnCount = columnCount
        self.longestChange = longestChange
        values = ByteBuffer(capacity: bytes)
        finished.reserveCapacity(changes)
        cellCapacity = max(changes * columnCount, 16)
        cells = .allocate(capacity: cellCapacity)
    }

    deinit { cells.deallocate() }

    /// Appends an integer's binary form to the values.
    @inlinable @inline(__always)
    public mutating func appendValue<T: FixedWidthInteger>(bigEndian value: T) -> Slice {
        let start = values.count
        values.append(bigEndian: value)
        return Slice(start: start, length: MemoryLayout<T>.size)
    }

    /// Whether the values of the change that is being written have more bytes than one change may have, or than ``Slice`` can point at.
    @inlinable public var isTooLong: Bool {
        values.count - valuesOfFinished > longestChange || values.count > Int(Int32.max)
    }

    /// Appends the next cell of the change that is being written.
    @inlinable @inline(__always)
    public mutating func append(cell: Slice) {
        if cellCount == cellCapacity { growCells() }
        (cells + cellCount).initialize(to: cell)
        cellCount += 1
    }

    @usableFromInline @inline(never)
    mutating func growCells() {
        let larger = UnsafeMutablePointer<Slice>.allocate(capacity: cellCapacity * 2)
        larger.moveInitialize(from: cells, count: cellCount)
        cells.deallocate()
        cells = larger
        cellCapacity *= 2
    }

    /// The cell of a finished change in a column.
    @inlinable @inline(__always)
    public func cell(change: Int, column: Int) -> Slice {
        precondition(change >= 0 && change < finished.count && column >= 0 && column < columnCount, "no such cell")
        return cells[change * columnCount + column]
    }

    /// The cell of the change that is being written in a column that it has been written for.
    public func unfinishedCell(column: Int) -> Slice {
        let index = finished.count * columnCount + column
        precondition(column >= 0 && index < cellCount, "no such cell")
        return cells[index]
    }

    /// Finishes the change that is being written. It must have one cell per column.
    @inlinable @inline(__always)
    public mutating func append(record: Int, operation: Operation, keyPrefix: UInt64) {
        finished.append(Change(record: Int32(truncatingIfNeeded: record), operation: operation, keyPrefix: keyPrefix))
        precondition(cellCount == finished.count * columnCount, "a change has one cell per column")
        valuesOfFinished = values.count
    }

    /// Removes the cells and values that were written since the last finished change.
    public mutating func abandonRow() {
        cellCount = finished.count * columnCount
        values.truncate(to: valuesOfFinished)
    }

    /// Keeps the values written so far when a row is abandoned, because all changes use them.
    public mutating func keepValues() { valuesOfFinished = values.count }

    /// The partition must stop before this record; those that follow are not decoded.
    public mutating func stop(before record: Int, _ reason: StopReason) { stop = (record, reason) }

    /// Appends a record that could not be decoded.
    public mutating func append(_ fault: DecodeFault) { faults.append(fault) }
}
