// Makes glibc return the memory of large fetch responses to the system.

internal import CKafka

/// A setting of the whole process, for programs that read from Kafka within a memory budget.
public enum LargeBuffers {
    /// Buffers of at least so many bytes are mapped individually and returned to the system when they are freed.
    private static let size: Int32 = 4 << 20

    /// Fixes the size from which glibc maps buffers individually. By default it grows with every such buffer that is freed
    /// (mallopt(3), `M_MMAP_THRESHOLD`), until large fetch responses are allocated between small records and neither can be
    /// returned: measured, 20 MiB of a worker's peak. At 256 KiB each fetch response is mapped anew, which costs a twentieth of
    /// the worker's CPU and saves 6 MiB more; at 4 MiB the memory of records of megabytes is still returned. Call it before a
    /// consumer is started; repeated calls are harmless.
    public static func returnToSystemWhenFreed() {
        // It fails only for sizes above HEAP_MAX_SIZE / 2 (32 MiB).
        let isTaken = sluice_map_from(size) == 1
        assert(isTaken, "mallopt refused \(size) bytes")
    }
}
