// Measures what memory buys: the same drain within budgets of several sizes, and without the fetch wake-up.

import Postgres

/// What the section `budgets` measured.
struct BudgetResult: Codable, Sendable {
    struct Budget: Codable, Sendable {
        let mebibytes: Int
        let figures: DrainFigures
    }

    let events: Int
    let budgets: [Budget]
    /// 64 MiB with `kafka.fetch_wakeup` off.
    let withoutFetchWakeUp: DrainFigures
    let bars: [Bar]
}

/// The section `budgets`.
struct BudgetBench {
    private static let mebibytes = [48, 64, 128, 256]
    private static let budgetKey = "pipeline.memory_budget_bytes"
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> BudgetResult? {
        try await BenchSite.run("budgets", options) { site in
            say(
                "\nbudgets: \(Double(options.events).shown) upserts on \(BenchSite.partitions) partitions, within "
                    + "\(Self.mebibytes.map(String.init).joined(separator: ", ")) MiB, and within 64 without the fetch wake-up")
            let drain = try await DrainSite.fill(site, events: options.events, database: "sluice_bench_budgets")
            var workers = Self.mebibytes.map { worker("\($0) MiB", [Self.budgetKey: "\($0)MiB"]) }
            workers.append(worker("no wake-up", [Self.budgetKey: "64MiB", "kafka.fetch_wakeup": "false"]))
            let runs = try await drain.rounds(workers, options, runs: options.runs ?? 3).map { DrainFigures($0) }
            try await drain.place.database.drop()
            for (worker, figures) in zip(workers, runs) { figures.show(worker.name) }
            let budgets = zip(Self.mebibytes, runs).map { BudgetResult.Budget(mebibytes: $0, figures: $1) }
            let best = budgets.map(\.figures.rowsPerSecond.median).max() ?? 0
            let bars = budgets.map {
                Bar("\($0.mebibytes) MiB, rows/s of the best", $0.figures.rowsPerSecond.median / best, .atLeast, 0.9)
            }
            for bar in bars { bar.show() }
            let slow = runs[Self.mebibytes.count]
            say("         no wake-up: \((slow.rowsPerSecond.median / best).shown) of the best (no bar)")
            return BudgetResult(events: options.events, budgets: budgets, withoutFetchWakeUp: slow, bars: bars)
        }
    }

    private func worker(_ name: String, _ settings: [String: String]) -> SluiceWorker {
        SluiceWorker(program: options.sluicePath, settings: options.settings.merging(settings) { $1 }, name: name)
    }
}
