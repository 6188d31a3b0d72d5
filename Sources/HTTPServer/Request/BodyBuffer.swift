// Owns the memory request bodies are collected in, and the loop's stock of it.

/// A growable piece of memory for one body, with 64 readable bytes behind the content. Confined to the loop's thread. ``BodyBuffers`` lets it
/// grow.
final class BodyBuffer {
    static let padding = 64

    private(set) var count = 0
    private(set) var capacity: Int
    private var memory: UnsafeMutableRawPointer

    init(capacity: Int) {
        self.capacity = capacity
        memory = .allocate(byteCount: capacity + Self.padding, alignment: 16)
    }

    deinit { memory.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count) }

    func removeAll() { count = 0 }

    /// There must be room.
    func append(_ source: UnsafeRawPointer, count added: Int) {
        precondition(count + added <= capacity, "a body grows by BodyBuffers.grow")
        (memory + count).copyMemory(from: source, byteCount: added)
        count += added
    }

    fileprivate func grow(to bytes: Int) {
        capacity = bytes
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity + Self.padding, alignment: 16)
        larger.copyMemory(from: memory, byteCount: count)
        memory.deallocate()
        memory = larger
    }
}

/// The memory of all bodies that are being collected. A body holds a buffer from its first piece to the handler's return, so a few serve
/// many connections; and many that are never finished find an end of it, whatever each of them may have.
struct BodyBuffers: ~Copyable {
    private static let kept = 64
    private static let keptBytes = 64 << 10
    /// What each body has for nothing: small ones pass whatever large ones hold.
    static let firstBytes = 4 << 10

    private var free: [BodyBuffer] = []
    private let limit: Int
    /// Bytes beyond the first of the buffers that are in use.
    private(set) var held = 0

    /// - Parameter limit: bytes all bodies may hold beyond their first 4 KiB.
    init(limit: Int) { self.limit = limit }

    /// - Parameter expecting: bytes the client announced. Believed up to 64 KiB: announcing costs a client nothing.
    mutating func take(expecting: Int) -> BodyBuffer {
        let buffer = free.popLast() ?? BodyBuffer(capacity: Self.firstBytes)
        held += buffer.capacity - Self.firstBytes
        _ = grow(buffer, to: min(expecting, Self.keptBytes))
        return buffer
    }

    /// Makes room for so many bytes in all.
    /// - Returns: whether there is so much memory.
    mutating func grow(_ buffer: BodyBuffer, to bytes: Int) -> Bool {
        guard bytes > buffer.capacity else { return true }
        for capacity in [max(bytes, buffer.capacity * 2), bytes] where held + capacity - buffer.capacity <= limit {
            held += capacity - buffer.capacity
            buffer.grow(to: capacity)
            return true
        }
        return false
    }

    mutating func giveBack(_ buffer: BodyBuffer) {
        held -= buffer.capacity - Self.firstBytes
        guard free.count < Self.kept, buffer.capacity <= Self.keptBytes else { return }
        buffer.removeAll()
        free.append(buffer)
    }
}
