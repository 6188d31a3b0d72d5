// Owns the descriptor by which another thread ends a connection's wait.

internal import CPq
internal import Glibc

/// An eventfd that a waiting thread watches beside its socket. Once raised it stays raised.
///
/// Preferred to shutting the socket down from outside: libpq may close the socket by itself, and its number may belong to something
/// else by then.
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
        // The only failure is a counter already at its end, which means raised.
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }
}
