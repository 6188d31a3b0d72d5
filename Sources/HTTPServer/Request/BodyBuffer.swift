// Owns the memory request bodies are collected in, and the loop's stock of it.

/// A growable piece of memory for one body, with 64 readable bytes behind the content. Confined to the loop's thread.
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

    func append(_ source: UnsafeRawPointer, count added: Int) {
        reserve(count + added)
        (memory + count).copyMemory(from: source, byteCount: added)
        count += added
    }

    func reserve(_ bytes: Int) {
        guard bytes > capacity else { return }
        capacity = max(bytes, capacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity + Self.padding, alignment: 16)
        larger.copyMemory(from: memory, byteCount: count)
        memory.deallocate()
        memory = larger
    }
}

/// Buffers that are not in use. A body holds one from its first piece to the handler's return, so a few serve many connections.
struct BodyBuffers: ~Copyable {
    private static let kept = 64
    private static let keptBytes = 64 << 10
    private static let firstBytes = 4 << 10

    private var free: [BodyBuffer] = []

    /// - Parameter expecting: bytes the client announced. Believed up to 64 KiB: announcing costs a client nothing.
    mutating func take(expecting: Int) -> BodyBuffer {
        let bytes = min(expecting, Self.keptBytes)
        guard let buffer = free.popLast() else { return BodyBuffer(capacity: max(bytes, Self.firstBytes)) }
        buffer.reserve(bytes)
        return buffer
    }

    mutating func giveBack(_ buffer: BodyBuffer) {
        guard free.count < Self.kept, buffer.capacity <= Self.keptBytes else { return }
        buffer.removeAll()
        free.append(buffer)
    }
}
