// Owns the rows of a change batch while they are filled.

/// What a ``ChangeBatch`` is made of, with one owner: a decoder fills it without the access checks that a class brings, and hands
/// it over in one move.
///
/// A change is written cell by cell, in column order, and finished by ``append(record:operation:keyPrefix:)``; what was written of
/// a change that turned out bad is taken back by ``abandonRow()``.
public struct ChangeRows: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: the cells' memory is owned by this non-copyable value alone.

    /// Cells a change has.
    public let columnCount: Int
    /// The finished changes, in log order.
    @inlinable public var changes: ContiguousArray<Change> { finished }
    /// The records that could not be decoded, in log order.
    public private(set) var faults: [DecodeFault] = []
    /// The values the cells point into.
    public var values: ByteBuffer
    @usableFromInline var finished: ContiguousArray<Change> = []
    @usableFromInline var valuesOfFinished = 0
    // The cells, row by row: memory of its own, because an array asks at every append whether it is shared.
    @usableFromInline var cells: UnsafeMutablePointer<Slice>
    @usableFromInline var cellCount = 0
    @usableFromInline var cellRoom: Int

    /// - Parameters:
    ///   - columnCount: cells a change has.
    ///   - changes: how many changes to make room for.
    ///   - bytes: how many bytes of values to make room for.
    public init(columnCount: Int, changes: Int = 0, bytes: Int = 0) {
        self.columnCount = columnCount
        values = ByteBuffer(capacity: bytes)
        finished.reserveCapacity(changes)
        cellRoom = max(changes * columnCount, 16)
        cells = .allocate(capacity: cellRoom)
    }

    deinit { cells.deallocate() }

    /// Appends an integer's binary form to the values.
    @inlinable @inline(__always)
    public mutating func appendValue<T: FixedWidthInteger>(bigEndian value: T) -> Slice {
        let start = values.count
        values.append(bigEndian: value)
        return Slice(start: start, length: MemoryLayout<T>.size)
    }

    /// Appends the next cell of the change that is being written.
    @inlinable @inline(__always)
    public mutating func append(cell: Slice) {
        if cellCount == cellRoom { growCells() }
        (cells + cellCount).initialize(to: cell)
        cellCount += 1
    }

    @usableFromInline @inline(never)
    mutating func growCells() {
        let larger = UnsafeMutablePointer<Slice>.allocate(capacity: cellRoom * 2)
        larger.moveInitialize(from: cells, count: cellCount)
        cells.deallocate()
        cells = larger
        cellRoom *= 2
    }

    /// The cell of a finished change in a column.
    @inlinable @inline(__always)
    public func cell(change: Int, column: Int) -> Slice {
        precondition(change >= 0 && change < finished.count && column >= 0 && column < columnCount, "no such cell")
        return cells[change * columnCount + column]
    }

    /// Finishes the change that is being written. It must have one cell per column.
    @inlinable @inline(__always)
    public mutating func append(record: Int, operation: Operation, keyPrefix: UInt64) {
        finished.append(Change(record: Int32(truncatingIfNeeded: record), operation: operation, keyPrefix: keyPrefix))
        precondition(cellCount == finished.count * columnCount, "a change has one cell per column")
        valuesOfFinished = values.count
    }

    /// Takes back what was written since the last finished change: its cells and its values.
    public mutating func abandonRow() {
        cellCount = finished.count * columnCount
        values.truncate(to: valuesOfFinished)
    }

    /// Declares that the values written so far serve all changes: they stay when a row is abandoned.
    public mutating func keepValues() { valuesOfFinished = values.count }

    /// Notes a record that could not be decoded.
    public mutating func append(_ fault: DecodeFault) { faults.append(fault) }
}
