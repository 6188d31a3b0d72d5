// Measures the main job end to end: a filled topic of a real Kafka into a fresh table, the worker and a bare one in turn.

import Postgres

/// What one program's drains came to.
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
    let bare: DrainFigures?

    /// Medians against medians; empty where there was nobody to compare with.
    var bars: [Bar] {
        guard let bare else { return [] }
        return [
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
            if let path = options.referencePath { workers.append(BareWorker(program: path, events: options.events)) }
            let runs = try await drain.rounds(workers, options, runs: options.runs ?? 5)
            let database = drain.place.database
            let version = try await database.withSession { try $0.execute("SHOW server_version").text(0, 0) }
            try await database.drop()
            let result = DrainResult(
                events: options.events, partitions: BenchSite.partitions, settings: options.settings, serverVersion: version,
                sluice: DrainFigures(runs[0]), bare: runs.count > 1 ? DrainFigures(runs[1]) : nil)
            show(result)
            return result
        }
    }

    private func show(_ result: DrainResult) {
        result.sluice.show("sluice")
        guard let bare = result.bare else { return say("  bare    SKIPPED, no bare worker was named (--reference)") }
        bare.show("bare")
        for bar in result.bars { bar.show() }
    }
}
