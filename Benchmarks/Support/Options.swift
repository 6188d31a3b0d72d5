// Reads the command line and the environment.

import Foundation

/// What is to be measured, and how long.
struct Options: Sendable {
    enum Section: String, CaseIterable { case micro, loader, drain }

    var sections: [Section] = Section.allCases
    /// Rows a run of the loader writes.
    var rows = 2_000_000
    /// Events in the topic that is drained.
    var events = 2_000_000
    /// Runs of the same thing; the median counts. `nil`: three of the loader, five of the drain.
    var runs: Int?
    /// Seconds after which a section begins no further round.
    var seconds = 900.0
    var referencePath: String?
    var sluicePath = Options.sibling("sluice")
    /// Settings of the worker beside the shipped ones, by key.
    var settings: [String: String] = [:]
    var resultsDirectory = "Benchmarks/results"
    /// Where the profile of one run of the worker goes.
    var perfPath: String?
    let postgresURI = Options.environment("SLUICE_BENCH_POSTGRES_URI")
    let kafkaHome = Options.environment("KAFKA_HOME")

    static let help = """
        usage: sluice-bench [micro|loader|drain|all] [OPTIONS]

          micro    the steps of the hot path one by one, each as a ratio to something measured beside it
          loader   upserts straight into PostgreSQL, over 1, 2 and 3 connections: the limit of the database
          drain    the worker on a filled topic of a real Kafka, beside a bare worker where one is given

          --rows N           loader: rows a run (2000000)
          --events N         drain: events in the topic (2000000)
          --runs N           loader, drain: runs of each kind, the median counts (loader 3, drain 5)
          --seconds S        begin no further round of a section after so long (900)
          --set KEY=VALUE    drain: a setting of the worker, such as postgres.connections=4; may be repeated
          --reference FILE   drain: a bare worker to alternate with (or SLUICE_BENCH_REFERENCE)
          --sluice FILE      drain: the worker (the `sluice` beside this program)
          --perf FILE        drain: record the worker's first run with `perf record -g` into FILE
          --results FOLDER   where the JSON goes (Benchmarks/results)

        Environment: SLUICE_BENCH_POSTGRES_URI, a server whose role may create databases; KAFKA_HOME, an unpacked
        Apache Kafka. A section that lacks its server says SKIPPED. scripts/bench provides both.
        """

    /// `nil`: the help was asked for.
    static func parse(_ arguments: [String]) throws -> Options? {
        var options = Options()
        options.referencePath = environment("SLUICE_BENCH_REFERENCE")
        var rest = arguments[...]
        if let name = rest.first, !name.hasPrefix("-") {
            rest = rest.dropFirst()
            guard name == "all" || Section(rawValue: name) != nil else {
                throw BenchError("'\(name)' is no section: micro, loader, drain or all", isUsage: true)
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
        case "--reference": referencePath = value
        case "--sluice": sluicePath = value
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

    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func sibling(_ name: String) -> String {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent(name).path
    }
}
