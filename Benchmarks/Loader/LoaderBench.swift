// Measures the limit of the database: rows written as fast as possible, without Kafka and JSON.

import Foundation
import Platform
import Postgres

/// What the loader measured.
struct LoaderResult: Codable, Sendable {
    struct Lanes: Codable, Sendable {
        let connections: Int
        let rowsPerSecond: Runs
    }

    let rows: Int
    let batch: Int
    let serverVersion: String
    let byConnections: [Lanes]

    /// The highest rate over all numbers of connections.
    var best: Double { byConnections.map(\.rowsPerSecond.median).max() ?? 0 }
}

/// The section `loader`.
struct LoaderBench {
    static let batch = 5_000
    let options: Options

    init(_ options: Options) { self.options = options }

    func run() async throws -> LoaderResult? {
        guard let server = options.postgresURI else {
            say("\nloader: SKIPPED, no server in SLUICE_BENCH_POSTGRES_URI; scripts/bench starts a private one")
            return nil
        }
        let database = BenchDatabase(server: server, name: "sluice_bench_loader")
        let connections = [1, 2, 3]
        let runs = options.runs ?? 3
        say(
            "\nloader: upsert of \(Double(options.rows).shown) rows into a fresh table, batches of \(Self.batch), keys sorted")
        var values = connections.map { _ in [Double]() }
        var version = ""
        let start = MonotonicClock.nanoseconds()
        // In rounds, so that other load on the machine affects all alike.
        for round in 0..<runs {
            if round > 0, Double(MonotonicClock.nanoseconds() - start) / 1e9 > options.seconds { break }
            for (index, count) in connections.enumerated() {
                try await database.renew()
                try await database.migrate()
                version = try await database.withSession { try $0.execute("SHOW server_version").text(0, 0) }
                values[index].append(try await Loader(database: database, rows: options.rows, connections: count).run())
            }
        }
        try await database.drop()
        var lanes: [LoaderResult.Lanes] = []
        for (index, count) in connections.enumerated() {
            let rates = Runs(values[index])
            say(
                "  \(count) connection\(count == 1 ? " " : "s")  \(pad(rates.median.shown, 9)) rows/s   "
                    + "(\(rates.lowest.shown) – \(rates.highest.shown), \(rates.values.count) runs)")
            lanes.append(LoaderResult.Lanes(connections: count, rowsPerSecond: rates))
        }
        return LoaderResult(rows: options.rows, batch: Self.batch, serverVersion: version, byConnections: lanes)
    }
}
