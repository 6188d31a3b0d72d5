// Measures what each way of writing the table costs: the same drain under coalesce, rounds and sequential.

/// What the section `strategies` measured.
struct StrategiesResult: Codable, Sendable {
    let events: Int
    let coalesce: DrainFigures
    let rounds: DrainFigures
    let sequential: DrainFigures
}

/// The section `strategies`.
struct StrategiesBench {
    private static let names = ["coalesce", "rounds", "sequential"]
    let options: Options
    /// The sequential drain takes several times as long as the others.
    private var events: Int { max(options.events / 4, 1) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> StrategiesResult? {
        try await BenchSite.run("strategies", options) { site in
            say("\nstrategies: \(Double(events).shown) upserts on \(BenchSite.partitions) partitions, written in three ways")
            let drain = try await DrainSite.fill(site, events: events, database: "sluice_bench_strategies")
            let workers = Self.names.map {
                SluiceWorker(program: options.sluicePath, settings: options.settings, name: $0, write: $0)
            }
            let runs = try await drain.rounds(workers, options, runs: options.runs ?? 3).map { DrainFigures($0) }
            try await drain.place.database.drop()
            for (name, figures) in zip(Self.names, runs) { figures.show(name) }
            for (name, figures) in zip(Self.names, runs).dropFirst() {
                say("  \(name): \(figures.rowsPerSecond.ratio(to: runs[0].rowsPerSecond).shown) of coalesce (no bar)")
            }
            return StrategiesResult(events: events, coalesce: runs[0], rounds: runs[1], sequential: runs[2])
        }
    }
}
