// Measures drains in which some keys have most of the events.

import Foundation

/// What the section `skew` measured.
struct SkewResult: Codable, Sendable {
    let events: Int
    /// All keys alike; a few keys with most of the events. Into the table with change capture, and into the one without triggers.
    let capturedUniform: DrainFigures
    let capturedSkewed: DrainFigures
    let plainUniform: DrainFigures
    let plainSkewed: DrainFigures
    let bars: [Bar]
}

/// The section `skew`: events of a million keys, uniform and by Zipf's law with the exponent 1.1.
struct SkewBench {
    let options: Options
    private var events: Int { max(options.events / 4, 1) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> SkewResult? {
        try options.requireLoadGenerator()
        return try await BenchSite.run("skew", options) { site in
            say("\nskew: \(Double(events).shown) events of a million keys, uniform and by Zipf's law (1.1)")
            let topics = [("uniform", "0"), ("skewed", "1.1")]
            for (topic, exponent) in topics { try await fill(topic, exponent, site) }
            var entries: [(site: DrainSite, worker: any DrainWorker)] = []
            for shape in [DrainShape.captured, .plain] {
                for (topic, _) in topics {
                    var place = site.place(topic: topic, database: "sluice_bench_skew")
                    place.shape = shape
                    let worker = SluiceWorker(
                        program: options.sluicePath, settings: options.settings, name: "\(shape == .plain ? "" : "cdc ")\(topic)")
                    entries.append((DrainSite(place: place, events: events, hasRepeatedKeys: true), worker))
                }
            }
            let runs = try await DrainSite.rounds(entries, options, runs: options.runs ?? 3).map { DrainFigures($0) }
            try await entries[0].site.place.database.drop()
            for (entry, figures) in zip(entries, runs) { figures.show(entry.worker.name) }
            let bars = [
                Bar(
                    "with change capture, events/s of uniform", runs[1].rowsPerSecond.ratio(to: runs[0].rowsPerSecond), .atLeast,
                    0.35),
                Bar(
                    "without triggers, events/s of uniform", runs[3].rowsPerSecond.ratio(to: runs[2].rowsPerSecond), .atLeast, 1.2
                ),
            ]
            for bar in bars { bar.show() }
            return SkewResult(
                events: events, capturedUniform: runs[0], capturedSkewed: runs[1], plainUniform: runs[2], plainSkewed: runs[3],
                bars: bars)
        }
    }

    private func fill(_ topic: String, _ exponent: String, _ site: BenchSite) async throws {
        try await site.createTopic(topic)
        let (events, program) = (events, options.loadtestPath)
        try await Blocking.run {
            let load = try Child(
                "sluice-loadtest", program,
                [
                    "--target", "kafka", "--brokers", site.kafka.address, "--topic", topic, "--events", "\(events)", "--keys",
                    "1000000",
                    "--skew", exponent, "--mix", "0:0:0:1", "--payload-bytes", "100",
                ], log: "\(site.folder)/fill-\(topic).log")
            try load.wait()
        }
    }
}
