// Shows the closed loop: clients post at a steady rate while the database hangs, and the ingress sheds load and recovers by itself.

import Foundation

/// What the section `shed` measured.
struct SheddingResult: Codable, Sendable {
    /// Requests a second, and the lag in records at which shedding begins.
    let rate: Int
    let threshold: Int
    let frozenSeconds: Double
    /// The lag at the first refused request, and the highest lag.
    let lagAtFirstRefusal: Double
    let mostLag: Double
    /// Seconds from the database's return until every request was admitted again.
    let recoverySeconds: Double
    let admitted: Int
    let refused: Int
    let samples: [SheddingSample]
    let bars: [Bar]
}

/// The section `shed`.
struct SheddingBench {
    private static let rate = 1_000
    /// The records of fifteen seconds: a minute without a drain ends at 1.95 of it.
    private static let threshold = 15_000
    /// Seconds before the freeze and after the recovery.
    private static let calm = 15.0
    let options: Options
    private var freeze: Double { Double(options.roundSeconds ?? 60) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> SheddingResult? {
        guard let directory = options.postgresDirectory else {
            say("\nshed: SKIPPED, no folder of a private server in SLUICE_BENCH_POSTGRES_DIR; scripts/bench names its own")
            return nil
        }
        try options.requireLoadGenerator()
        return try await BenchSite.run("shed", options) { site in
            say(
                "\nshed: \(Self.rate) requests/s; the database is stopped for \(Int(freeze)) s; shedding begins at \(Self.threshold) records"
            )
            let place = site.place(topic: "messages", database: "sluice_bench_shed")
            try await site.createTopic(place.topic)
            try await place.database.renew()
            try await place.database.migrate()
            var worker = SluiceWorker(
                program: options.sluicePath,
                settings: ["limits.shed.lag_records": "\(Self.threshold)"].merging(options.settings) { $1 })
            worker.role = "all"
            let child = try await Blocking.run { [worker] in try worker.start(place, run: 0) }
            let outcome: Result<SheddingResult, any Error>
            do {
                outcome = .success(try await measure(child, PrivateServer(directory: directory), place))
            } catch {
                outcome = .failure(error)
            }
            try await Blocking.run { child.end(within: 30) }
            try await place.database.drop()
            return try outcome.get()
        }
    }

    private func measure(_ child: Child, _ server: PrivateServer, _ place: DrainPlace) async throws -> SheddingResult {
        let freeze = freeze
        let (watch, frozenAt, recovery, isVerified) = try await Blocking.run {
            let metrics = try WorkerMetrics(of: child)
            for _ in 0..<600 {
                if try metrics.read().value(#"sluice_shed_signal_known{cause="lag"}"#) == 1 { break }
                usleep(100_000)
            }
            let load = try startLoad(metrics, place)
            var watch = SheddingWatch(child: child, metrics: metrics)
            let outcome: Result<(Double, Double), any Error>
            do {
                try watch.sample(for: Self.calm)
                let frozenAt = watch.now
                try server.frozen { try watch.sample(for: freeze) }
                let recovery = try watch.sample(within: 120) { $0.share == 0 }
                try watch.sample(for: Self.calm)
                outcome = .success((frozenAt, recovery))
            } catch {
                outcome = .failure(error)
            }
            // Before it ends it compares the table with the acknowledged events.
            load.end(within: 180)
            let (frozenAt, recovery) = try outcome.get()
            return (watch, frozenAt, recovery, load.log.contains("VERIFIED"))
        }
        return try report(watch.samples, frozenAt: frozenAt, recovery: recovery, isVerified: isVerified)
    }

    private func startLoad(_ metrics: WorkerMetrics, _ place: DrainPlace) throws -> Child {
        try Child(
            "sluice-loadtest", options.loadtestPath,
            [
                "--target", "http", "--url", "http://127.0.0.1:\(metrics.port)/send", "--rate", "\(Self.rate)", "--duration",
                "3600",
                "--keys", "100000", "--mix", "50:40:10", "--connections", "64", "--verify", "--postgres", place.database.uri,
                "--group",
                "bench-0", "--verify-timeout", "120", "--capture-table", "",
            ], log: "\(place.folder)/load.log")
    }

    private func report(_ samples: [SheddingSample], frozenAt: Double, recovery: Double, isVerified: Bool) throws
        -> SheddingResult
    {
        let frozen = samples.filter { $0.at >= frozenAt && $0.at < frozenAt + freeze }
        let threshold = Double(Self.threshold)
        let first = samples.first { $0.refused > 0 }?.lag ?? .infinity
        let most = samples.map(\.lag).max() ?? 0
        let bars = [
            Bar("lag at the first refusal, thresholds", first / threshold, .atMost, 2),
            Bar("most lag, thresholds", most / threshold, .atMost, 2),
            Bar("seconds until all were admitted again", recovery, .atMost, 60),
            Bar("acknowledged events that are missing or wrong (0: verified)", isVerified ? 0 : 1, .atMost, 0),
        ]
        say("  share     \(((frozen.last?.share ?? 0) * 100).shown) % of the requests refused at the end of the freeze")
        for bar in bars { bar.show() }
        try SheddingPlot(samples: samples, threshold: threshold, freeze: frozenAt...(frozenAt + freeze)).write(
            to: options.plotPath)
        say("  plot      \(options.plotPath)")
        return SheddingResult(
            rate: Self.rate, threshold: Self.threshold, frozenSeconds: freeze, lagAtFirstRefusal: first, mostLag: most,
            recoverySeconds: recovery, admitted: Int(samples.last?.admitted ?? 0), refused: Int(samples.last?.refused ?? 0),
            samples: samples, bars: bars)
    }
}
