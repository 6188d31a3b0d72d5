// A small blocking HTTP client over a bare socket, so that tests decide every byte that is sent.

import Foundation
import Glibc

struct ClientError: Error, CustomStringConvertible {
    let description: String
}

/// A response.
struct Answer: Equatable {
    let status: Int
    /// Names in lower case.
    let headers: [String: String]
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }

    func json() throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] else {
            throw ClientError(description: "not a JSON object: \(text)")
        }
        return object
    }
}

/// One connection. Every read ends after a deadline, so that a test fails instead of hanging.
final class Client {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var isOpen = true

    /// - Parameter source: the client's own address.
    init(port: UInt16, host: String = "127.0.0.1", from source: String? = nil, timeout: Int = 10) throws {
        let family = host.contains(":") ? AF_INET6 : AF_INET
        descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let descriptor = descriptor
        if let source {
            var own = sockaddr_in()
            own.sin_family = sa_family_t(AF_INET)
            inet_pton(AF_INET, source, &own.sin_addr)
            _ = withUnsafeBytes(of: &own) { bytes in
                bind(descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
            }
        }
        var (four, six) = (sockaddr_in(), sockaddr_in6())
        four.sin_family = sa_family_t(AF_INET)
        (six.sin6_family, six.sin6_port, four.sin_port) = (sa_family_t(AF_INET6), port.bigEndian, port.bigEndian)
        inet_pton(AF_INET, host, &four.sin_addr)
        inet_pton(AF_INET6, host, &six.sin6_addr)
        func connect(_ bytes: UnsafeRawBufferPointer) -> Int32 {
            Glibc.connect(descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
        }
        let code = family == AF_INET ? withUnsafeBytes(of: &four, connect) : withUnsafeBytes(of: &six, connect)
        guard code == 0 else {
            close()
            throw ClientError(description: "cannot connect to port \(port): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close() }

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    /// Closes with a reset (RST) instead of an orderly end (FIN).
    func abort() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Sends as much as the server takes; a server that has closed its end is not an error.
    func send(_ bytes: [UInt8]) {
        var at = 0
        while at < bytes.count {
            let count = bytes[at...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            at += count
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func request(_ method: String, _ path: String, body: [UInt8] = [], headers: [String] = []) {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: test"] + headers
        if !body.isEmpty || method == "POST" { lines.append("Content-Length: \(body.count)") }
        send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
    }

    func ask(_ method: String, _ path: String, body: [UInt8] = [], headers: [String] = []) throws -> Answer {
        request(method, path, body: body, headers: headers)
        return try answer(toHead: method == "HEAD")
    }

    /// Reads one answer.
    func answer(toHead: Bool = false) throws -> Answer {
        while true {
            let head = try line(until: "\r\n\r\n")
            let lines = head.components(separatedBy: "\r\n")
            let parts = lines[0].split(separator: " ")
            guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
                throw ClientError(description: "no status line: \(lines[0])")
            }
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            }
            let length = toHead || status == 100 ? 0 : Int(headers["content-length"] ?? "0") ?? 0
            return Answer(status: status, headers: headers, body: try take(length))
        }
    }

    /// The server has closed the connection, without another byte.
    func isClosedByServer() throws -> Bool {
        guard received.isEmpty else { return false }
        return try !fill()
    }

    private func line(until mark: String) throws -> String {
        let mark = Array(mark.utf8)
        while true {
            if received.count >= mark.count {
                for start in 0...(received.count - mark.count) where received[start..<start + mark.count].elementsEqual(mark) {
                    let line = String(decoding: received[..<start], as: UTF8.self)
                    received.removeFirst(start + mark.count)
                    return line
                }
            }
            guard try fill() else { throw ClientError(description: "closed after \(received.count) bytes of an answer") }
        }
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while received.count < count {
            guard try fill() else { throw ClientError(description: "closed inside a body") }
        }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }

    /// - Returns: `false` at the end of the connection.
    private func fill() throws -> Bool {
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &piece, piece.count, 0)
        if count < 0, errno == EAGAIN { throw ClientError(description: "no answer in time") }
        guard count > 0 else { return false }
        received += piece[..<count]
        return true
    }
}

/// Runs blocking work on a thread of its own, so that the cooperative pool stays free.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result { try body() }) }.start()
    }
}
