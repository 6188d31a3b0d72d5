// Owns one growable buffer of raw memory: the bytes of a batch, or of a binary parameter that is reused.

/// A growable, reusable buffer of bytes with one owner.
///
/// At least ``padding`` bytes after the last one written are readable, because simdjson reads past the end of a document
/// (`SIMDJSON_PADDING`, 64 bytes). Their content is undefined.
public struct ByteBuffer: ~Copyable, @unchecked Sendable {
    // Licence for @unchecked: this non-copyable value is the only owner of the pointer, so only the value's holder can write to
    // it.

    /// Bytes that may be read after the last byte written.
    public static let padding = 64

    // The members that are used for every record are inlinable, because Decode calls them from another module.
    @usableFromInline var written = 0
    @usableFromInline var memory: UnsafeMutableRawPointer

    /// - Parameter capacity: bytes that fit without growing.
    public init(capacity: Int = 0) {
        self.capacity = Swift.max(capacity, 64)
        memory = .allocate(byteCount: self.capacity + Self.padding, alignment: 16)
    }

    /// Bytes written so far.
    @inlinable public var count: Int { written }
    /// Bytes that fit before the memory grows, without the padding.
    public private(set) var capacity: Int

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

    /// Reserves space for `additional` more bytes.
    @inlinable @inline(__always)
    public mutating func reserve(_ additional: Int) {
        if written + additional > capacity { grow(to: written + additional) }
    }

    @usableFromInline @inline(never)
    mutating func grow(to least: Int) {
        capacity = Swift.max(least, capacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity + Self.padding, alignment: 16)
        larger.copyMemory(from: memory, byteCount: written)
        memory.deallocate()
        memory = larger
    }

    /// Removes the content and keeps the memory.
    public mutating func removeAll() { written = 0 }

    /// Removes everything after the first `count` bytes.
    @inlinable
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= written, "truncate beyond the written bytes")
        written = count
    }

    /// Frees memory beyond `bytes`, so that one huge batch does not leave a huge buffer. Removes the content.
    public mutating func shrink(to bytes: Int) {
        written = 0
        guard capacity > bytes else { return }
        memory.deallocate()
        capacity = Swift.max(bytes, 64)
        memory = .allocate(byteCount: capacity + Self.padding, alignment: 16)
    }

    /// Appends a copy of `source`.
    @inlinable @inline(__always)
    public mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let start = source.baseAddress, source.count > 0 else { return }
        reserve(source.count)
        (memory + written).copyMemory(from: start, byteCount: source.count)
        written += source.count
    }

    /// Appends one byte.
    @inlinable @inline(__always)
    public mutating func append(byte: UInt8) {
        reserve(1)
        (memory + written).storeBytes(of: byte, as: UInt8.self)
        written += 1
    }

    /// Removes `count` bytes from `position` on; what follows them moves up.
    public mutating func remove(at position: Int, count: Int) {
        precondition(position >= 0 && count >= 0 && position + count <= written, "remove outside the written bytes")
        // The ranges may overlap.
        (memory + position).copyMemory(from: memory + position + count, byteCount: written - position - count)
        written -= count
    }

    /// Appends a copy of `source` and returns its position.
    @inlinable @inline(__always)
    public mutating func appendSlice(_ source: UnsafeRawBufferPointer) -> Slice {
        let start = written
        append(source)
        return Slice(start: start, length: source.count)
    }

    /// Appends an integer in network byte order, as in PostgreSQL's binary format.
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

/// The position of a value in its batch's buffer; null and absent are special lengths.
@frozen
public struct Slice: Sendable, Equatable, BitwiseCopyable {
    /// First byte, counted from the start of the buffer. Undefined where ``length`` is negative.
    public var start: UInt32
    /// Bytes; −1: the value is null; −2: the value is absent (an optional field that was not sent).
    public var length: Int32

    /// A slice of `length` bytes from `start` on. Both must fit 31 bits; batches are much smaller.
    @inlinable @inline(__always)
    public init(start: Int, length: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.length = Int32(truncatingIfNeeded: length)
    }

    /// The value is null.
    public static let null = Slice(start: 0, length: -1)
    /// The value is absent: an optional field that was not sent.
    public static let absent = Slice(start: 0, length: -2)

    /// The value is null.
    @inlinable public var isNull: Bool { length == -1 }
    /// The value is absent.
    @inlinable public var isAbsent: Bool { length == -2 }
}
