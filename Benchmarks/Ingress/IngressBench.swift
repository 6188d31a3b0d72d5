// Measures POST /send with many clients in closed loops, alternating between the ingress and a bare one.

import Foundation

/// Figures of the runs of one ingress at one load.
struct IngressFigures: Codable, Sendable {
    let requestsPerSecond: Runs
    let medianMilliseconds: Runs
    let p99Milliseconds: Runs
    let cpuMicroseconds: Runs
    let residentMebibytes: Runs

    init(_ measurements: [RunningIngress.Measurement]) {
        requestsPerSecond = Runs(measurements.map(\.run.requestsPerSecond))
        medianMilliseconds = Runs(measurements.map(\.run.median))
        p99Milliseconds = Runs(measurements.map(\.run.p99))
        cpuMicroseconds = Runs(measurements.map(\.cpuMicroseconds))
        residentMebibytes = Runs(measurements.map(\.residentMebibytes))
    }

    /// Prints one line.
    func show(_ name: String, events: Int = 1) {
        say(
            "  \(pad(name, 18)) \(pad((requestsPerSecond.median * Double(events)).shown, 8))/s   median \(medianMilliseconds.median.shown) ms"
                + "   p99 \(p99Milliseconds.median.shown) ms   \((cpuMicroseconds.median / Double(events)).shown) us of CPU each   "
                + "\(residentMebibytes.highest.shown) MiB")
    }
}

/// What the section `ingress` measured.
struct IngressResult: Codable, Sendable {
    let settings: [String: String]
    /// The ingress and the bare one, by number of connections.
    let singles: [String: [IngressFigures]]
    /// A thousand events a request: the ingress and the bare one.
    let batches: [IngressFigures]
    /// Requests that are refused with 429.
    let refused: IngressFigures
    /// Nanoseconds of one decision of the limits.
    let decision: Double
    let bars: [Bar]
}

/// The section `ingress`.
struct IngressBench {
    /// Events of a request with many.
    private static let batch = 1_000
    /// Clients that post them.
    private static let batchConnections = 8
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> IngressResult? {
        guard let bare = options.previousPath ?? options.ingressPath else {
            say("\ningress: SKIPPED, no bare ingress was named (--bare-ingress); scripts/bench builds one")
            return nil
        }
        return try await BenchSite.run("ingress", options) { site in
            guard let wrk = Wrk(folder: site.folder) else {
                say("\ningress: SKIPPED, wrk is not installed (Debian: apt-get install wrk)")
                return nil
            }
            let place = site.place(topic: "messages", database: "sluice_bench_ingress")
            try await site.createTopic(place.topic)
            return try await Blocking.run {
                guard options.previousPath == nil else {
                    try comparePrevious(bare, wrk, place)
                    return nil
                }
                return try measure(bare, wrk, place)
            }
        } ?? nil
    }

    /// Measures two builds of `sluice` in turn, on the same broker.
    private func comparePrevious(_ program: String, _ wrk: Wrk, _ place: DrainPlace) throws {
        var listeners: [RunningIngress] = []
        defer { for listener in listeners { listener.child.end(within: 30) } }
        listeners.append(try .sluice(options, place, number: 0, limits: Self.high))
        listeners.append(try .sluice(options, place, number: 1, limits: Self.high, program: program))
        let seconds = options.roundSeconds ?? 2
        let rounds = options.runs ?? 15
        say("\ningress: this build and the previous one, \(rounds) rounds of \(seconds) s each")
        for listener in listeners { _ = try listener.measure(wrk, connections: 64, seconds: 4) }
        for (connections, events) in [(8, 1), (64, 1), (256, 1), (Self.batchConnections, Self.batch)] {
            let figures = try inTurn(listeners, rounds) {
                let measurement = try $0.measure(wrk, connections: connections, seconds: seconds, events: events)
                guard measurement.run.others == 0 else { throw $0.child.failure("refused \(measurement.run.others) requests") }
                return measurement
            }
            let load = "\(connections) clients, \(events) events a request"
            for (listener, figures) in zip(listeners, figures) {
                figures.show("\(connections) × \(listener.name)", events: events)
            }
            let ratio = figures[0].requestsPerSecond.ratio(to: figures[1].requestsPerSecond)
            Bar("\(load): requests/s, × the previous build's", ratio, .atLeast, 0.97).show()
        }
    }

    /// Rate limits that refuse nothing.
    private static let high = """
          policies:
            - {name: burst, key: client, unit: requests, bucket: {rate: 1000000, burst: 1000000}}
            - {name: quota, key: client, unit: events, window: {limit: 1000000000, seconds: 60}}
        """

    private func measure(_ bare: String, _ wrk: Wrk, _ place: DrainPlace) throws -> IngressResult {
        var ingresses: [RunningIngress] = []
        defer { for ingress in ingresses { ingress.child.end(within: 30) } }
        let low = "  policies: [{name: burst, key: client, unit: requests, bucket: {rate: 1, burst: 1}}]"
        ingresses.append(try RunningIngress.sluice(options, place, number: 0, limits: Self.high))
        ingresses.append(try RunningIngress.sluice(options, place, number: 1, limits: low))
        for linger in ["0", "0.3"] { ingresses.append(try RunningIngress.bare(bare, place, linger: linger)) }
        let (sluice, refusing, prompt, lingering) = (ingresses[0], ingresses[1], ingresses[2], ingresses[3])
        // Many short rounds, because the machine's speed changes within seconds by more than the bar's twentieth.
        let seconds = options.roundSeconds ?? 2
        let rounds = options.runs ?? 15
        say("\ningress: one event a request, acks=all, idempotent; \(rounds) rounds of \(seconds) s each")
        // A broker and a program are slower at their start.
        for ingress in [sluice, prompt, lingering] { _ = try ingress.measure(wrk, connections: 64, seconds: 4) }

        var singles: [String: [IngressFigures]] = [:]
        // The last bar is the narrowest, so it has twice as many rounds.
        for (connections, other, rounds) in [(8, prompt, rounds), (64, prompt, rounds), (256, lingering, 2 * rounds)] {
            singles["\(connections)"] = try inTurn([sluice, other], rounds) {
                let measurement = try $0.measure(wrk, connections: connections, seconds: seconds)
                guard measurement.run.others == 0 else { throw $0.child.failure("refused \(measurement.run.others) requests") }
                return measurement
            }
            for (ingress, figures) in zip([sluice, other], singles["\(connections)"]!) {
                figures.show("\(connections) × \(ingress.name)")
            }
        }
        // Alternating with accepted ones.
        let limited = try inTurn([sluice, refusing], rounds) { try $0.measure(wrk, connections: 64, seconds: seconds) }
        for (figures, name) in zip(limited, ["accepted", "answered 429"]) { figures.show("64 × \(name)") }
        say("\ningress: \(Self.batch) events a request")
        let batches = try inTurn([sluice, prompt], rounds) {
            let measurement = try $0.measure(wrk, connections: Self.batchConnections, seconds: seconds, events: Self.batch)
            guard measurement.run.others == 0 else { throw $0.child.failure("refused \(measurement.run.others) requests") }
            return measurement
        }
        for (ingress, figures) in zip([sluice, prompt], batches) { figures.show("lines × \(ingress.name)", events: Self.batch) }
        return result(singles, batches, accepted: limited[0], refused: limited[1], LimitBench.run().hot)
    }

    /// Measures each ingress in turn, `rounds` times. Returns the figures of each.
    private func inTurn(
        _ ingresses: [RunningIngress], _ rounds: Int, _ measure: (RunningIngress) throws -> RunningIngress.Measurement
    ) throws -> [IngressFigures] {
        var measurements = ingresses.map { _ in [RunningIngress.Measurement]() }
        for round in 0..<rounds {
            // The order changes from round to round.
            for index in ingresses.indices.map({ ($0 + round) % ingresses.count }) {
                measurements[index].append(try measure(ingresses[index]))
            }
        }
        return measurements.map { IngressFigures($0) }
    }

    private func result(
        _ singles: [String: [IngressFigures]], _ batches: [IngressFigures], accepted: IngressFigures, refused: IngressFigures,
        _ decision: Double
    ) -> IngressResult {
        func ratio(_ load: String, _ figure: (IngressFigures) -> Runs) -> Double {
            figure(singles[load]![0]).ratio(to: figure(singles[load]![1]))
        }
        var bars = [
            Bar("256 clients: requests/s, of the bare one's at linger 0.3", ratio("256") { $0.requestsPerSecond }, .atLeast, 0.95)
        ]
        for load in ["8", "64"] {
            bars.append(Bar("\(load) clients: median, × the bare one's", ratio(load) { $0.medianMilliseconds }, .atMost, 1.1))
        }
        for load in ["8", "64", "256"] {
            bars.append(Bar("\(load) clients: CPU a request, × the bare one's", ratio(load) { $0.cpuMicroseconds }, .atMost, 1.2))
        }
        bars += [
            Bar(
                "a 429's CPU, of an accepted request's", refused.cpuMicroseconds.ratio(to: accepted.cpuMicroseconds), .atMost, 0.5
            ),
            Bar(
                "a decision of the limits, of an accepted request's CPU", decision / 1000 / accepted.cpuMicroseconds.median,
                .atMost, 0.1),
            Bar(
                "lines: events/s, of the bare one's", batches[0].requestsPerSecond.ratio(to: batches[1].requestsPerSecond),
                .atLeast, 0.9),
            Bar(
                "lines: resident memory, most of the least",
                batches[0].residentMebibytes.highest / batches[0].residentMebibytes.lowest, .atMost, 1.1),
        ]
        for bar in bars { bar.show() }
        return IngressResult(
            settings: options.settings, singles: singles, batches: batches, refused: refused, decision: decision, bars: bars)
    }
}
