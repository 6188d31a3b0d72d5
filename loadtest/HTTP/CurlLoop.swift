// Drives libcurl's transfers on the calling thread: its sockets in an epoll set, its timer as a deadline.

import CCurl
import Glibc
import Platform

/// The event loop under the HTTP load. Everything happens on the thread that calls ``wait(until:)``.
///
/// libcurl's own `curl_multi_perform` looks at every transfer each time; with sockets and a timer of our own an iteration costs what
/// happened in it, whatever the number of connections.
final class CurlLoop {
    private let multi: CurlMultiHandle
    private let epoll: Int32
    private var deadline: UInt64?
    private var events = [epoll_event](repeating: epoll_event(), count: 256)

    /// - Parameter connections: how many connections are kept open at most.
    init(connections: Int) throws(LoadError) {
        multi = try CurlMultiHandle()
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw LoadError(.http, "no epoll descriptor: \(String(cString: strerror(errno)))") }
        // Unretained: libcurl calls back only inside calls on `multi`, which this object makes and outlives.
        let owner = Unmanaged.passUnretained(self).toOpaque()
        _ = sluice_curl_multi_set_socket(multi.pointer, curlSocketChanged)
        _ = sluice_curl_multi_set_pointer(multi.pointer, CURLMOPT_SOCKETDATA, owner)
        _ = sluice_curl_multi_set_timer(multi.pointer, curlTimerChanged)
        _ = sluice_curl_multi_set_pointer(multi.pointer, CURLMOPT_TIMERDATA, owner)
        _ = sluice_curl_multi_set_long(multi.pointer, CURLMOPT_MAXCONNECTS, connections)
    }

    deinit { close(epoll) }

    /// Adds a transfer, which begins in the next ``wait(until:)``.
    func start(_ easy: borrowing CurlEasyHandle) throws(LoadError) {
        let code = curl_multi_add_handle(multi.pointer, easy.pointer)
        guard code == CURLM_OK else {
            throw LoadError(.http, "libcurl refused a transfer: \(String(cString: curl_multi_strerror(code)))")
        }
    }

    /// Removes a transfer, finished or not.
    func remove(_ easy: borrowing CurlEasyHandle) { curl_multi_remove_handle(multi.pointer, easy.pointer) }

    /// Waits for sockets, for libcurl's timer or until a time, and lets libcurl work. `nil`: without a time of the caller.
    func wait(until time: UInt64?) {
        let now = MonotonicClock.nanoseconds()
        let until = [time, deadline].compactMap(\.self).min() ?? now + 100_000_000
        let rest = until > now ? min(until - now, 100_000_000) : 0
        var running: Int32 = 0
        for index in 0..<waitForSockets(nanoseconds: rest) {
            let flags = events[index].events
            var action: Int32 = 0
            if flags & EPOLLIN.rawValue != 0 { action |= CURL_CSELECT_IN }
            if flags & EPOLLOUT.rawValue != 0 { action |= CURL_CSELECT_OUT }
            if flags & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { action |= CURL_CSELECT_ERR }
            curl_multi_socket_action(multi.pointer, events[index].data.fd, action, &running)
        }
        if let deadline, MonotonicClock.nanoseconds() >= deadline {
            self.deadline = nil
            curl_multi_socket_action(multi.pointer, CURL_SOCKET_BAD, 0, &running)
        }
    }

    /// The next finished transfer and its result. The caller removes it.
    func nextDone() -> (easy: UnsafeMutableRawPointer, code: CURLcode)? {
        var code = CURLE_OK
        guard let easy = sluice_curl_multi_next_done(multi.pointer, &code) else { return nil }
        return (easy, code)
    }

    /// The number of sockets with events. The milliseconds of `epoll_wait` are too coarse for the schedule; they are used only with
    /// kernels older than 5.11.
    private func waitForSockets(nanoseconds: UInt64) -> Int {
        var timeout = timespec(tv_sec: 0, tv_nsec: Int(nanoseconds))
        var count = epoll_pwait2(epoll, &events, Int32(events.count), &timeout, nil)
        if count < 0, errno == ENOSYS {
            count = epoll_wait(epoll, &events, Int32(events.count), Int32(nanoseconds / 1_000_000))
        }
        return max(0, Int(count))
    }

    /// libcurl wants other events of a socket, or none.
    fileprivate func socketChanged(_ socket: curl_socket_t, _ what: Int32) {
        if what == CURL_POLL_REMOVE {
            _ = epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nil)
            return
        }
        var event = epoll_event()
        if what & CURL_POLL_IN != 0 { event.events |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { event.events |= EPOLLOUT.rawValue }
        event.data.fd = socket
        // A request is one packet, so its socket is usually registered once, for the response.
        if epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0 { _ = epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event) }
    }

    /// libcurl wants to be called in so many milliseconds; −1: its timer is off.
    fileprivate func timerChanged(_ milliseconds: Int) {
        deadline = milliseconds < 0 ? nil : MonotonicClock.nanoseconds() + UInt64(milliseconds) * 1_000_000
    }
}

private func curlSocketChanged(
    _: UnsafeMutableRawPointer?, _ socket: curl_socket_t, _ what: Int32, _ owner: UnsafeMutableRawPointer?,
    _: UnsafeMutableRawPointer?
) -> Int32 {
    Unmanaged<CurlLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.socketChanged(socket, what) }
    return 0
}

private func curlTimerChanged(_: UnsafeMutableRawPointer?, _ milliseconds: Int, _ owner: UnsafeMutableRawPointer?) -> Int32 {
    Unmanaged<CurlLoop>.fromOpaque(owner!)._withUnsafeGuaranteedRef { $0.timerChanged(milliseconds) }
    return 0
}
