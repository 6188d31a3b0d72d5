// Waits for a socket with a deadline and an interrupt: the one place where a connection's thread blocks.

internal import Glibc
internal import Platform

/// How a wait ended.
enum SocketReadiness {
    /// `readable` includes errors and hang-ups: reading tells which.
    case ready(readable: Bool, writable: Bool)
    case deadlinePassed
    case interrupted
}

/// Blocks until `socket` is ready, `deadline` (monotonic nanoseconds) has passed or the interrupt is raised.
func waitForSocket(
    _ socket: Int32, read: Bool, write: Bool, interrupt: borrowing InterruptHandle, deadline: UInt64
) throws(PostgresError) -> SocketReadiness {
    var descriptors = (
        pollfd(fd: socket, events: Int16((read ? POLLIN : 0) | (write ? POLLOUT : 0)), revents: 0),
        pollfd(fd: interrupt.descriptor, events: Int16(POLLIN), revents: 0)
    )
    while true {
        let now = MonotonicClock.nanoseconds()
        if now >= deadline { return .deadlinePassed }
        // Rounded up, so that the last fraction of a millisecond is slept and not spun away.
        let timeout = Int32(clamping: (deadline - now + 999_999) / 1_000_000)
        let count = withUnsafeMutableBytes(of: &descriptors) {
            poll($0.assumingMemoryBound(to: pollfd.self).baseAddress, 2, timeout)
        }
        if count < 0 {
            if errno == EINTR { continue }
            throw PostgresError(.connection, "poll failed: \(String(cString: strerror(errno)))")
        }
        if descriptors.1.revents != 0 { return .interrupted }
        let events = Int32(descriptors.0.revents)
        if events == 0 { continue }
        return .ready(readable: events & ~POLLOUT != 0, writable: events & POLLOUT != 0)
    }
}
