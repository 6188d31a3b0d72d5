// Measures rate limits under ten times the load they allow, and whether Retry-After holds.

import Foundation
import Glibc
import Platform

/// What came of one policy: minutes of overload, each behind a calm period.
struct OverloadRun: Codable, Sendable {
    let policy: String
    var admitted = 0.0
    /// What the policy allows in that time.
    var allowed = 0.0
    var refused = 0.0
    /// Milliseconds from the moment a request was due to its 200, calm and under overload, a figure a run. Of the tenth that is measured.
    var unloadedP99: [Double] = []
    var p99: [Double] = []
    let residentBefore: Double
    var residentAfter = 0.0
}

/// What the section `overload` measured.
struct OverloadResult: Codable, Sendable {
    /// The highest rate of wrk, in requests a second.
    let capacity: Double
    /// Milliseconds; the p99 of the same load without a limit.
    let unlimitedP99: Runs
    let runs: [OverloadRun]
    /// Refused clients that waited for Retry-After, and those of them that were refused again.
    let cameBack: Int
    let refusedAgain: Int
    let bars: [Bar]
}

/// The section `overload`.
struct OverloadBench {
    /// The part of the load generator's report that is used here.
    private struct Report: Decodable {
        struct Latency: Decodable { let p99: Double }
        let produced: Double
        let acknowledged: Double
        let limited: Double
        let dropped: Double
        let latencyMicroseconds: Latency?
    }

    /// A rate limit, and what it allows within some seconds.
    private struct Policy {
        let name: String
        let yaml: String
        let allowed: (_ seconds: Double) -> Double
        /// What it passes comes as fast as it is asked for, not evenly as in the calm period: its control is the same crowd of which nobody is
        /// refused.
        let passesInBursts: Bool
    }

    let options: Options
    private var seconds: Int { options.roundSeconds ?? 60 }

    init(_ options: Options) { self.options = options }

    func run() async throws -> OverloadResult? {
        try options.requireLoadGenerator()
        return try await BenchSite.run("overload", options) { site in
            guard let wrk = Wrk(folder: site.folder) else {
                say("\noverload: SKIPPED, wrk is not installed (Debian: apt-get install wrk)")
                return nil
            }
            let place = site.place(topic: "messages", database: "sluice_bench_overload")
            try await site.createTopic(place.topic)
            return try await Blocking.run { try measure(wrk, place) }
        } ?? nil
    }

    private func measure(_ wrk: Wrk, _ place: DrainPlace) throws -> OverloadResult {
        let capacity = try with("  policies: []", place, 0) { ingress in
            _ = try ingress.measure(wrk, connections: 64, seconds: 4)
            return try ingress.measure(wrk, connections: 256, seconds: 6).run.requestsPerSecond
        }
        let limit = Int(capacity / 20)
        say(
            "\noverload: \(capacity.shown) requests/s at most; a limit of \(limit)/s, asked for ten times as much for \(seconds) s"
        )
        let policies = [
            Policy(
                name: "bucket",
                yaml: "  policies: [{name: all, key: global, unit: requests, bucket: {rate: \(limit), burst: \(limit)}}]",
                allowed: { Double(limit) * (1 + $0) }, passesInBursts: false),
            // The oldest part of a window counts in full, so a quota lasts for a twentieth longer than the window.
            Policy(
                name: "window",
                yaml: "  policies: [{name: all, key: global, unit: events, window: {limit: \(limit * 5), seconds: 5}}]",
                allowed: { Double(limit * 5) * (($0 - 1) / 5.25).rounded(.up) }, passesInBursts: true),
        ]
        var runs: [OverloadRun] = []
        for (index, policy) in policies.enumerated() {
            runs.append(try with(policy.yaml, place, index + 1) { try overload($0, wrk, policy, limit, place) })
        }
        let unlimited = try with("  policies: []", place, 3) { ingress in
            _ = try peak(ingress, wrk, limit, seconds: 3, place)
            return Runs(
                try (0..<3).map { _ in
                    let measured = try peak(ingress, wrk, limit, seconds: max(5, seconds / 6), place).measured
                    guard let p99 = measured.latencyMicroseconds?.p99 else { throw ingress.child.failure("admitted nothing") }
                    return p99 / 1000
                })
        }
        say("  the same without a limit: p99 \(unlimited.median.shown) ms")
        let (cameBack, refusedAgain) = try honesty(place)
        return report(capacity, unlimited, policies, runs, cameBack, refusedAgain)
    }

    /// An ingress with these limits, while `body` runs.
    private func with<R>(_ limits: String, _ place: DrainPlace, _ number: Int, _ body: (RunningIngress) throws -> R) throws -> R {
        let ingress = try RunningIngress.sluice(options, place, number: number, limits: limits)
        defer { ingress.child.end(within: 30) }
        return try body(ingress)
    }

    private func overload(
        _ ingress: RunningIngress, _ wrk: Wrk, _ policy: Policy, _ limit: Int, _ place: DrainPlace
    ) throws -> OverloadRun {
        // The memory that such a load needs at all does not count.
        _ = try peak(ingress, wrk, limit, seconds: 3, place)
        var run = OverloadRun(policy: policy.name, residentBefore: try resident(ingress))
        for _ in 0..<3 {
            // Until the bucket is full or the window empty.
            sleep(6)
            // Half of the limit: nothing is refused.
            let calm = try load(ingress, rate: limit / 2, seconds: max(5, seconds / 6), place)
            guard calm.limited == 0, let unloaded = calm.latencyMicroseconds?.p99 else {
                throw ingress.child.failure("refused \(calm.limited) of \(calm.produced) requests at half of the limit")
            }
            sleep(6)
            let start = MonotonicClock.nanoseconds()
            let (others, hot) = try peak(ingress, wrk, limit, seconds: seconds, place)
            let elapsed = Double(MonotonicClock.nanoseconds() - start) / 1e9
            guard let p99 = hot.latencyMicroseconds?.p99 else { throw ingress.child.failure("admitted nothing") }
            let asked = Double(others.requests) + hot.produced
            guard hot.dropped == 0, asked >= 9.8 * Double(limit * seconds) else {
                throw BenchError(
                    "\(asked.shown) requests were sent, \(hot.dropped.shown) dropped: no ten times the limit on this machine")
            }
            run.admitted += Double(others.requests - others.others) + hot.acknowledged
            run.allowed += policy.allowed(elapsed)
            run.refused += Double(others.others) + hot.limited
            run.unloadedP99.append(unloaded / 1000)
            run.p99.append(p99 / 1000)
        }
        run.residentAfter = try resident(ingress)
        say(
            "  \(pad(run.policy, 8)) \(run.admitted.shown) admitted, \(run.allowed.shown) allowed, \(run.refused.shown) refused; p99 "
                + "\(Runs(run.p99).median.shown) ms, unloaded \(Runs(run.unloadedP99).median.shown) ms; "
                + "\(run.residentBefore.shown) MiB before, \(run.residentAfter.shown) after")
        return run
    }

    private func resident(_ ingress: RunningIngress) throws -> Double {
        guard let usage = ingress.child.usage() else { throw ingress.child.failure("has ended") }
        return Double(usage.residentKibibytes) / 1024
    }

    /// Ten times the limit, of which a tenth is measured: measuring all of it would take half of the machine.
    private func peak(
        _ ingress: RunningIngress, _ wrk: Wrk, _ limit: Int, seconds: Int, _ place: DrainPlace
    ) throws -> (others: WrkRun, measured: Report) {
        let others = try wrk.start(port: ingress.port, connections: 256, seconds: seconds, rate: limit * 9)
        defer { others.end(within: 10) }
        let measured = try load(ingress, rate: limit, seconds: seconds, place)
        return (try WrkRun(of: others), measured)
    }

    private func load(_ ingress: RunningIngress, rate: Int, seconds: Int, _ place: DrainPlace) throws -> Report {
        let file = "\(place.folder)/load.json"
        let child = try Child(
            "sluice-loadtest", options.loadtestPath,
            [
                "--target", "http", "--url", "http://127.0.0.1:\(ingress.port)/send", "--rate", "\(rate)", "--duration",
                "\(seconds)",
                "--keys", "100000", "--mix", "0:0:0:1", "--connections", "256", "--json", file,
            ], log: "\(place.folder)/load.log")
        try child.wait()
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Report.self, from: Data(contentsOf: URL(fileURLWithPath: file)))
    }

    /// Clients with a quota each use it up, wait for Retry-After, and send again.
    private func honesty(_ place: DrainPlace) throws -> (cameBack: Int, refusedAgain: Int) {
        let limits = "  policies: [{name: each, key: client, unit: requests, bucket: {rate: 0.7, burst: 3}}]"
        var worker = options
        worker.settings["http.trusted_proxies"] = "[127.0.0.1]"
        let ingress = try RunningIngress.sluice(worker, place, number: 9, limits: limits)
        defer { ingress.child.end(within: 30) }
        func ask(_ client: Int) throws -> Loopback.Answer {
            try Loopback.ask(
                "POST", "/send", port: ingress.port, fields: ["X-Forwarded-For: 192.0.2.\(client)"],
                body: #"{"action":"Delete","message_id":\#(client)}"#)
        }
        var due: [(at: UInt64, client: Int)] = []
        for client in 1...200 {
            var answer = try ask(client)
            while answer.status == 200 { answer = try ask(client) }
            guard answer.status == 429, let wait = answer.field("retry-after").flatMap({ UInt64($0) }) else {
                throw ingress.child.failure("answered \(answer.status) without a time")
            }
            due.append((MonotonicClock.nanoseconds() + wait * 1_000_000_000, client))
        }
        var refusedAgain = 0
        for (at, client) in due.sorted(by: { $0.at < $1.at }) {
            let now = MonotonicClock.nanoseconds()
            if at > now { usleep(UInt32((at - now) / 1000)) }
            if try ask(client).status != 200 { refusedAgain += 1 }
        }
        return (due.count, refusedAgain)
    }

    private func report(
        _ capacity: Double, _ unlimited: Runs, _ policies: [Policy], _ runs: [OverloadRun], _ cameBack: Int, _ refusedAgain: Int
    ) -> OverloadResult {
        var bars: [Bar] = []
        for (policy, run) in zip(policies, runs) {
            let (p99, calm) = (Runs(run.p99).median, Runs(run.unloadedP99).median)
            bars += [
                Bar("\(run.policy): admitted, of what is allowed", run.admitted / run.allowed, .atLeast, 0.99),
                Bar("\(run.policy): the same", run.admitted / run.allowed, .atMost, 1.01),
                Bar("\(run.policy): resident memory, × before", run.residentAfter / run.residentBefore, .atMost, 1.1),
                Bar("\(run.policy): p99 of the admitted, × unloaded", p99 / calm, .atMost, 3),
            ]
            if policy.passesInBursts {
                bars.append(Bar("\(run.policy): the same, × without a limit", p99 / unlimited.median, .atMost, 3))
            }
        }
        bars.append(Bar("refused again after Retry-After, of \(cameBack) clients", Double(refusedAgain), .atMost, 0))
        for bar in bars { bar.show() }
        return OverloadResult(
            capacity: capacity, unlimitedP99: unlimited, runs: runs, cameBack: cameBack, refusedAgain: refusedAgain, bars: bars)
    }
}
