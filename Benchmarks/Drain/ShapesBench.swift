// Measures drains of the same rows in other events, into other tables, with other mappings, and beside a mapping of bad records.

import Foundation

/// What the section `shapes` measured.
struct ShapesResult: Codable, Sendable {
    let events: Int
    /// By the name of the shape.
    let figures: [String: DrainFigures]
    let bars: [Bar]
}

/// The section `shapes`.
struct ShapesBench {
    private static let shapes: [(shape: DrainShape, bar: Double)] = [
        (.debezium, 0.7), (.mixed, 0.6), (.version, 0.8), (.append, 1.2),
    ]
    /// The topic of a second mapping, of which every record is bad, and how many of them come a second.
    private static let poison = "poison"
    private static let poisonRate = 100
    let options: Options
    private var events: Int { max(options.events / 4, 1) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> ShapesResult? {
        try options.requireLoadGenerator()
        return try await BenchSite.run("shapes", options) { site in
            say("\nshapes: \(Double(events).shown) upserts as plain events, in other shapes, and beside a mapping of bad records")
            var entries: [(site: DrainSite, worker: any DrainWorker)] = []
            for shape in [.plain] + Self.shapes.map(\.shape) {
                // The plain events are read into the table without a key, too.
                let topic = (shape == .append ? .plain : shape).rawValue
                if shape != .append {
                    try await site.createTopic(topic)
                    try await TopicFill.fill(topic, count: events, data: shape.data, address: site.kafka.address)
                }
                var place = site.place(topic: topic, database: "sluice_bench_shapes")
                place.shape = shape
                let worker = SluiceWorker(program: options.sluicePath, settings: options.settings, name: shape.rawValue)
                entries.append((DrainSite(place: place, events: events), worker))
            }
            let bad = try await produceBadRecords(site)
            let outcome: Result<[[DrainRun]], any Error>
            do {
                let worker = SluiceWorker(
                    program: options.sluicePath, settings: options.settings, name: Self.poison,
                    otherMapping: DrainShape.otherMapping(topic: Self.poison))
                let rounds = entries + [(entries[0].site, worker)]
                outcome = .success(try await DrainSite.rounds(rounds, options, runs: options.runs ?? 3))
            } catch {
                outcome = .failure(error)
            }
            try await Blocking.run { bad.end(within: 30) }
            let figures = try outcome.get().map { DrainFigures($0) }
            try await entries[0].site.place.database.drop()
            let names = entries.map(\.worker.name) + [Self.poison]
            for (name, figures) in zip(names, figures) { figures.show(name) }
            let bars = zip(names, figures).dropFirst().map { name, shaped in
                Bar(
                    "\(name), rows/s of plain", shaped.rowsPerSecond.ratio(to: figures[0].rowsPerSecond), .atLeast,
                    Self.shapes.first { $0.shape.rawValue == name }?.bar ?? 0.9)
            }
            for bar in bars { bar.show() }
            return ShapesResult(events: events, figures: Dictionary(uniqueKeysWithValues: zip(names, figures)), bars: bars)
        }
    }

    /// Produces bad records until the process is ended.
    private func produceBadRecords(_ site: BenchSite) async throws -> Child {
        try await site.createTopic(Self.poison)
        let program = options.loadtestPath
        return try await Blocking.run {
            try Child(
                "sluice-loadtest", program,
                [
                    "--target", "kafka", "--brokers", site.kafka.address, "--topic", Self.poison, "--rate", "\(Self.poisonRate)",
                    "--duration", "86400", "--bad-fraction", "1",
                ], log: "\(site.folder)/poison.log")
        }
    }
}
