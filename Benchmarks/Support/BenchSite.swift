// What a section with a real Kafka needs: servers, a folder and the worker.

import Foundation
import Glibc

/// The servers of one section.
struct BenchSite: Sendable {
    /// The partitions of every topic.
    static let partitions = 8

    let kafka: KafkaServer
    /// A server whose role may create databases.
    let postgres: String
    /// The section's folder, removed at its end.
    let folder: String

    /// Starts a broker, runs a section on it, and stops it, however the section ends. `nil` if a server is missing, which is printed.
    static func run<R: Sendable>(
        _ section: String, _ options: Options, _ body: (BenchSite) async throws -> R
    ) async throws -> R? {
        guard let postgres = options.postgresURI else {
            say("\n\(section): SKIPPED, no server in SLUICE_BENCH_POSTGRES_URI; scripts/bench starts a private one")
            return nil
        }
        guard let home = options.kafkaHome else {
            say(
                "\n\(section): SKIPPED, no KAFKA_HOME: unpack Apache Kafka (https://kafka.apache.org/downloads) and name its "
                    + "folder")
            return nil
        }
        guard FileManager.default.isExecutableFile(atPath: options.sluicePath) else {
            throw BenchError("there is no worker at \(options.sluicePath): swift build -c release --product sluice")
        }
        let folder = "\(options.brokerFolder)/sluice-bench-\(section)-\(getpid())"
        let kafka = try await Blocking.run { try KafkaServer.start(home: home, folder: folder) }
        let outcome: Result<R, any Error>
        do {
            outcome = .success(try await body(BenchSite(kafka: kafka, postgres: postgres, folder: folder)))
        } catch {
            outcome = .failure(error)
        }
        try await Blocking.run { try kafka.stop() }
        return try outcome.get()
    }

    func createTopic(_ name: String, configuration: [String: String] = [:]) async throws {
        try await Blocking.run { [kafka] in
            try kafka.createTopic(name, partitions: Self.partitions, configuration: configuration)
        }
    }

    func deleteTopic(_ name: String) async throws { try await Blocking.run { [kafka] in try kafka.deleteTopic(name) } }

    /// Where workers of one topic and one database read and write.
    func place(topic: String, database: String) -> DrainPlace {
        DrainPlace(
            database: BenchDatabase(server: postgres, name: database), brokers: kafka.address, topic: topic, folder: folder)
    }
}
