// Reads a running worker's own numbers: where its page is, and what stands on it.

import Foundation
import Glibc

/// The metrics page of one `sluice run`.
struct WorkerMetrics: Sendable {
    let port: UInt16

    /// Waits until the worker says where it listens. Blocks: not for cooperative threads.
    init(of worker: Child) throws {
        for _ in 0..<600 {
            let log = worker.log
            if let start = log.range(of: "url=http://127.0.0.1:") {
                guard let port = UInt16(log[start.upperBound...].prefix { $0.isNumber }) else { break }
                self.port = port
                return
            }
            guard worker.isRunning else { break }
            usleep(50_000)
        }
        throw worker.failure("names no address of its metrics")
    }

    /// One look at the page: values by series, as `name{labels}`. Blocks: not for cooperative threads.
    func read() throws -> Page {
        var page = Page()
        for line in try get("/metrics").split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { continue }
            page.values[String(line[..<space])] = value
        }
        return page
    }

    /// What stood on the page.
    struct Page: Sendable {
        fileprivate(set) var values: [String: Double] = [:]

        /// One series, by its name with labels; `nil` where there is none.
        func value(_ series: String) -> Double? { values[series] }

        /// The sum over all series of a family; `nil` where it has none.
        func sum(_ name: String) -> Double? {
            let all = series(name)
            return all.isEmpty ? nil : all.reduce(0, +)
        }

        /// The values of all series of a family.
        func series(_ name: String) -> [Double] {
            values.filter { $0.key == name || $0.key.hasPrefix(name + "{") }.map(\.value)
        }
    }

    /// The body of an answer.
    private func get(_ path: String) throws -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw BenchError("no socket: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let request = "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        guard isConnected, send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count else {
            throw BenchError("the worker's port \(port) cannot be reached: \(String(cString: strerror(errno)))")
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else {
                throw BenchError("the worker's port \(port) does not answer: \(String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            answer += buffer[..<count]
        }
        let text = String(decoding: answer, as: UTF8.self)
        guard text.hasPrefix("HTTP/1.1 200"), let body = text.range(of: "\r\n\r\n") else {
            throw BenchError("GET \(path) was answered \(text.prefix(80))")
        }
        return String(text[body.upperBound...])
    }
}
