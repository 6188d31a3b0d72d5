// Reads the command line and the environment.

import Foundation

/// What is measured, and for how long.
struct Options: Sendable {
    enum Section: String, CaseIterable {
        case micro, loader, drain, strategies, sparse, gaps, shapes, skew, latency
        case loadedLatency = "loaded-latency"
        case budgets, frozen, shed, ingress, overload

        static let names = allCases.map(\.rawValue).joined(separator: "|")
    }

    var sections: [Section] = Section.allCases
    /// Rows a run of the loader writes.
    var rows = 2_000_000
    /// Events in the topic that is drained; ten times as many for the section `frozen`.
    var events = 2_000_000
    /// Runs of the same thing; the median counts. `nil`: five of the drain, seven of wrk, three elsewhere.
    var runs: Int?
    /// Seconds after which a section begins no further round.
    var seconds = 900.0
    /// Seconds of one round of a latency, of wrk or of an overload, or for which the database is stopped. `nil`: 16 idle, 20 beside a load,
    /// 3, 60, 60.
    var roundSeconds: Int?
    var referencePath: String?
    var naivePath: String?
    var ingressPath: String?
    /// Fills a topic with transactions.
    var transactionsPath: String?
    /// An earlier build of `sluice` to alternate with.
    var previousPath: String?
    var sluicePath = Options.sibling("sluice")
    var loadtestPath = Options.sibling("sluice-loadtest")
    /// Where the plot of the section shed goes.
    var plotPath = ".sluice/shed.svg"
    /// Settings of the worker that differ from the defaults, by key.
    var settings: [String: String] = [:]
    var resultsDirectory = "Benchmarks/results"
    /// Where sections keep Kafka's log, each in a folder of its own.
    var brokerFolder = "\(FileManager.default.currentDirectoryPath)/.sluice"
    /// Where the profile of one run of the worker goes.
    var perfPath: String?
    let postgresURI = Options.environment("SLUICE_BENCH_POSTGRES_URI")
    /// Where scripts/private-postgres runs that server.
    let postgresDirectory = Options.environment("SLUICE_BENCH_POSTGRES_DIR")
    let kafkaHome = Options.environment("KAFKA_HOME")

    static let help = """
        usage: sluice-bench [\(Section.names)|all] [OPTIONS]

          micro           the steps of the hot path one by one, each as a ratio to a reference
          loader          upserts straight into PostgreSQL, over 1, 2 and 3 connections: the limit of the database
          drain           the worker on a filled topic of a real Kafka, compared with a bare worker
          strategies      the drain with each way of writing the table: coalesce, rounds, sequential
          sparse          the drain of events that lack half of ten optional fields, compared with complete ones
          gaps            the drain of a compacted topic and of transactions of 100 records, compared with a plain one
          shapes          the drain of Debezium's events, of ten types, with versions, without a key, and beside bad records
          skew            the drain of a million keys by Zipf's law, with and without change capture, compared with uniform
          latency         produce to visible at 50 events/s, compared with one message, one statement, one commit
          loaded-latency  the same at half of the highest rate the worker sustains, compared with a bare worker
          budgets         the drain within memory budgets of 48, 64, 128 and 256 MiB, and without the fetch wake-up
          frozen          one drain whose server is stopped and continued ten times
          shed            clients that post while the server is stopped for a minute: what is shed, drawn as SVG
          ingress         POST /send under wrk, one event and a thousand a request, compared with a bare ingress
          overload        ten times what a limit allows for a minute: what is admitted, how fast, and whether Retry-After holds

          --rows N           loader: rows a run (2000000)
          --events N         drain, budgets: events in the topic (2000000); frozen: ten times as many; strategies,
                             sparse, gaps, shapes, skew: a quarter
          --runs N           runs of each kind, the median counts (drain 5, ingress 7, elsewhere 3)
          --round S          latency, loaded-latency: seconds of a run (16, 20); shed: seconds of the freeze (60);
                             ingress: of a run of wrk (3); overload: of the overload (60)
          --seconds S        loader, drain, budgets: begin no further round after that time (900)
          --set KEY=VALUE    a setting of the worker, such as postgres.connections=4; may be repeated
          --reference FILE   drain, loaded-latency: another bare worker (or SLUICE_BENCH_REFERENCE)
          --bare-ingress FILE  ingress: another bare ingress (or SLUICE_BENCH_INGRESS)
          --loadtest FILE    shed, overload, shapes, skew: the load generator (the `sluice-loadtest` next to this program)
          --plot FILE        shed: where the plot goes (.sluice/shed.svg)
          --naive FILE       latency: another naive consumer (or SLUICE_BENCH_NAIVE)
          --previous FILE    drain, ingress: an earlier build of `sluice` to alternate with; ingress then leaves the bare one out
          --sluice FILE      the worker (the `sluice` next to this program)
          --broker FOLDER    the folder of Kafka's log (.sluice); /dev/shm keeps it in memory
          --perf FILE        drain: record the worker's first run with `perf record -g` into FILE
          --results FOLDER   where the JSON goes (Benchmarks/results)

        Environment: SLUICE_BENCH_POSTGRES_URI, a server whose role may create databases; SLUICE_BENCH_POSTGRES_DIR, the
        folder in which scripts/private-postgres runs it; KAFKA_HOME, an unpacked Apache Kafka. A section that lacks
        something says SKIPPED. scripts/bench provides all.
        """

    /// `nil`: the help was asked for.
    static func parse(_ arguments: [String]) throws -> Options? {
        var options = Options()
        options.referencePath = environment("SLUICE_BENCH_REFERENCE")
        options.naivePath = environment("SLUICE_BENCH_NAIVE")
        options.ingressPath = environment("SLUICE_BENCH_INGRESS")
        options.transactionsPath = environment("SLUICE_BENCH_TRANSACTIONS")
        var rest = arguments[...]
        if let name = rest.first, !name.hasPrefix("-") {
            rest = rest.dropFirst()
            guard name == "all" || Section(rawValue: name) != nil else {
                throw BenchError("'\(name)' is no section: \(Section.names)|all", isUsage: true)
            }
            options.sections = Section(rawValue: name).map { [$0] } ?? Section.allCases
        }
        while let name = rest.popFirst() {
            if name == "--help" || name == "-h" { return nil }
            guard let value = rest.popFirst() else { throw BenchError("\(name) needs a value; see --help", isUsage: true) }
            try options.set(name, value)
        }
        return options
    }

    private mutating func set(_ name: String, _ value: String) throws {
        switch name {
        case "--rows": rows = try Options.count(name, value)
        case "--events": events = try Options.count(name, value)
        case "--runs": runs = try Options.count(name, value)
        case "--seconds": seconds = Double(try Options.count(name, value))
        case "--round": roundSeconds = try Options.count(name, value)
        case "--reference": referencePath = value
        case "--naive": naivePath = value
        case "--bare-ingress": ingressPath = value
        case "--sluice": sluicePath = value
        case "--previous": previousPath = value
        case "--broker": brokerFolder = value
        case "--loadtest": loadtestPath = value
        case "--plot": plotPath = value
        case "--perf": perfPath = value
        case "--results": resultsDirectory = value
        case "--set":
            let parts = value.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw BenchError("--set wants KEY=VALUE, not '\(value)'", isUsage: true) }
            settings[parts[0]] = parts[1]
        default: throw BenchError("unknown option \(name); see --help", isUsage: true)
        }
    }

    private static func count(_ name: String, _ value: String) throws -> Int {
        guard let count = Int(value), count > 0, count <= 100_000_000 else {
            throw BenchError("\(name) wants a number from 1 to 100000000, not '\(value)'", isUsage: true)
        }
        return count
    }

    /// Before a section that starts it waits for its servers.
    func requireLoadGenerator() throws {
        guard FileManager.default.isExecutableFile(atPath: loadtestPath) else {
            throw BenchError("there is no load generator at \(loadtestPath): swift build -c release --product sluice-loadtest")
        }
    }

    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func sibling(_ name: String) -> String {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent(name).path
    }
}
