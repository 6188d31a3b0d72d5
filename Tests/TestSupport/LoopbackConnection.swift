// One connection to a port of this machine over which a test sends a request piece by piece.

internal import Foundation
internal import Glibc

/// A blocking HTTP/1.1 client for one thread at a time. Every wait ends after `timeout`.
public final class LoopbackConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []

    /// Connects.
    public init(port: UInt16, timeout: Int = 30) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let descriptor = descriptor
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else { throw LoopbackHTTP.Failure(description: "port \(port) cannot be reached: errno \(errno)") }
    }

    deinit { close(descriptor) }

    /// Ends the connection with a reset.
    public func abort() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Sends everything.
    public func send(_ bytes: some Sequence<UInt8>) throws {
        let bytes = Array(bytes)
        var at = 0
        while at < bytes.count {
            let count = bytes[at...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw LoopbackHTTP.Failure(description: "the server takes no more: errno \(errno)") }
            at += count
        }
    }

    /// Sends everything.
    public func send(_ text: String) throws { try send(text.utf8) }

    /// Sends one chunk of a chunked body; an empty one ends it.
    public func sendChunk(_ bytes: some Collection<UInt8>) throws {
        try send(Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + [13, 10])
    }

    /// Reads one answer with a Content-Length.
    public func answer() throws -> LoopbackHTTP.Answer {
        let mark = Array("\r\n\r\n".utf8)
        var end = 0
        while true {
            if let found = received.firstRange(of: mark) {
                end = found.upperBound
                break
            }
            try fill()
        }
        let head = LoopbackHTTP.Answer(head: received[..<(end - 4)], body: [])
        let length = head.status == 100 ? 0 : Int(head.headers["content-length"] ?? "") ?? 0
        while received.count < end + length { try fill() }
        defer { received.removeFirst(end + length) }
        return LoopbackHTTP.Answer(head: received[..<(end - 4)], body: Array(received[end..<end + length]))
    }

    private func fill() throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else {
            throw LoopbackHTTP.Failure(description: count == 0 ? "closed inside an answer" : "no answer: errno \(errno)")
        }
        received += buffer[..<count]
    }

    /// Runs blocking work on a thread that may block.
    public static func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            Thread { continuation.resume(with: Result { try body() }) }.start()
        }
    }
}
