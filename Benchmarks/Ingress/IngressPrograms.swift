// Starts and measures the ingress of Sluice and the bare one.

import Foundation
import Glibc

/// A running ingress. Methods block: not for cooperative threads.
struct RunningIngress: Sendable {
    let name: String
    let child: Child
    let port: UInt16

    /// Figures of one run of wrk against it.
    struct Measurement: Codable, Sendable {
        let run: WrkRun
        /// Processor time of the process a request, microseconds.
        let cpuMicroseconds: Double
        let residentMebibytes: Double
    }

    /// Runs wrk.
    func measure(_ wrk: Wrk, connections: Int, seconds: Int, events: Int = 1) throws -> Measurement {
        guard let before = child.usage() else { throw child.failure("has ended") }
        let run = try wrk.run(port: port, connections: connections, seconds: seconds, events: events)
        guard let after = child.usage() else { throw child.failure("has ended") }
        return Measurement(
            run: run, cpuMicroseconds: (after.cpuSeconds - before.cpuSeconds) * 1e6 / Double(max(1, run.requests)),
            residentMebibytes: Double(after.residentKibibytes) / 1024)
    }

    /// Starts `sluice run --role ingress` with these limits, and waits until it accepts events.
    /// - Parameters:
    ///   - number: unique for a `place`.
    ///   - program: another build of `sluice`; `nil`: the one that is measured.
    static func sluice(
        _ options: Options, _ place: DrainPlace, number: Int, limits: String, program: String? = nil
    ) throws -> RunningIngress {
        var worker = SluiceWorker(program: program ?? options.sluicePath, settings: options.settings)
        worker.role = "ingress"
        worker.extra = "limits:\n\(limits)\n"
        // A folder of its own, because several run at the same time.
        let folder = "\(place.folder)/ingress-\(number)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let own = DrainPlace(database: place.database, brokers: place.brokers, topic: place.topic, folder: folder)
        let child = try worker.start(own, run: number)
        let ingress = RunningIngress(
            name: program == nil ? "sluice" : "previous", child: child, port: try WorkerMetrics(of: child).port)
        try ingress.waitUntilReady("/readyz", "GET")
        return ingress
    }

    /// Starts a bare ingress, called as `PROGRAM PORT BROKERS 1 LINGER 5`, and waits until it accepts events.
    static func bare(_ program: String, _ place: DrainPlace, linger: String) throws -> RunningIngress {
        let port = try Loopback.freePort()
        let child = try Child(
            "bare", program, ["\(port)", place.brokers, "1", linger, "5"], log: "\(place.folder)/bare-ingress-\(linger).log")
        let ingress = RunningIngress(name: "bare \(linger)", child: child, port: port)
        try ingress.waitUntilReady("/bare", "POST")
        return ingress
    }

    private func waitUntilReady(_ path: String, _ method: String) throws {
        var last = "another status than 200"
        for _ in 0..<200 {
            guard child.isRunning else { throw child.failure("has ended") }
            do {
                if try Loopback.ask(method, path, port: port, body: method == "POST" ? "{}" : nil).status == 200 { return }
            } catch {
                last = "\(error)"
            }
            usleep(100_000)
        }
        throw child.failure("is not ready within 20 s (\(last))")
    }
}
