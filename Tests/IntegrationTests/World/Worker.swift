// Owns one `sluice run` process of a test: its start, its signals, its HTTP routes and its log.

import Foundation
import Glibc
import TestSupport
import Testing

/// A running `sluice`.
struct Worker: Sendable {
    let process: ChildProcess
    /// `http://127.0.0.1:PORT`
    let url: String

    /// Sends SIGTERM and waits for the end.
    func terminate(within limit: Duration = .seconds(40)) async throws -> ChildProcess.Ending {
        process.signal(SIGTERM)
        return try await process.ended(within: limit)
    }

    /// An HTTP GET.
    func get(_ path: String) async throws -> HTTPAnswer { try await HTTPAnswer.to("GET", path, at: port) }

    /// Posts one event.
    func send(_ event: String) async throws -> HTTPAnswer { try await HTTPAnswer.to("POST", "/send", at: port, body: event) }

    /// Posts a JSON document.
    func post(_ path: String, _ body: String, token: String? = nil) async throws -> HTTPAnswer {
        try await HTTPAnswer.to("POST", path, at: port, body: body, token: token)
    }

    var port: UInt16 { url.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    /// The sum of a metric over all its series.
    func metric(_ name: String) async throws -> Double {
        try await get("/metrics").body.split(separator: "\n").reduce(0) { sum, line in
            guard line.hasPrefix(name), let next = line.dropFirst(name.count).first, next == " " || next == "{",
                let value = line.split(separator: " ").last.flatMap({ Double($0) })
            else { return sum }
            return sum + value
        }
    }

    /// Checks that docs/metrics.md has the families that the process exports, and no others. For a process of role all.
    func expectDocumentedMetrics() async throws {
        let page = try String(
            contentsOf: TestPostgres.checkout.appendingPathComponent("docs/metrics.md"), encoding: .utf8)
        let documented = page.split(separator: "\n").filter { $0.hasPrefix("| `") }.flatMap { row in
            row.dropFirst().prefix { $0 != "|" }.split(separator: ",").map { $0.filter { !" `".contains($0) } }
        }
        let exported = try await get("/metrics").body.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.compactMap {
            $0.split(separator: " ").dropFirst(2).first.map(String.init)
        }
        try #require(documented.count == Set(documented).count, "docs/metrics.md names a family twice")
        let difference = Set(documented).symmetricDifference(exported).sorted()
        try #require(difference.isEmpty, "docs/metrics.md and /metrics differ in \(difference)")
    }

    /// The number of its assigned partitions, each of which has one series of this metric.
    func partitions() async throws -> Int {
        try await get("/metrics").body.split(separator: "\n").count { $0.hasPrefix("sluice_applied_offset{") }
    }
}

extension World {
    /// Starts `sluice run` and waits until it listens.
    /// - Parameters:
    ///   - name: names the log; a process that is started again under its name appends to the same log.
    ///   - settings: `SLUICE_…` variables.
    ///   - configuration: a file of the test's own.
    func worker(
        _ name: String, role: String = "worker", topic: String? = nil, _ settings: [String: String] = [:],
        configuration: String? = nil
    ) async throws -> Worker {
        let log = directory.appendingPathComponent("\(name).log")
        let before = (try? Data(contentsOf: log))?.count ?? 0
        let process = try launch(name, role: role, topic: topic, settings, configuration: configuration)
        var url: String?
        let deadline = ContinuousClock.now + .seconds(60)
        while url == nil, ContinuousClock.now < deadline {
            let text = String(decoding: process.output.utf8.dropFirst(before), as: UTF8.self)
            if let start = text.range(of: "url=http://") {
                url = text[start.lowerBound...].dropFirst(4).prefix { $0 != " " && $0 != "\n" && $0 != "\"" }.description
            } else if process.ending != nil {
                throw Trouble("\(name) ended before it listened: \(text.suffix(2000))")
            } else {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        guard let url else { throw Trouble("\(name) does not listen: \(process.output.suffix(2000))") }
        return Worker(process: process, url: url)
    }

    /// Starts `sluice run` without waiting.
    func launch(
        _ name: String, role: String = "worker", topic: String? = nil, _ settings: [String: String] = [:],
        configuration: String? = nil
    ) throws -> ChildProcess {
        var environment = settings
        environment["SLUICE_POSTGRES_URI"] = database
        let file = try configuration ?? self.configuration(topic: topic)
        return try start("sluice", ["run", "--config", file, "--role", role], named: name, environment: environment)
    }

    /// Waits until a worker has so many partitions assigned.
    func hasPartitions(_ worker: Worker, _ count: Int, within limit: Duration = .seconds(60)) async throws {
        try await reached("\(worker.process.log) has \(count) partitions", within: limit) {
            (try? await worker.partitions()) == count
        }
    }
}
