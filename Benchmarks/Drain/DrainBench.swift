// Measures the main job end to end: a filled topic of a real Kafka into a fresh table, the worker and a bare one in turn.

import Foundation
import Glibc
import Kafka
import Postgres
import Telemetry

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
}

/// What the section `drain` measured.
struct DrainResult: Codable, Sendable {
    let events: Int
    let partitions: Int
    let settings: [String: String]
    let serverVersion: String
    let sluice: DrainFigures
    let bare: DrainFigures?

    /// Medians against medians.
    var rateRatio: Double? { bare.map { sluice.rowsPerSecond.median / $0.rowsPerSecond.median } }
    var cpuRatio: Double? { bare.map { sluice.cpuSecondsPerMillion.median / $0.cpuSecondsPerMillion.median } }
}

/// The section `drain`.
struct DrainBench {
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> DrainResult? {
        guard let server = options.postgresURI else {
            say("\ndrain: SKIPPED, no server in SLUICE_BENCH_POSTGRES_URI; scripts/bench starts a private one")
            return nil
        }
        guard let home = options.kafkaHome else {
            say("\ndrain: SKIPPED, no KAFKA_HOME: unpack Apache Kafka (https://kafka.apache.org/downloads) and name its folder")
            return nil
        }
        guard FileManager.default.isExecutableFile(atPath: options.sluicePath) else {
            throw BenchError("there is no worker at \(options.sluicePath): swift build -c release --product sluice")
        }
        let folder = "\(FileManager.default.currentDirectoryPath)/.sluice/bench-drain-\(getpid())"
        let kafka = try await Blocking.run { try KafkaServer.start(home: home, folder: folder) }
        let outcome: Result<DrainResult, any Error>
        do { outcome = .success(try await run(kafka, server, folder)) } catch { outcome = .failure(error) }
        try await Blocking.run { try kafka.stop() }
        return try outcome.get()
    }

    private func run(_ kafka: KafkaServer, _ server: String, _ folder: String) async throws -> DrainResult {
        try await Blocking.run { try kafka.createTopic(DrainPlace.topic, partitions: DrainPlace.partitions) }
        say("\ndrain: \(Double(options.events).shown) upserts on \(DrainPlace.partitions) partitions into a fresh table")
        var watch = MonotonicClock.nanoseconds()
        try await TopicFill.fill(DrainPlace.topic, count: options.events, address: kafka.address)
        let seconds = Double(MonotonicClock.nanoseconds() - watch) / 1e9
        say("  filled at \((Double(options.events) / seconds).shown) events/s")
        let place = DrainPlace(
            database: BenchDatabase(server: server, name: "sluice_bench_drain"), brokers: kafka.address, folder: folder)
        var workers: [any DrainWorker] = [SluiceWorker(program: options.sluicePath, settings: options.settings)]
        if let path = options.referencePath { workers.append(BareWorker(program: path, events: options.events)) }
        var runs = workers.map { _ in [DrainRun]() }
        watch = MonotonicClock.nanoseconds()
        for round in 0..<(options.runs ?? 5) {
            if round > 0, Double(MonotonicClock.nanoseconds() - watch) / 1e9 > options.seconds { break }
            // Who begins changes, so that neither always follows the other.
            for index in workers.indices.map({ ($0 + round) % workers.count }) {
                let run = try await drain(workers[index], place, run: round)
                say(
                    "  \(pad(workers[index].name, 7)) \(pad(run.rowsPerSecond.shown, 9)) rows/s   "
                        + "\(run.cpuSecondsPerMillion.shown) CPU s a million   peak \(run.peakMebibytes.shown) MiB")
                runs[index].append(run)
            }
        }
        let version = try await place.database.withSession { try $0.execute("SHOW server_version").text(0, 0) }
        try await place.database.drop()
        let result = DrainResult(
            events: options.events, partitions: DrainPlace.partitions, settings: options.settings, serverVersion: version,
            sluice: DrainFigures(runs[0]), bare: runs.count > 1 ? DrainFigures(runs[1]) : nil)
        show(result)
        return result
    }

    private func drain(_ worker: any DrainWorker, _ place: DrainPlace, run: Int) async throws -> DrainRun {
        try await place.database.renew()
        try await place.database.migrate()
        let child = try await Blocking.run { try worker.start(place, run: run) }
        var profile: Child?
        if run == 0, let path = options.perfPath, worker is SluiceWorker {
            profile = try Child(
                "perf", "/usr/bin/perf", ["record", "-g", "-F", "499", "-o", path, "-p", "\(child.pid)"],
                log: place.folder + "/perf.log")
        }
        let outcome: Result<DrainRun, any Error>
        do {
            outcome = .success(try await DrainWatch(database: place.database, rows: options.events).watch(child))
        } catch {
            outcome = .failure(error)
        }
        try await Blocking.run { [profile] in
            child.end(within: 30)
            profile?.end(within: 30)
        }
        return try outcome.get()
    }

    private func show(_ result: DrainResult) {
        func line(_ name: String, _ figures: DrainFigures) {
            say(
                "  \(pad(name, 7)) median of \(figures.rowsPerSecond.values.count): "
                    + "\(figures.rowsPerSecond.median.shown) rows/s, \(figures.cpuSecondsPerMillion.median.shown) CPU s a million, "
                    + "peak \(figures.peakMebibytes.highest.shown) MiB")
        }
        line("sluice", result.sluice)
        guard let bare = result.bare, let rate = result.rateRatio, let cpu = result.cpuRatio else {
            return say("  bare    SKIPPED, no bare worker was named (--reference)")
        }
        line("bare", bare)
        say("  ratio   \(rate.shown) of the bare worker's rows/s with \(cpu.shown) × its CPU")
    }
}
