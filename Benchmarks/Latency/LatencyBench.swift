// Measures the latency of single events, alternating between the worker and the naive consumer.

import Postgres

/// Latencies of several rounds.
struct LatencyFigures: Codable, Sendable {
    let median: Runs
    let p99: Runs
    let events: Int

    init(_ rounds: [Latencies]) {
        median = Runs(rounds.map { $0.percentile(0.5) })
        p99 = Runs(rounds.map { $0.percentile(0.99) })
        events = rounds.reduce(0) { $0 + $1.milliseconds.count }
    }

    /// Prints one line.
    func show(_ name: String) {
        say(
            "  \(pad(name, 10)) median \(median.median.shown) ms, p99 \(p99.median.shown) ms "
                + "(medians of \(median.values.count) rounds, \(events) events)")
    }
}

/// What the section `latency` measured.
struct LatencyResult: Codable, Sendable {
    let eventsPerSecond: Int
    let sluice: LatencyFigures
    /// One message, one statement, one commit.
    let naive: LatencyFigures
    /// A commit of one row, without Kafka.
    let commit: LatencyFigures
    let bars: [Bar]
}

/// The section `latency`.
struct LatencyBench {
    private static let rate = 50
    /// Microseconds between two queries.
    private static let poll: UInt32 = 200
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> LatencyResult? {
        guard let naive = options.naivePath else {
            say("\nlatency: SKIPPED, no consumer to compare with (--naive); scripts/bench builds Benchmarks/Bare/naive.cpp")
            return nil
        }
        return try await BenchSite.run("latency", options) { site in
            let seconds = options.roundSeconds ?? 16
            let rounds = options.runs ?? 3
            say("\nlatency: produce to visible at \(Self.rate) events/s, \(rounds) rounds of \(seconds) s each")
            let place = site.place(topic: "messages", database: "sluice_bench_latency")
            try await site.createTopic(place.topic)
            let workers: [any DrainWorker] = [
                SluiceWorker(program: options.sluicePath, settings: options.settings), NaiveConsumer(program: naive),
            ]
            var runs = workers.map { _ in [Latencies]() }
            var commits: [Latencies] = []
            var number: Int32 = 0
            for round in 0..<rounds {
                for index in workers.indices.map({ ($0 + round) % workers.count }) {
                    let run = try await measure(workers[index], place, number: number, seconds: seconds)
                    number += 1
                    say(
                        "  \(pad(workers[index].name, 10)) median \(run.percentile(0.5).shown) ms   p99 "
                            + "\(run.percentile(0.99).shown) ms")
                    runs[index].append(run)
                }
                commits.append(try await CommitTime.measure(place.database, firstID: 1))
            }
            try await place.database.drop()
            return result(LatencyFigures(runs[0]), LatencyFigures(runs[1]), LatencyFigures(commits))
        }
    }

    private func measure(_ worker: any DrainWorker, _ place: DrainPlace, number: Int32, seconds: Int) async throws -> Latencies {
        try await place.database.renew()
        try await place.database.migrate()
        let probe = try await LatencyProbe(place, firstID: 1_000_000 * (number + 1))
        let child = try await Blocking.run { try worker.start(place, run: Int(number)) }
        let outcome: Result<Latencies, any Error>
        do {
            // The program first reads the log of earlier rounds; then one second of events that does not count.
            _ = try await probe.run(20, interval: .milliseconds(50), poll: Self.poll, offset: 0)
            _ = try await probe.run(Self.rate, interval: .milliseconds(1000 / Self.rate), poll: Self.poll, offset: 1_000)
            outcome = .success(
                try await probe.run(
                    Self.rate * seconds, interval: .milliseconds(1000 / Self.rate), poll: Self.poll, offset: 10_000))
        } catch {
            outcome = .failure(child.isRunning ? error : child.failure("has ended"))
        }
        await probe.close()
        try await Blocking.run { child.end(within: 30) }
        return try outcome.get()
    }

    private func result(_ sluice: LatencyFigures, _ naive: LatencyFigures, _ commit: LatencyFigures) -> LatencyResult {
        sluice.show("sluice")
        naive.show("naive")
        commit.show("one commit")
        let bars = [
            Bar("median, × the naive consumer's", sluice.median.median / naive.median.median, .atMost, 1.5),
            Bar("p99, × the naive consumer's", sluice.p99.median / naive.p99.median, .atMost, 1.5),
        ]
        for bar in bars { bar.show() }
        return LatencyResult(eventsPerSecond: Self.rate, sluice: sluice, naive: naive, commit: commit, bars: bars)
    }
}
