// Measures the recovery from a database that hangs: a drain whose server is stopped and continued ten times.

import Foundation
import Postgres

/// What the section `frozen` measured.
struct FrozenResult: Codable, Sendable {
    let events: Int
    /// How often, and for how many seconds each, the server was stopped and continued.
    let stops: Int
    let stopSeconds: Double
    /// Records a second before the first stop and after the last, second by second.
    let before: Runs
    let after: Runs
    let pauses: Int
    let resumes: Int
    let rebalances: Int
    let budgetMebibytes: Double
    /// The highest `sluice_memory_used_bytes` and resident memory.
    let peakUsedMebibytes: Double
    let peakResidentMebibytes: Double
    let bars: [Bar]
}

/// The section `frozen`.
struct FrozenBench {
    private static let stops = 10
    private static let stopSeconds = 3.0
    /// Seconds that are measured before the first stop and after the last.
    private static let window = 12
    let options: Options
    /// It runs for more than a minute and a half, so it needs more events than other sections.
    private var events: Int { options.events * 10 }

    init(_ options: Options) { self.options = options }

    func run() async throws -> FrozenResult? {
        guard let directory = options.postgresDirectory else {
            say("\nfrozen: SKIPPED, no folder of a private server in SLUICE_BENCH_POSTGRES_DIR; scripts/bench names its own")
            return nil
        }
        return try await BenchSite.run("frozen", options) { site in
            say(
                "\nfrozen: \(Double(events).shown) upserts; the server's processes are stopped \(Self.stops) times for "
                    + "\(Int(Self.stopSeconds)) s, and run \(Int(Self.stopSeconds)) s in between")
            // In scattered order the cost of a row grows with the table, so before and after could not be compared.
            let drain = try await DrainSite.fill(
                site, events: events, isScattered: false, database: "sluice_bench_frozen")
            try await drain.place.database.renew()
            try await drain.place.database.migrate()
            let worker = SluiceWorker(program: options.sluicePath, settings: options.settings)
            let child = try await Blocking.run { try worker.start(drain.place, run: 0) }
            let outcome: Result<FrozenResult, any Error>
            do {
                outcome = .success(try await measure(child, PrivateServer(directory: directory), drain))
            } catch {
                outcome = .failure(error)
            }
            try await Blocking.run { child.end(within: 30) }
            try await drain.place.database.drop()
            return try outcome.get()
        }
    }

    private func measure(_ child: Child, _ server: PrivateServer, _ drain: DrainSite) async throws -> FrozenResult {
        let events = events
        let (observed, before, after) = try await Blocking.run {
            let metrics = try WorkerMetrics(of: child)
            var watch = FrozenWatch(child: child, metrics: metrics)
            try watch.waitUntil(applied: 100_000)
            // Caches are empty in the first second.
            _ = try watch.rates(seconds: 1)
            let rebalances = watch.rebalances
            let before = try watch.rates(seconds: Self.window)
            say("  before    \(Runs(before).median.shown) records/s")
            for stop in 1...Self.stops {
                try server.frozen { try watch.sample(for: Self.stopSeconds) }
                try watch.sample(for: Self.stopSeconds)
                say(
                    "  stop \(pad("\(stop)", 4)) pauses \(watch.pauses), resumes \(watch.resumes), resident "
                        + "\(watch.residentMebibytes.shown) MiB")
            }
            let after = try watch.rates(seconds: Self.window)
            // A lane whose partitions are drained is idle, which would look like a slow recovery.
            guard watch.leastLag > 0 else {
                throw BenchError("a partition was drained before the last measurement: --events \(options.events * 2) would do")
            }
            say("  after     \(Runs(after).median.shown) records/s")
            try watch.waitUntil(applied: Double(events))
            try watch.waitUntilResumed()
            watch.rebalances -= rebalances
            return (watch, before, after)
        }
        let rows = try await drain.place.database.withSession { try $0.execute("SELECT count(*) FROM messages").int64(0, 0) }
        guard rows == Int64(events) else { throw BenchError("\(rows) of \(events) rows are in the table") }
        let ratio = Runs(after).median / Runs(before).median
        let bars = [
            Bar("records/s after recovery, of those before", ratio, .atLeast, 0.85),
            Bar("pauses without a resume", Double(observed.pauses - observed.resumes), .atMost, 0),
            Bar("rebalances", Double(observed.rebalances), .atMost, 0),
            Bar("resident MiB above the budget", observed.peakResident - observed.budgetMebibytes, .atMost, 80),
        ]
        say(
            "  memory    \(observed.peakUsed.shown) MiB used at most of \(observed.budgetMebibytes.shown), "
                + "\(observed.peakResident.shown) MiB resident at most")
        for bar in bars { bar.show() }
        return FrozenResult(
            events: events, stops: Self.stops, stopSeconds: Self.stopSeconds, before: Runs(before), after: Runs(after),
            pauses: observed.pauses, resumes: observed.resumes, rebalances: observed.rebalances,
            budgetMebibytes: observed.budgetMebibytes, peakUsedMebibytes: observed.peakUsed,
            peakResidentMebibytes: observed.peakResident, bars: bars)
    }
}
