// Reads the metrics of a running worker.

import Foundation
import Glibc

/// The metrics page of one `sluice run`.
struct WorkerMetrics: Sendable {
    let port: UInt16

    /// Waits until the worker's log has the port it listens on. Blocks: not for cooperative threads.
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

    /// Reads all values by series, as `name{labels}`. Blocks: not for cooperative threads.
    func read() throws -> Page {
        var page = Page()
        let answer = try Loopback.ask("GET", "/metrics", port: port)
        guard answer.status == 200 else { throw BenchError("GET /metrics was answered \(answer.status)") }
        for line in answer.body.split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { continue }
            page.values[String(line[..<space])] = value
        }
        return page
    }

    /// The values of one page.
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
}
