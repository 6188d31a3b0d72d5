// Keeps the memory of large fetch responses from staying with the process after they are freed.

internal import CKafka

/// A setting of the whole process, for a program that reads from Kafka within a memory bound.
public enum LargeBuffers {
    /// Buffers from this size on are mapped on their own and given back to the system when they are freed.
    private static let size: Int32 = 4 << 20

    /// Fixes the size from which glibc maps buffers on their own. Left alone it grows with every such buffer that is freed (mallopt(3),
    /// `M_MMAP_THRESHOLD`), until fetch responses of megabytes lie between librdkafka's small records and neither can be given back:
    /// measured, 20 MiB of a worker's peak. Fixed at 256 KiB, each fetch response is mapped and faulted in anew, which costs a
    /// twentieth of the worker's CPU and saves 6 MiB more; at 4 MiB what a record of megabytes leaves behind still goes. Call it before a
    /// consumer is started; calling it again is harmless.
    public static func giveBackWhenFreed() {
        // It fails only for sizes above HEAP_MAX_SIZE / 2 (32 MiB).
        let isTaken = sluice_map_from(size) == 1
        assert(isTaken, "mallopt refused \(size) bytes")
    }
}
