// A filled topic, which is drained several times, each time into a fresh table.

import Foundation
import Platform
import Postgres

/// A topic of upserts that workers drain.
struct DrainSite: Sendable {
    let place: DrainPlace
    let events: Int
    /// Several events have one row.
    var hasRepeatedKeys = false

    /// Creates and fills the topic.
    static func fill(_ site: BenchSite, events: Int, isScattered: Bool = true, database: String) async throws -> DrainSite {
        let place = site.place(topic: "messages", database: database)
        try await site.createTopic(place.topic)
        let begun = MonotonicClock.nanoseconds()
        try await TopicFill.fill(
            place.topic, count: events, isScattered: isScattered, address: place.brokers)
        let seconds = Double(MonotonicClock.nanoseconds() - begun) / 1e9
        say("  filled at \((Double(events) / seconds).shown) events/s")
        return DrainSite(place: place, events: events)
    }

    /// Starts a worker with an empty database, waits until all rows are there, and ends it.
    func drain(_ worker: any DrainWorker, run: Int, perf: String? = nil) async throws -> DrainRun {
        try await place.prepare()
        let child = try await Blocking.run { try worker.start(place, run: run) }
        var profile: Child?
        if let perf {
            profile = try Child(
                "perf", "/usr/bin/perf", ["record", "-g", "-F", "499", "-o", perf, "-p", "\(child.pid)"],
                log: place.folder + "/perf.log")
        }
        let outcome: Result<DrainRun, any Error>
        do {
            outcome = .success(
                try await DrainWatch(database: place.database, rows: events, countsOffsets: hasRepeatedKeys).watch(child))
        } catch {
            outcome = .failure(error)
        }
        try await Blocking.run { [profile] in
            child.end(within: 30)
            profile?.end(within: 30)
        }
        return try outcome.get()
    }

    /// Drains with each worker in turn, `runs` times or until the time is over, and prints every run. Returns the runs of each worker.
    func rounds(_ workers: [any DrainWorker], _ options: Options, runs: Int) async throws -> [[DrainRun]] {
        try await Self.rounds(workers.map { (self, $0) }, options, runs: runs)
    }

    /// The same with a topic for each worker.
    static func rounds(
        _ entries: [(site: DrainSite, worker: any DrainWorker)], _ options: Options, runs: Int
    ) async throws -> [[DrainRun]] {
        var all = entries.map { _ in [DrainRun]() }
        var number = 0
        let begun = MonotonicClock.nanoseconds()
        for round in 0..<runs {
            if round > 0, Double(MonotonicClock.nanoseconds() - begun) / 1e9 > options.seconds { break }
            // The order changes from round to round.
            for index in entries.indices.map({ ($0 + round) % entries.count }) {
                let (site, worker) = entries[index]
                let isProfiled = round == 0 && index == 0
                let run = try await site.drain(worker, run: number, perf: isProfiled ? options.perfPath : nil)
                number += 1
                say(
                    "  \(pad(worker.name, 10)) \(pad(run.rowsPerSecond.shown, 9)) rows/s   "
                        + "\(run.cpuSecondsPerMillion.shown) CPU s a million   peak \(run.peakMebibytes.shown) MiB")
                all[index].append(run)
            }
        }
        return all
    }
}
