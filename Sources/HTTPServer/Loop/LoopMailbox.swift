// Owns what the loop and other threads tell each other: responses, a changed configuration, the stop, and statistics.

internal import CMicrohttpd
internal import Glibc
internal import Synchronization

/// The loop's mailbox. It outlives the loop, because late responses are still posted to it.
final class LoopMailbox: Sendable {
    private struct Box {
        var answered: [HTTPExchange] = []
        /// Taken once.
        var update: HTTPServerConfiguration?
        var isStopAnnounced = false
        /// The deadline of a requested stop, in monotonic nanoseconds.
        var stopAt: UInt64?
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    let wake: WakeHandle
    let statistics = Mutex(HTTPServer.Statistics())
    private let box = Mutex(Box())

    init() throws(HTTPServerError) { wake = try WakeHandle() }

    /// An exchange whose connection is suspended has its response. Any thread.
    func postAnswered(_ exchange: HTTPExchange) {
        // Only the first one has to wake the loop.
        let isFirst = box.withLock { box in
            guard !box.isClosed else { return false }
            box.answered.append(exchange)
            return box.answered.count == 1
        }
        if isFirst { wake.signal() }
    }

    /// Takes what was posted.
    /// - Parameter answered: an empty list; swapped with the one of the mailbox, so that both keep their memory.
    func take(answered: inout [HTTPExchange]) -> (
        update: HTTPServerConfiguration?, isStopAnnounced: Bool, stopAt: UInt64?
    ) {
        box.withLock { box in
            swap(&box.answered, &answered)
            defer { box.update = nil }
            return (box.update, box.isStopAnnounced, box.stopAt)
        }
    }

    /// Responses end their connections from now on. Any thread.
    func announceStop() { box.withLock { $0.isStopAnnounced = true } }

    /// The last configuration counts. Any thread.
    func requestUpdate(to configuration: HTTPServerConfiguration) {
        box.withLock { $0.update = configuration }
        wake.signal()
    }

    /// The earliest deadline counts. Any thread.
    func requestStop(at deadline: UInt64) {
        box.withLock { $0.stopAt = min($0.stopAt ?? .max, deadline) }
        wake.signal()
    }

    /// Waits until the loop has ended.
    func closed() async {
        await withCheckedContinuation { continuation in
            let isClosed = box.withLock { box in
                if !box.isClosed { box.waiters.append(continuation) }
                return box.isClosed
            }
            if isClosed { continuation.resume() }
        }
    }

    /// The loop has ended.
    func close() {
        let (waiters, exchanges) = box.withLock { box in
            box.isClosed = true
            defer { (box.waiters, box.answered) = ([], []) }
            return (box.waiters, box.answered)
        }
        // Exchanges that were posted last are released here, outside the lock.
        withExtendedLifetime(exchanges) {}
        for waiter in waiters { waiter.resume() }
    }
}

/// The eventfd by which other threads wake the loop.
struct WakeHandle: ~Copyable, Sendable {
    let descriptor: Int32

    init() throws(HTTPServerError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw .system("cannot make an eventfd") }
    }

    deinit { close(descriptor) }

    /// Makes the descriptor readable. Any thread.
    func signal() {
        // It fails only when the counter is full, so the descriptor is readable already.
        _ = eventfd_write(descriptor, 1)
    }

    /// Makes the descriptor unreadable until the next signal.
    func clear() {
        var count: eventfd_t = 0
        // It fails only when the counter is zero, so the descriptor is not readable.
        _ = eventfd_read(descriptor, &count)
    }
}

extension HTTPServerError {
    /// A system call failed; `errno` says why.
    static func system(_ what: String) -> HTTPServerError {
        let reason = errno
        return HTTPServerError(.system, "HTTP server: \(what): \(String(cString: strerror(reason)))")
    }
}
