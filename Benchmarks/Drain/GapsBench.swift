// Measures the drain of logs whose offsets have gaps: a compacted topic, and transactions.

import Foundation
import Platform

/// What the section `gaps` measured.
struct GapsResult: Codable, Sendable {
    let events: Int
    let plain: DrainFigures
    /// A hole before every second record.
    let compacted: DrainFigures
    /// A commit marker after every 100 records.
    let transactions: DrainFigures
    let bars: [Bar]
}

/// The section `gaps`. The three topics hold the same events, and each lead to the same table.
struct GapsBench {
    private static let recordsPerTransaction = 100
    /// Time for the broker's log cleaner, seconds.
    private static let cleaningTime = 180.0
    let options: Options
    private var events: Int { max(options.events / 4, BenchSite.partitions * 100) }

    init(_ options: Options) { self.options = options }

    func run() async throws -> GapsResult? {
        guard let program = options.transactionsPath else {
            say("\ngaps: SKIPPED, no program in SLUICE_BENCH_TRANSACTIONS; scripts/bench builds one")
            return nil
        }
        return try await BenchSite.run("gaps", options) { site in
            say("\ngaps: \(Double(events).shown) upserts on \(BenchSite.partitions) partitions, in logs without and with gaps")
            let sites = [
                ("plain", try await plain(site)), ("compacted", try await compacted(site)),
                ("transact.", try await transactions(site, program)),
            ]
            let entries = sites.map { name, drain in
                (drain, SluiceWorker(program: options.sluicePath, settings: options.settings, name: name) as any DrainWorker)
            }
            let figures = try await DrainSite.rounds(entries, options, runs: options.runs ?? 3).map { DrainFigures($0) }
            try await sites[0].1.place.database.drop()
            for (site, figures) in zip(sites, figures) { figures.show(site.0) }
            let bars = zip(["a compacted topic", "transactions of \(Self.recordsPerTransaction)"], figures.dropFirst()).map {
                Bar("\($0), rows/s of the plain topic", $1.rowsPerSecond.ratio(to: figures[0].rowsPerSecond), .atLeast, 0.8)
            }
            for bar in bars { bar.show() }
            return GapsResult(
                events: events, plain: figures[0], compacted: figures[1], transactions: figures[2], bars: bars)
        }
    }

    private func place(_ site: BenchSite, _ topic: String) -> DrainSite {
        DrainSite(place: site.place(topic: topic, database: "sluice_bench_gaps"), events: events)
    }

    private func plain(_ site: BenchSite) async throws -> DrainSite {
        try await site.createTopic("plain")
        try await TopicFill.fill("plain", count: events, address: site.kafka.address)
        return place(site, "plain")
    }

    /// Every second event is produced twice, and the broker removes the first of the two.
    private func compacted(_ site: BenchSite) async throws -> DrainSite {
        // The cleaner does not touch the segment that is written, so a new one is begun after each second.
        try await site.createTopic(
            "compacted",
            configuration: ["cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "segment.ms": "1000"])
        try await TopicFill.fill("compacted", count: events, isDoubled: true, address: site.kafka.address)
        let whole = try site.kafka.bytes(of: "compacted")
        try await Task.sleep(for: .seconds(2))
        // The next record of a partition begins the new segment.
        try await TopicFill.fill("compacted", count: events, limit: BenchSite.partitions * 50, address: site.kafka.address)
        let begun = MonotonicClock.nanoseconds()
        // Two of three records stay.
        while Double(try site.kafka.bytes(of: "compacted")) > 0.72 * Double(whole) {
            guard Double(MonotonicClock.nanoseconds() - begun) / 1e9 < Self.cleaningTime else {
                throw BenchError("the broker has not compacted the topic within \(Int(Self.cleaningTime)) s")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
        return place(site, "compacted")
    }

    private func transactions(_ site: BenchSite, _ program: String) async throws -> DrainSite {
        try await site.createTopic("transactions")
        let file = site.folder + "/transactions.tsv"
        try await Blocking.run { [events] in
            var stream = EventStream(count: events)
            var text = Data()
            while stream.withNext({ key, value in
                text.append(contentsOf: key)
                text.append(UInt8(ascii: "\t"))
                text.append(contentsOf: value)
                text.append(UInt8(ascii: "\n"))
            }) {}
            try text.write(to: URL(fileURLWithPath: file))
            try Child(
                "transactions", program,
                [site.kafka.address, "transactions", "\(BenchSite.partitions)", "\(Self.recordsPerTransaction)", file],
                log: site.folder + "/transactions.log"
            ).wait()
        }
        return place(site, "transactions")
    }
}
