// A plain HTTP client: one request, one connection, one answer.

import Dispatch
import Foundation
import Glibc
import TestSupport

/// What a worker or an ingress answered.
struct HTTPAnswer: Sendable {
    let status: Int
    /// By name, in lower case.
    let headers: [String: String]
    let body: String

    /// Sends a request to a port of this machine and waits for the whole answer.
    /// - Parameter token: a bearer token.
    static func to(
        _ method: String, _ path: String, at port: UInt16, body: String? = nil, token: String? = nil
    ) async throws -> HTTPAnswer {
        var request = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        if let token { request += "Authorization: Bearer \(token)\r\n" }
        if let body { request += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        let text = request + "\r\n" + (body ?? "")
        return try await withCheckedThrowingContinuation { continuation in
            // Blocks, and so not on the threads that tasks share.
            DispatchQueue.global().async {
                continuation.resume(with: Result { try parse(try exchange(text, port), of: "\(method) \(path)") })
            }
        }
    }

    private static func exchange(_ request: String, _ port: UInt16) throws -> [UInt8] {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Trouble("no socket: errno \(errno)") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else { throw Trouble("port \(port) cannot be reached: errno \(errno)") }
        // Requests of tests fit into a socket's buffer.
        guard send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count else {
            throw Trouble("port \(port) does not take the request: errno \(errno)")
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 { return answer }
            guard count > 0 else { throw Trouble("port \(port) does not answer: errno \(errno)") }
            answer += buffer[..<count]
        }
    }

    private static func parse(_ bytes: [UInt8], of request: String) throws -> HTTPAnswer {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { throw Trouble("\(request): no answer but \(bytes.count) bytes") }
        let lines = text[..<end.lowerBound].split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw Trouble("\(request): no status in \(lines.first ?? "")")
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = parts[1].drop { $0 == " " }.description }
        }
        return HTTPAnswer(status: status, headers: headers, body: String(text[end.upperBound...]))
    }
}
