// Owns the descriptor by which another thread ends a connection's wait.

internal import CPq
internal import Glibc

/// An eventfd that a waiting thread polls together with its socket. Once raised it stays raised.
///
/// Shutting the socket down from another thread is not safe: libpq may have closed it, and its descriptor may have been reused.
struct InterruptHandle: ~Copyable, Sendable {
    let descriptor: Int32

    init() throws(PostgresError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        if descriptor < 0 {
            throw PostgresError(
                .configuration, "eventfd failed: \(String(cString: strerror(errno))); raise the limit of open files")
        }
    }

    deinit { close(descriptor) }

    /// Ends the wait, now or when it begins. From any thread.
    func raise() {
        var one: UInt64 = 1
        // It fails only where the counter is at its maximum, so that it is raised already.
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }
}
