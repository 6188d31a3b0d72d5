// Owns one growable piece of raw memory: the bytes of a batch, or of a binary parameter that is built and reused.

/// A growable, reusable run of bytes with one owner.
///
/// Behind `count` there are always at least ``padding`` readable bytes, because simdjson reads past the end of a document
/// (`SIMDJSON_PADDING`, 64 bytes). The padding's content is undefined.
public struct ByteBuffer: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: the pointer is owned by this non-copyable value alone, so whoever holds the value is the only one
    // who can write to it.

    /// Bytes that may be read behind the last byte written.
    public static let padding = 64

    /// Bytes written so far.
    public private(set) var count = 0
    /// Bytes that fit before the memory grows; the padding comes on top.
    public private(set) var capacity: Int
    private var memory: UnsafeMutableRawPointer

    /// - Parameter capacity: bytes that fit without growing.
    public init(capacity: Int = 0) {
        self.capacity = Swift.max(capacity, 64)
        memory = .allocate(byteCount: self.capacity + Self.padding, alignment: 16)
    }

    deinit { memory.deallocate() }

    /// The first byte. Valid until the next call that may grow the buffer.
    @inlinable public var base: UnsafeRawPointer { UnsafeRawPointer(mutableBase) }

    @usableFromInline var mutableBase: UnsafeMutableRawPointer { memory }

    /// The written bytes. Valid until the next call that may grow the buffer.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count) }

    /// The bytes of one slice; `nil` where the slice is null or absent.
    public func bytes(of slice: Slice) -> UnsafeRawBufferPointer? {
        guard slice.length >= 0 else { return nil }
        return UnsafeRawBufferPointer(start: memory + Int(slice.start), count: Int(slice.length))
    }

    /// Makes room for `additional` more bytes.
    @inline(__always)
    public mutating func reserve(_ additional: Int) {
        if count + additional > capacity { grow(to: count + additional) }
    }

    @inline(never)
    private mutating func grow(to least: Int) {
        capacity = Swift.max(least, capacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity + Self.padding, alignment: 16)
        larger.copyMemory(from: memory, byteCount: count)
        memory.deallocate()
        memory = larger
    }

    /// Forgets the content and keeps the memory.
    public mutating func removeAll() { count = 0 }

    /// Gives memory beyond `bytes` back, so that one huge batch does not make a buffer huge for ever. The content is forgotten.
    public mutating func shrink(to bytes: Int) {
        count = 0
        guard capacity > bytes else { return }
        memory.deallocate()
        capacity = Swift.max(bytes, 64)
        memory = .allocate(byteCount: capacity + Self.padding, alignment: 16)
    }

    /// Appends a copy of `source`.
    @inline(__always)
    public mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let start = source.baseAddress, source.count > 0 else { return }
        reserve(source.count)
        (memory + count).copyMemory(from: start, byteCount: source.count)
        count += source.count
    }

    /// Appends a copy of `source` and answers where it lies.
    @inline(__always)
    public mutating func appendSlice(_ source: UnsafeRawBufferPointer) -> Slice {
        let start = count
        append(source)
        return Slice(start: start, length: source.count)
    }

    /// Appends an integer in network byte order, as PostgreSQL's binary format wants it.
    @inline(__always)
    public mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
        reserve(MemoryLayout<T>.size)
        (memory + count).storeBytes(of: value.bigEndian, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// Overwrites an integer written earlier with ``append(bigEndian:)``.
    public mutating func store<T: FixedWidthInteger>(bigEndian value: T, at position: Int) {
        precondition(position >= 0 && position + MemoryLayout<T>.size <= count, "store outside the written bytes")
        (memory + position).storeBytes(of: value.bigEndian, as: T.self)
    }

    /// Reads an integer in network byte order.
    public func load<T: FixedWidthInteger>(bigEndian type: T.Type, at position: Int) -> T {
        precondition(position >= 0 && position + MemoryLayout<T>.size <= count, "load outside the written bytes")
        return T(bigEndian: (memory + position).loadUnaligned(as: T.self))
    }
}

/// Where a value lies in its batch's buffer: a start and a length, with two lengths that are no lengths.
public struct Slice: Sendable, Equatable {
    /// First byte, counted from the start of the buffer. Undefined where ``length`` is negative.
    public var start: UInt32
    /// Bytes; −1: the value is null; −2: there is no value (an optional field that was not sent).
    public var length: Int32

    /// A slice of `length` bytes from `start` on. Both must fit 31 bits: batches are bounded far below that.
    @inline(__always)
    public init(start: Int, length: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.length = Int32(truncatingIfNeeded: length)
    }

    /// The value is null.
    public static let null = Slice(start: 0, length: -1)
    /// There is no value: an optional field that was not sent.
    public static let absent = Slice(start: 0, length: -2)

    /// The value is null.
    public var isNull: Bool { length == -1 }
    /// There is no value.
    public var isAbsent: Bool { length == -2 }
}
