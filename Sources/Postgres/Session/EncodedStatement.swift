// Owns statements with large array parameters, and the memory of those arrays: filled, sent, emptied and filled again.

internal import Synchronization

/// One column's array at a fixed address.
public final class ParameterArray: @unchecked Sendable {
    // Licence for @unchecked: taken out of the pool by one task, filled by it, read by one `perform` that the task waits for, and put
    // back after that; the pool's lock hands it from one task to the next.

    let element: UInt32
    let array: UnsafeMutablePointer<BinaryArray>
    /// Memory that it holds.
    var bytes: Int { array.pointee.capacity }

    init(element: UInt32) {
        self.element = element
        array = .allocate(capacity: 1)
        array.initialize(to: BinaryArray(element: element))
    }

    deinit {
        array.deinitialize(count: 1)
        array.deallocate()
    }
}

/// Arrays that are not in use, within one bound for all of them.
public final class ArrayPool: Sendable {
    private struct Free {
        /// By element type, in ascending order of their memory.
        var arrays: [UInt32: [ParameterArray]] = [:]
        var bytes = 0
    }

    private let free = Mutex(Free())
    private let keptBytes: Int

    /// An empty pool.
    /// - Parameter keptBytes: memory that the arrays in the pool keep together.
    public init(keptBytes: Int) { self.keptBytes = keptBytes }

    /// Bytes that the arrays in the pool hold.
    var bytes: Int { free.withLock { $0.bytes } }

    /// The largest array of a type, so that the one that is grown for a large statement is used for the next.
    func take(element: UInt32) -> ParameterArray {
        let known = free.withLock { free in
            let array = free.arrays[element]?.popLast()
            free.bytes -= array?.bytes ?? 0
            return array
        }
        return known ?? ParameterArray(element: element)
    }

    /// Puts arrays back. Statements that refer to them must not be sent any more. Beyond the bound the largest go: a transaction of
    /// unusual size leaves nothing behind.
    public func give(_ arrays: [ParameterArray]) {
        for array in arrays { array.array.pointee.removeAll() }
        free.withLock { free in
            for array in arrays {
                free.arrays[array.element, default: []].insert(inOrder: array)
                free.bytes += array.bytes
            }
            while free.bytes > keptBytes {
                let largest = free.arrays.values.compactMap(\.last).max { $0.bytes < $1.bytes }
                guard let largest else { return }
                free.arrays[largest.element]?.removeLast()
                free.bytes -= largest.bytes
            }
        }
    }
}

extension [ParameterArray] {
    /// Inserts an array behind those that hold no more memory.
    fileprivate mutating func insert(inOrder array: ParameterArray) {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].bytes > array.bytes { high = middle } else { low = middle + 1 }
        }
        insert(array, at: low)
    }
}

/// A statement with its parameters, ready to be sent.
public struct EncodedStatement: Sendable {
    /// Where the answer says how many rows were written.
    public enum RowCount: Sendable, Equatable {
        /// Nowhere: it writes no row of a mapping's table.
        case none
        /// In the command tag.
        case tag
        /// In the last row: the sum of these int8 columns.
        case lastRow([Int])
    }

    let sql: String
    /// `nil`: sent as text and planned anew each time.
    let prepared: PreparedStatement?
    let parameters: Parameters
    /// The statement is not prepared.
    public var isPlannedEachTime: Bool { prepared == nil }
    /// The memory of the parameters, to be given back to the pool.
    public let arrays: [ParameterArray]
    let rowCount: RowCount

    /// Adds the statement to a pipeline.
    public func queue(_ pipeline: inout Pipeline) throws {
        if let prepared { try pipeline.execute(prepared, parameters) } else { try pipeline.execute(sql, parameters) }
    }

    /// The rows that the statement wrote, by its answer.
    public func rows(_ result: PostgresResult) throws -> Int {
        switch rowCount {
        case .none: 0
        case .tag: result.affectedRows
        case .lastRow(let columns): try columns.reduce(0) { $0 + Int(try result.int64(result.rowCount - 1, $1)) }
        }
    }
}

/// Fills the parameters of one statement, in order.
public struct ParameterWriter {
    private let pool: ArrayPool
    private let parameters = Parameters()
    private var arrays: [ParameterArray] = []

    /// No parameters yet.
    public init(_ pool: ArrayPool) { self.pool = pool }

    /// Appends an array of an element type (`pg_type.oid`).
    public mutating func array(_ element: UInt32, _ fill: (inout BinaryArray) -> Void) {
        let array = pool.take(element: element)
        fill(&array.array.pointee)
        parameters.append(array: &array.array.pointee, type: TypeOID.array(of: element))
        arrays.append(array)
    }

    /// Appends several arrays that are filled at the same time.
    public mutating func arrays(
        _ elements: [UInt32], _ fill: (UnsafeBufferPointer<UnsafeMutablePointer<BinaryArray>>) -> Void
    ) {
        let taken = elements.map { pool.take(element: $0) }
        taken.map(\.array).withUnsafeBufferPointer(fill)
        for array in taken { parameters.append(array: &array.array.pointee, type: TypeOID.array(of: array.element)) }
        arrays += taken
    }

    /// Appends an array of texts.
    public mutating func texts(_ values: [String]) {
        array(TypeOID.text) { array in for value in values { array.append(value) } }
    }

    /// Appends an int4.
    public mutating func int4(_ value: Int32) { parameters.append(int4: value) }

    /// Appends an int8.
    public mutating func int8(_ value: Int64) { parameters.append(int8: value) }

    /// Appends a bool.
    public mutating func bool(_ value: Bool) { parameters.append(bool: value) }

    /// Appends a text.
    public mutating func text(_ value: String) { parameters.append(text: value) }

    /// The statement with the parameters so far.
    public func finish(_ statement: PreparedStatement, rowCount: EncodedStatement.RowCount = .tag) -> EncodedStatement {
        EncodedStatement(
            sql: statement.sql, prepared: statement, parameters: parameters, arrays: arrays, rowCount: rowCount)
    }

    /// The statement with the parameters so far, to be planned anew each time.
    public func finish(planned sql: String, rowCount: EncodedStatement.RowCount = .tag) -> EncodedStatement {
        EncodedStatement(sql: sql, prepared: nil, parameters: parameters, arrays: arrays, rowCount: rowCount)
    }
}
