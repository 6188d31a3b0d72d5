// Writes PostgreSQL's binary one-dimensional arrays: the parameters of a batch's statements.

public import Records

/// Builds a one-dimensional array in PostgreSQL's binary format (`array_recv` in src/backend/utils/adt/arrayfuncs.c): dimensions,
/// a has-nulls flag, the element type, length and lower bound of the dimension, then each element's length and bytes.
/// The memory is kept from one batch to the next.
public struct BinaryArray: ~Copyable, Sendable {
    // Inlinable, because encoding calls it for every value across the module boundary.
    @usableFromInline var buffer = ByteBuffer(capacity: 1024)
    @usableFromInline var elements: Int32 = 0
    @usableFromInline var hasNulls = false
    private let element: UInt32

    /// - Parameter element: the element type's object identifier.
    public init(element: UInt32) {
        self.element = element
        removeAll()
    }

    /// Number of elements.
    public var count: Int { Int(elements) }

    /// Starts an empty array in the same memory.
    public mutating func removeAll() {
        buffer.removeAll()
        elements = 0
        hasNulls = false
        buffer.append(bigEndian: Int32(1))
        buffer.append(bigEndian: Int32(0))
        buffer.append(bigEndian: element)
        buffer.append(bigEndian: Int32(0))
        buffer.append(bigEndian: Int32(1))
    }

    /// Bytes of memory it holds.
    var capacity: Int { buffer.capacity }

    /// Appends one element in its binary form; `nil` is NULL.
    @inlinable @inline(__always)
    public mutating func append(_ value: UnsafeRawBufferPointer?) {
        elements += 1
        guard let value else {
            hasNulls = true
            buffer.append(bigEndian: Int32(-1))
            return
        }
        buffer.append(bigEndian: Int32(truncatingIfNeeded: value.count))
        buffer.append(value)
    }

    /// Appends an integer element.
    @inlinable @inline(__always)
    public mutating func append<T: FixedWidthInteger>(_ value: T) {
        elements += 1
        buffer.append(bigEndian: Int32(MemoryLayout<T>.size))
        buffer.append(bigEndian: value)
    }

    /// Appends a string element.
    public mutating func append(_ value: String) {
        var value = value
        value.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Calls `body` with the finished array. The bytes are valid during the call.
    public mutating func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        buffer.store(bigEndian: Int32(hasNulls ? 1 : 0), at: 4)
        buffer.store(bigEndian: elements, at: 12)
        return try body(buffer.bytes)
    }
}
