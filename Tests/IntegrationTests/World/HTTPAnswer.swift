// A minimal HTTP client: one request per connection.

import Foundation
import TestSupport

/// A response of a worker or an ingress.
struct HTTPAnswer: Sendable {
    let status: Int
    /// By name, in lower case.
    let headers: [String: String]
    let body: String

    /// Sends a request to a port of this machine and waits for the whole response.
    /// - Parameter token: a bearer token.
    static func to(
        _ method: String, _ path: String, at port: UInt16, body: String? = nil, token: String? = nil
    ) async throws -> HTTPAnswer {
        var request = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        if let token { request += "Authorization: Bearer \(token)\r\n" }
        if let body { request += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        let text = request + "\r\n" + (body ?? "")
        return try parse(try await LoopbackHTTP.exchange(text, port: port), of: "\(method) \(path)")
    }

    private static func parse(_ bytes: [UInt8], of request: String) throws -> HTTPAnswer {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { throw Trouble("\(request): no response but \(bytes.count) bytes") }
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
