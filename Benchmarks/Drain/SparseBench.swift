// Measures the drain of events that lack optional fields.

/// What the section `sparse` measured.
struct SparseResult: Codable, Sendable {
    let events: Int
    /// Every event has all fields.
    let complete: DrainFigures
    /// Each event has each field at random, half of them on average.
    let sparse: DrainFigures
    let bars: [Bar]
}

/// The section `sparse`.
struct SparseBench {
    let options: Options
    private var events: Int { max(options.events / 4, 1) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> SparseResult? {
        try await BenchSite.run("sparse", options) { site in
            say(
                "\nsparse: \(Double(events).shown) upserts with \(EventStream.fields) optional fields, all or half of them present"
            )
            let kinds: [(name: String, data: EventStream.Data)] = [("complete", .allFields), ("sparse", .halfOfFields)]
            var entries: [(site: DrainSite, worker: any DrainWorker)] = []
            for (name, data) in kinds {
                var place = site.place(topic: name, database: "sluice_bench_sparse")
                place.shape = .fields
                try await site.createTopic(name)
                try await TopicFill.fill(name, count: events, data: data, address: place.brokers)
                let worker = SluiceWorker(program: options.sluicePath, settings: options.settings, name: name)
                entries.append((DrainSite(place: place, events: events), worker))
            }
            let figures = try await DrainSite.rounds(entries, options, runs: options.runs ?? 3).map { DrainFigures($0) }
            try await entries[0].site.place.database.drop()
            for (kind, figures) in zip(kinds, figures) { figures.show(kind.name) }
            let bar = Bar(
                "half of the fields, rows/s of complete events", figures[1].rowsPerSecond.ratio(to: figures[0].rowsPerSecond),
                .atLeast, 0.8)
            bar.show()
            return SparseResult(events: events, complete: figures[0], sparse: figures[1], bars: [bar])
        }
    }
}
