// Owns the memory in which request bodies are collected, with its limit.

/// Growable memory for one body, with 64 readable bytes after the content. Confined to the loop's thread; grown by ``BodyBuffers``.
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

    /// The bytes must fit the capacity.
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

/// The memory of all bodies that are being collected. A body holds a buffer from its first piece until the handler returns, so a few
/// buffers serve many connections. The limit is one for all bodies: many unfinished ones cannot exceed it.
struct BodyBuffers: ~Copyable {
    /// Unused buffers that are kept.
    private static let kept = 64
    /// Larger buffers are not kept.
    private static let keptBytes = 64 << 10
    /// Bytes of each body that do not count: small bodies pass when large ones have used up the limit.
    static let firstBytes = 4 << 10

    private var free: [BodyBuffer] = []
    private let limit: Int
    /// Bytes of the buffers in use, beyond ``firstBytes`` of each.
    private(set) var held = 0

    /// - Parameter limit: for ``held``, in bytes.
    init(limit: Int) { self.limit = limit }

    /// - Parameter expecting: the Content-Length. At most 64 KiB are allocated for it, because a client may send any number.
    mutating func take(expecting: Int) -> BodyBuffer {
        let buffer = free.popLast() ?? BodyBuffer(capacity: Self.firstBytes)
        held += buffer.capacity - Self.firstBytes
        _ = grow(buffer, to: min(expecting, Self.keptBytes))
        return buffer
    }

    /// Grows a buffer to a capacity of at least `bytes`.
    /// - Returns: whether the limit allows it.
    mutating func grow(_ buffer: BodyBuffer, to bytes: Int) -> Bool {
        guard bytes > buffer.capacity else { return true }
        for capacity in [max(bytes, buffer.capacity * 2), bytes] where held + capacity - buffer.capacity <= limit {
            held += capacity - buffer.capacity
            buffer.grow(to: capacity)
            return true
        }
        return false
    }

    /// Counts memory that a body takes elsewhere, until it is released.
    /// - Returns: whether the limit allows it.
    mutating func reserve(_ bytes: Int) -> Bool {
        guard held + bytes <= limit else { return false }
        held += bytes
        return true
    }

    mutating func release(_ bytes: Int) { held -= bytes }

    mutating func giveBack(_ buffer: BodyBuffer) {
        held -= buffer.capacity - Self.firstBytes
        guard free.count < Self.kept, buffer.capacity <= Self.keptBytes else { return }
        buffer.removeAll()
        free.append(buffer)
    }
}
