// The programs that move the topic into the table: the worker, the bare worker and the naive consumer of Benchmarks/Bare.

import Foundation
import Postgres

/// Where a worker reads and writes.
struct DrainPlace: Sendable {
    let database: BenchDatabase
    let brokers: String
    let topic: String
    let folder: String
    /// The table and the mapping.
    var shape = DrainShape.plain

    /// Creates an empty database with the table.
    func prepare() async throws {
        try await database.renew()
        try await database.migrate(capturesChanges: shape == .captured)
        let columns = shape.columns
        try await database.withSession { session in
            _ = try session.executeScript("CREATE TABLE other (message_id int PRIMARY KEY)")
            guard let columns else { return }
            _ = try session.executeScript("DROP TABLE messages CASCADE; CREATE TABLE messages (\(columns))")
        }
    }

    /// The text of the mapping.
    func mapping(write: String) throws -> String {
        if let mapping = shape.mapping {
            return "topics: [\(topic)]\ntable: messages\nkey: [message_id]\nwrite: \(write)\n" + mapping
        }
        let shipped = try String(contentsOfFile: "examples/messages/mapping.yaml", encoding: .utf8)
        let mapping = shipped.replacingOccurrences(of: "topics: [messages]", with: "topics: [\(topic)]")
            .replacingOccurrences(of: "\nwrite: auto\n", with: "\nwrite: \(write)\n")
        guard mapping.contains("[\(topic)]"), mapping.contains("\nwrite: \(write)\n") else {
            throw BenchError("examples/messages/mapping.yaml names other topics, or has no line 'write: auto'")
        }
        return mapping
    }
}

/// A program that moves the topic into the table.
protocol DrainWorker: Sendable {
    /// At most ten characters, for the columns of the report.
    var name: String { get }
    /// Starts the program for one run, in an empty database.
    /// - Parameter run: unique for a `place`.
    func start(_ place: DrainPlace, run: Int) throws -> Child
}

/// `sluice run`, by default as a worker, with default settings except for `settings`.
struct SluiceWorker: DrainWorker {
    let program: String
    let settings: [String: String]
    var name = "sluice"
    var role = "worker"
    /// How the table is written: the mapping's key of that name.
    var write = "auto"
    /// Lines of YAML after the rest of the configuration.
    var extra = ""
    /// The text of a second mapping.
    var otherMapping: String?

    func start(_ place: DrainPlace, run: Int) throws -> Child {
        let here = FileManager.default.currentDirectoryPath
        // A new group for every run, without offsets and other members.
        let text = """
            kafka:
              bootstrap_servers: \(place.brokers)
              group_id: bench-\(run)
            postgres:
              uri: '\(place.database.uri.replacingOccurrences(of: "'", with: "''"))'
              migrate: false
              migrations: \(here)/examples/messages/migrations
            mappings: [mapping.yaml\(otherMapping == nil ? "" : ", other.yaml")]
            http:
              port: 0

            """ + extra
        try place.mapping(write: write).write(toFile: "\(place.folder)/mapping.yaml", atomically: true, encoding: .utf8)
        try otherMapping?.write(toFile: "\(place.folder)/other.yaml", atomically: true, encoding: .utf8)
        let file = "\(place.folder)/sluice.yaml"
        // The connection string may hold a password.
        guard FileManager.default.createFile(atPath: file, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw BenchError("\(file) cannot be written") }
        var environment: [String: String] = [:]
        for (key, value) in settings {
            environment["SLUICE_" + key.uppercased().replacingOccurrences(of: ".", with: "_")] = value
        }
        return try Child(
            name, program, ["run", "--role", role, "--config", file], environment: environment,
            log: "\(place.folder)/sluice-\(run).log")
    }
}

/// The bare worker, called as `PROGRAM BROKERS TOPIC PARTITIONS CONNINFO LANES BATCH TOTAL`, which ends by itself.
struct BareWorker: DrainWorker {
    let program: String
    /// The number of events after which it ends.
    let events: Int

    var name: String { "bare" }

    func start(_ place: DrainPlace, run: Int) throws -> Child {
        try Child(
            name, program,
            [place.brokers, place.topic, "\(BenchSite.partitions)", place.database.uri, "4", "5000", "\(events)"],
            environment: ["KICK": "10", "QMIN": "10000", "QKB": "4096"], log: "\(place.folder)/bare-\(run).log")
    }
}

/// One message, one statement, one commit: called as `PROGRAM BROKERS TOPIC PARTITIONS CONNINFO`, runs until it is ended.
struct NaiveConsumer: DrainWorker {
    let program: String

    var name: String { "naive" }

    func start(_ place: DrainPlace, run: Int) throws -> Child {
        try Child(
            name, program, [place.brokers, place.topic, "\(BenchSite.partitions)", place.database.uri],
            log: "\(place.folder)/naive-\(run).log")
    }
}
