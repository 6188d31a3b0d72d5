// The programs that drain the topic: the worker as it ships, and the bare one that shows the limit.

import Foundation

/// What a drain needs to know of its place.
struct DrainPlace: Sendable {
    static let topic = "messages"
    static let partitions = 8

    let database: BenchDatabase
    let brokers: String
    let folder: String
}

/// A program that moves the topic into the table.
protocol DrainWorker: Sendable {
    var name: String { get }
    /// Starts the program for one run, in an empty database.
    func start(_ place: DrainPlace, run: Int) throws -> Child
}

/// `sluice run --role worker` with the shipped configuration.
struct SluiceWorker: DrainWorker {
    let program: String
    let settings: [String: String]

    var name: String { "sluice" }

    func start(_ place: DrainPlace, run: Int) throws -> Child {
        let here = FileManager.default.currentDirectoryPath
        let file = "\(place.folder)/sluice.yaml"
        // A group of its own for every run: nothing is committed yet, and nobody else is a member.
        let text = """
            kafka:
              bootstrap_servers: \(place.brokers)
              group_id: bench-\(run)
            postgres:
              uri: '\(place.database.uri.replacingOccurrences(of: "'", with: "''"))'
              migrate: false
              migrations: \(here)/config/migrations
            mappings: [\(here)/config/mappings/messages.yaml]
            http:
              port: 0

            """
        // The connection string may hold a password.
        guard FileManager.default.createFile(atPath: file, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw BenchError("\(file) cannot be written") }
        var environment: [String: String] = [:]
        for (key, value) in settings {
            environment["SLUICE_" + key.uppercased().replacingOccurrences(of: ".", with: "_")] = value
        }
        return try Child(
            name, program, ["run", "--role", "worker", "--config", file], environment: environment,
            log: "\(place.folder)/sluice-\(run).log")
    }
}

/// A bare worker called as `PROGRAM BROKERS TOPIC PARTITIONS CONNINFO LANES BATCH TOTAL`, which ends by itself.
struct BareWorker: DrainWorker {
    let program: String
    let events: Int

    var name: String { "bare" }

    func start(_ place: DrainPlace, run: Int) throws -> Child {
        try Child(
            name, program,
            [
                place.brokers, DrainPlace.topic, "\(DrainPlace.partitions)", place.database.uri, "4", "5000", "\(events)",
            ],
            environment: ["KICK": "10", "QMIN": "10000", "QKB": "4096"], log: "\(place.folder)/bare-\(run).log")
    }
}
