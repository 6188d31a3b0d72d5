// Owns the eventfd by which other threads wake the loop.

internal import CMicrohttpd
internal import Glibc

/// One eventfd.
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
