// Owns the memory of parameters: arrays that are filled, sent, emptied and filled again.

import Postgres
import Records
import Synchronization

/// One column's array at a fixed address.
final class ParameterArray: @unchecked Sendable {
    // Licence for @unchecked: taken out of the pool by one `prepare`, filled by it, read by one `perform` that the preparer waits for,
    // and put back after; the pool's lock hands it from one to the next.

    let element: UInt32
    let array: UnsafeMutablePointer<BinaryArray>

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

/// Arrays not in use, by element type.
final class ArrayPool: Sendable {
    private let free = Mutex<[UInt32: [ParameterArray]]>([:])
    private let keptBytes: Int

    init(keptBytes: Int) { self.keptBytes = keptBytes }

    func take(element: UInt32) -> ParameterArray {
        free.withLock { $0[element]?.popLast() } ?? ParameterArray(element: element)
    }

    func give(_ arrays: [ParameterArray]) {
        for array in arrays {
            array.array.pointee.shrink(to: keptBytes)
        }
        free.withLock { free in
            for array in arrays where free[array.element, default: []].count < 64 {
                free[array.element, default: []].append(array)
            }
        }
    }
}

/// A statement with its parameters, ready to be sent.
struct EncodedStatement {
    let sql: String
    /// `nil`: planned anew each time.
    let prepared: PreparedStatement?
    let parameters: Parameters
    let arrays: [ParameterArray]

    func queue(_ pipeline: inout Pipeline) throws {
        if let prepared { try pipeline.execute(prepared, parameters) } else { try pipeline.execute(sql, parameters) }
    }
}

/// Fills the parameters of one statement, in order.
struct ParameterWriter {
    private let pool: ArrayPool
    private let parameters = Parameters()
    private var arrays: [ParameterArray] = []

    init(_ pool: ArrayPool) { self.pool = pool }

    mutating func array(_ element: UInt32, _ fill: (inout BinaryArray) -> Void) {
        let array = pool.take(element: element)
        fill(&array.array.pointee)
        parameters.append(array: &array.array.pointee, type: TypeOID.array(of: element))
        arrays.append(array)
    }

    /// Several arrays, which `fill` fills side by side.
    mutating func arrays(_ elements: [UInt32], _ fill: ([UnsafeMutablePointer<BinaryArray>]) -> Void) {
        let taken = elements.map { pool.take(element: $0) }
        fill(taken.map(\.array))
        for array in taken {
            parameters.append(array: &array.array.pointee, type: TypeOID.array(of: array.element))
        }
        arrays += taken
    }

    mutating func texts(_ values: [String]) {
        array(TypeOID.text) { array in for value in values { array.append(value) } }
    }

    mutating func bool(_ value: Bool) { parameters.append(bool: value) }

    mutating func text(_ value: String) { parameters.append(text: value) }

    func finish(_ sql: String, prepared: PreparedStatement?) -> EncodedStatement {
        EncodedStatement(sql: sql, prepared: prepared, parameters: parameters, arrays: arrays)
    }
}
