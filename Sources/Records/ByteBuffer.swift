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

    // The members that every record passes through are inlinable: decoding calls them across the module's edge.
    @usableFromInline var written = 0
    @usableFromInline var room: Int
    @usableFromInline var memory: UnsafeMutableRawPointer

    /// - Parameter capacity: bytes that fit without growing.
    public init(capacity: Int = 0) {
        room = Swift.max(capacity, 64)
        memory = .allocate(byteCount: room + Self.padding, alignment: 16)
    }

    /// Bytes written so far.
    @inlinable public var count: Int { written }
    /// Bytes that fit before the memory grows; the padding comes on top.
    @inlinable public var capacity: Int { room }

    deinit { memory.deallocate() }

    /// The first byte. Valid until the next call that may grow the buffer.
    @inlinable public var base: UnsafeRawPointer { UnsafeRawPointer(memory) }

    /// The written bytes. Valid until the next call that may grow the buffer.
    @inlinable public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: written) }

    /// The bytes of one slice; `nil` where the slice is null or absent.
    @inlinable
    public func bytes(of slice: Slice) -> UnsafeRawBufferPointer? {
        guard slice.length >= 0 else { return nil }
        return UnsafeRawBufferPointer(start: memory + Int(slice.start), count: Int(slice.length))
    }

    /// Makes room for `additional` more bytes.
    @inlinable @inline(__always)
    public mutating func reserve(_ additional: Int) {
        if written + additional > room { grow(to: written + additional) }
    }

    @usableFromInline @inline(never)
    mutating func grow(to least: Int) {
        room = Swift.max(least, room * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: room + Self.padding, alignment: 16)
        larger.copyMemory(from: memory, byteCount: written)
        memory.deallocate()
        memory = larger
    }

    /// Forgets the content and keeps the memory.
    public mutating func removeAll() { written = 0 }

    /// Forgets everything behind the first `count` bytes.
    @inlinable
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= written, "truncate behind the written bytes")
        written = count
    }

    /// Gives memory beyond `bytes` back, so that one huge batch does not make a buffer huge for ever. The content is forgotten.
    public mutating func shrink(to bytes: Int) {
        written = 0
        guard room > bytes else { return }
        memory.deallocate()
        room = Swift.max(bytes, 64)
        memory = .allocate(byteCount: room + Self.padding, alignment: 16)
    }

    /// Appends a copy of `source`.
    @inlinable @inline(__always)
    public mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let start = source.baseAddress, source.count > 0 else { return }
        reserve(source.count)
        (memory + written).copyMemory(from: start, byteCount: source.count)
        written += source.count
    }

    /// Appends a copy of `source` and answers where it lies.
    @inlinable @inline(__always)
    public mutating func appendSlice(_ source: UnsafeRawBufferPointer) -> Slice {
        let start = written
        append(source)
        return Slice(start: start, length: source.count)
    }

    /// Appends an integer in network byte order, as PostgreSQL's binary format wants it.
    @inlinable @inline(__always)
    public mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
        reserve(MemoryLayout<T>.size)
        (memory + written).storeBytes(of: value.bigEndian, as: T.self)
        written += MemoryLayout<T>.size
    }

    /// Overwrites an integer written earlier with ``append(bigEndian:)``.
    public mutating func store<T: FixedWidthInteger>(bigEndian value: T, at position: Int) {
        precondition(position >= 0 && position + MemoryLayout<T>.size <= written, "store outside the written bytes")
        (memory + position).storeBytes(of: value.bigEndian, as: T.self)
    }

    /// Reads an integer in network byte order.
    @inlinable
    public func load<T: FixedWidthInteger>(bigEndian type: T.Type, at position: Int) -> T {
        precondition(position >= 0 && position + MemoryLayout<T>.size <= written, "load outside the written bytes")
        return T(bigEndian: (memory + position).loadUnaligned(as: T.self))
    }
}

/// Where a value lies in its batch's buffer: a start and a length, with two lengths that are no lengths.
@frozen
public struct Slice: Sendable, Equatable, BitwiseCopyable {
    /// First byte, counted from the start of the buffer. Undefined where ``length`` is negative.
    public var start: UInt32
    /// Bytes; −1: the value is null; −2: there is no value (an optional field that was not sent).
    public var length: Int32

    /// A slice of `length` bytes from `start` on. Both must fit 31 bits: batches are bounded far below that.
    @inlinable @inline(__always)
    public init(start: Int, length: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.length = Int32(truncatingIfNeeded: length)
    }

    /// The value is null.
    public static let null = Slice(start: 0, length: -1)
    /// There is no value: an optional field that was not sent.
    public static let absent = Slice(start: 0, length: -2)

    /// The value is null.
    @inlinable public var isNull: Bool { length == -1 }
    /// There is no value.
    @inlinable public var isAbsent: Bool { length == -2 }
}
