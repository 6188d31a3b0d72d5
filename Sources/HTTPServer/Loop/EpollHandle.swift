// Owns the loop's epoll descriptor and its clock.

internal import CMicrohttpd
internal import Glibc

/// One epoll instance that watches a few descriptors for input.
struct EpollHandle: ~Copyable {
    private let descriptor: Int32

    init() throws(HTTPServerError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw .system("cannot make an epoll descriptor") }
    }

    deinit { close(descriptor) }

    func add(_ watched: Int32) throws(HTTPServerError) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.fd = watched
        guard epoll_ctl(descriptor, EPOLL_CTL_ADD, watched, &event) == 0 else { throw .system("cannot watch a descriptor") }
    }

    /// Waits for input on any watched descriptor, at most `milliseconds`.
    /// - Returns: whether `wanted` has input.
    func wait(milliseconds: Int32, for wanted: Int32) -> Bool {
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 2) { events in
            let count = epoll_wait(descriptor, events.baseAddress, 2, milliseconds)
            guard count > 0 else { return false }
            return events[..<Int(count)].contains { $0.data.fd == wanted }
        }
    }
}
