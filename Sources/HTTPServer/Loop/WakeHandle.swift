// Owns the eventfd that other threads wake the loop with.

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
        // The only failure is a counter that is full, which means readable already.
        _ = eventfd_write(descriptor, 1)
    }

    /// Makes the descriptor unreadable until the next signal.
    func clear() {
        var count: eventfd_t = 0
        // The only failure is a counter at zero, which is what is wanted.
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
