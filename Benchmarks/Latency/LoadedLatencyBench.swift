// Measures the latency of single events at half of the highest rate that the worker sustains, alternating with the bare worker.

import Glibc
import Platform
import Postgres

/// What the section `loaded-latency` measured.
struct LoadedLatencyResult: Codable, Sendable {
    /// The highest rate found at which the worker keeps up with a live producer.
    let sustainedPerSecond: Double
    /// The rate of the measurement.
    let eventsPerSecond: Double
    let sluice: LatencyFigures
    let bare: LatencyFigures
    /// A commit of one row on the idle server.
    let commit: LatencyFigures
    let bars: [Bar]
}

/// The section `loaded-latency`.
struct LoadedLatencyBench {
    /// A probe each tenth of a second.
    private static let interval = Duration.milliseconds(100)
    private static let perSecond = 10
    /// Microseconds between two queries, few enough not to be a load.
    private static let poll: UInt32 = 500
    /// The probe's keys, above the load's.
    private static let firstID: Int32 = 1_000_000_000
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> LoadedLatencyResult? {
        guard let reference = options.referencePath else {
            say(
                "\nloaded-latency: SKIPPED, no bare worker was named (--reference); scripts/bench builds one")
            return nil
        }
        return try await BenchSite.run("loaded-latency", options) { site in
            let seconds = options.roundSeconds ?? 20
            let rounds = options.runs ?? 3
            say("\nloaded-latency: produce to visible with a live load, \(rounds) rounds of \(seconds) s each")
            let sluice = SluiceWorker(program: options.sluicePath, settings: options.settings)
            // A bare worker that is not to end by itself.
            let workers: [any DrainWorker] = [sluice, BareWorker(program: reference, events: 1 << 40)]
            var number = 0
            let sustained = try await with(sluice, site, number: number) { load, probe, _ in try await search(load, probe) }
            let rate = sustained / 2
            say("  sustained \(sustained.shown) events/s; measured at \(rate.shown)")
            var runs = workers.map { _ in [Latencies]() }
            var commits: [Latencies] = []
            for round in 0..<rounds {
                for index in workers.indices.map({ ($0 + round) % workers.count }) {
                    number += 1
                    let run = try await with(workers[index], site, number: number) { load, probe, database in
                        commits.append(try await CommitTime.measure(database, firstID: Self.firstID - 1_000))
                        load.set(rate: rate)
                        _ = try await probe.run(3 * Self.perSecond, interval: Self.interval, poll: Self.poll, offset: 1_000)
                        return try await probe.run(
                            seconds * Self.perSecond, interval: Self.interval, poll: Self.poll, offset: 10_000)
                    }
                    say(
                        "  \(pad(workers[index].name, 10)) median \(run.percentile(0.5).shown) ms   p99 "
                            + "\(run.percentile(0.99).shown) ms")
                    runs[index].append(run)
                }
            }
            return result(sustained, runs, commits)
        }
    }

    private func result(_ sustained: Double, _ runs: [[Latencies]], _ commits: [Latencies]) -> LoadedLatencyResult {
        let (sluice, bare, commit) = (LatencyFigures(runs[0]), LatencyFigures(runs[1]), LatencyFigures(commits))
        sluice.show("sluice")
        bare.show("bare")
        commit.show("one commit")
        let bars = [
            Bar("p99, × the bare worker's", sluice.p99.median / bare.p99.median, .atMost, 2),
            Bar("p99, × one commit", sluice.p99.median / commit.median.median, .atMost, 8),
        ]
        for bar in bars { bar.show() }
        return LoadedLatencyResult(
            sustainedPerSecond: sustained, eventsPerSecond: sustained / 2, sluice: sluice, bare: bare, commit: commit, bars: bars)
    }

    /// Runs `body` with a worker, a topic and a database of its own, after the first event has been applied.
    private func with<R: Sendable>(
        _ worker: any DrainWorker, _ site: BenchSite, number: Int,
        _ body: (LiveLoad, LatencyProbe, BenchDatabase) async throws -> R
    ) async throws -> R {
        let place = site.place(topic: "loaded-\(number)", database: "sluice_bench_loaded")
        try await site.createTopic(place.topic)
        try await place.database.renew()
        try await place.database.migrate()
        // Write-back of the previous run must not delay this one.
        try await Blocking.run { sync() }
        let probe = try await LatencyProbe(place, firstID: Self.firstID)
        let load = try await LiveLoad(place)
        let child = try await Blocking.run { try worker.start(place, run: number) }
        let outcome: Result<R, any Error>
        do {
            _ = try await probe.run(20, interval: .milliseconds(50), poll: Self.poll, offset: 0)
            outcome = .success(try await body(load, probe, place.database))
        } catch {
            outcome = .failure(child.isRunning ? error : child.failure("has ended"))
        }
        let closing: Result<Void, any Error>
        do { closing = .success(try await load.close()) } catch { closing = .failure(error) }
        await probe.close()
        try await Blocking.run { child.end(within: 30) }
        try await place.database.drop()
        try await site.deleteTopic(place.topic)
        try closing.get()
        return try outcome.get()
    }

    // MARK: The highest rate

    /// Raises the rate until the lag grows, then bisects.
    private func search(_ load: LiveLoad, _ probe: LatencyProbe) async throws -> Double {
        var machine = RateSearchMachine(first: 40_000)
        var offset: Int32 = 100_000
        while let rate = machine.next {
            load.set(rate: rate)
            let settled = try await probe.run(2 * Self.perSecond, interval: Self.interval, poll: Self.poll, offset: offset)
            let (begun, first) = (MonotonicClock.nanoseconds(), load.delivered)
            let latencies = try await probe.run(
                4 * Self.perSecond, interval: Self.interval, poll: Self.poll, offset: offset + 1_000)
            let reached = Double(load.delivered - first) / (Double(MonotonicClock.nanoseconds() - begun) / 1e9)
            offset += 2_000
            // With a rate that is a twentieth too high, events are 300 ms late after six seconds.
            let isBehind = latencies.percentile(0.5) > 250 || settled.percentile(0.5) > 1_000
            let isShort = reached < 0.95 * rate
            say(
                "  \(pad(rate.shown, 9)) events/s: median \(latencies.percentile(0.5).shown) ms"
                    + (isBehind ? ", lag grows" : isShort ? ", but the producer sent \(reached.shown)" : ""))
            machine.tried(keptUp: !isBehind && !isShort)
            // The rest is drained before the next measurement.
            load.set(rate: 0)
            _ = try await probe.run(5, interval: Self.interval, poll: Self.poll, offset: offset)
            offset += 1_000
        }
        guard let best = machine.best else { throw BenchError("the worker does not sustain 10 000 events/s") }
        return best
    }
}
