// Waits for a socket with a deadline and an interrupt: the one place where a connection's thread blocks.

internal import Glibc

/// Nanoseconds of `CLOCK_MONOTONIC`, and deadlines on it.
enum Monotonic {
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// The moment `duration` from now.
    static func deadline(after duration: Duration) -> Int64 {
        let (sum, overflow) = now().addingReportingOverflow(duration.nanoseconds)
        return overflow ? .max : sum
    }
}

extension Duration {
    /// The duration in nanoseconds, at most 2^63 - 1 (292 years).
    var nanoseconds: Int64 {
        let (seconds, fraction) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product + fraction / 1_000_000_000
    }

    /// The duration in whole milliseconds, rounded up.
    var milliseconds: Int64 { (nanoseconds / 1_000_000) + (nanoseconds % 1_000_000 > 0 ? 1 : 0) }
}

/// How a wait ended.
enum SocketReadiness {
    /// `readable` includes errors and hang-ups: reading tells which.
    case ready(readable: Bool, writable: Bool)
    case deadlinePassed
    case interrupted
}

/// Blocks until `socket` is ready, `deadline` (nanoseconds of ``Monotonic``) has passed or the interrupt is raised.
func waitForSocket(
    _ socket: Int32, read: Bool, write: Bool, interrupt: borrowing InterruptHandle, deadline: Int64
) throws(PostgresError) -> SocketReadiness {
    var descriptors = (
        pollfd(fd: socket, events: Int16((read ? POLLIN : 0) | (write ? POLLOUT : 0)), revents: 0),
        pollfd(fd: interrupt.descriptor, events: Int16(POLLIN), revents: 0)
    )
    while true {
        let left = deadline - Monotonic.now()
        if left <= 0 { return .deadlinePassed }
        // Rounded up, so that the last fraction of a millisecond is slept and not spun away.
        let timeout = Int32(clamping: (left + 999_999) / 1_000_000)
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
