// Measures the main job end to end: from a filled topic of a real Kafka into a fresh table, alternating between the worker and a bare one.

import Postgres

/// The figures of one program's drains.
struct DrainFigures: Codable, Sendable {
    let rowsPerSecond: Runs
    let cpuSecondsPerMillion: Runs
    let peakMebibytes: Runs

    init(_ runs: [DrainRun]) {
        rowsPerSecond = Runs(runs.map(\.rowsPerSecond))
        cpuSecondsPerMillion = Runs(runs.map(\.cpuSecondsPerMillion))
        peakMebibytes = Runs(runs.map(\.peakMebibytes))
    }

    /// Prints one line.
    func show(_ name: String) {
        say(
            "  \(pad(name, 10)) median of \(rowsPerSecond.values.count): \(rowsPerSecond.median.shown) rows/s, "
                + "\(cpuSecondsPerMillion.median.shown) CPU s a million, peak \(peakMebibytes.highest.shown) MiB")
    }
}

/// What the section `drain` measured.
struct DrainResult: Codable, Sendable {
    let events: Int
    let partitions: Int
    let settings: [String: String]
    let serverVersion: String
    let sluice: DrainFigures
    /// An earlier build in the same rounds.
    let previous: DrainFigures?
    let bare: DrainFigures?

    /// Ratios of medians; empty if there is no other program.
    var bars: [Bar] {
        var bars: [Bar] = []
        if let previous {
            // Round by round, because the machine's speed changes between rounds.
            let ratio = sluice.rowsPerSecond.ratio(to: previous.rowsPerSecond)
            bars.append(Bar("rows/s, × the previous build's", ratio, .atLeast, 0.97))
        }
        guard let bare else { return bars }
        return bars + [
            Bar("rows/s, of the bare worker's", sluice.rowsPerSecond.median / bare.rowsPerSecond.median, .atLeast, 0.92),
            Bar("CPU, × the bare worker's", sluice.cpuSecondsPerMillion.median / bare.cpuSecondsPerMillion.median, .atMost, 1.8),
            Bar("peak MiB", sluice.peakMebibytes.highest, .atMost, 130),
        ]
    }
}

/// The section `drain`.
struct DrainBench {
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> DrainResult? {
        try await BenchSite.run("drain", options) { site in
            say("\ndrain: \(Double(options.events).shown) upserts on \(BenchSite.partitions) partitions into a fresh table")
            let drain = try await DrainSite.fill(site, events: options.events, database: "sluice_bench_drain")
            var workers: [any DrainWorker] = [SluiceWorker(program: options.sluicePath, settings: options.settings)]
            if let path = options.previousPath {
                workers.append(SluiceWorker(program: path, settings: options.settings, name: "previous"))
            }
            if let path = options.referencePath { workers.append(BareWorker(program: path, events: options.events)) }
            let runs = try await drain.rounds(workers, options, runs: options.runs ?? 5)
            let database = drain.place.database
            let version = try await database.withSession { try $0.execute("SHOW server_version").text(0, 0) }
            try await database.drop()
            let result = DrainResult(
                events: options.events, partitions: BenchSite.partitions, settings: options.settings, serverVersion: version,
                sluice: DrainFigures(runs[0]), previous: options.previousPath.map { _ in DrainFigures(runs[1]) },
                bare: options.referencePath.map { _ in DrainFigures(runs[runs.count - 1]) })
            show(result)
            return result
        }
    }

    private func show(_ result: DrainResult) {
        result.sluice.show("sluice")
        result.previous?.show("previous")
        if let bare = result.bare { bare.show("bare") } else { say("  bare    SKIPPED, no bare worker was named (--reference)") }
        for bar in result.bars { bar.show() }
    }
}
