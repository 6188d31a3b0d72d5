// Owns a real Apache Kafka for the time of a section: scripts/private-kafka in a folder of its own.

import Foundation
import Glibc

/// One broker on loopback. Methods block: not for cooperative threads.
final class KafkaServer: Sendable {
    let address: String
    private let home: String
    private let folder: String
    private let process: Child

    private init(address: String, home: String, folder: String, process: Child) {
        self.address = address
        self.home = home
        self.folder = folder
        self.process = process
    }

    /// Starts a broker whose files lie in `folder`, which must not exist before. Topics that are deleted free their space at once.
    static func start(home: String, folder: String) throws -> KafkaServer {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let kafka = folder + "/kafka"
        let process = try Child(
            "private-kafka", "\(FileManager.default.currentDirectoryPath)/scripts/private-kafka",
            ["run", kafka, "--set", "log.segment.delete.delay.ms=1000", "--set", "log.cleaner.backoff.ms=500"],
            environment: ["KAFKA_HOME": home],
            log: folder + "/kafka.log")
        for _ in 0..<1_200 {
            if let text = FileManager.default.contents(atPath: kafka + "/address") {
                let address = String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
                return KafkaServer(address: address, home: home, folder: folder, process: process)
            }
            guard process.isRunning else { throw process.failure("ended before it served") }
            usleep(50_000)
        }
        throw process.failure("names no address within a minute")
    }

    /// Creates a topic, waiting for the broker to answer.
    /// - Parameter configuration: the topic's own settings, such as `cleanup.policy`.
    func createTopic(_ name: String, partitions: Int, configuration: [String: String] = [:]) throws {
        let settings = configuration.sorted { $0.key < $1.key }.flatMap { ["--config", "\($0.key)=\($0.value)"] }
        var attempts = 0
        while true {
            guard process.isRunning else { throw process.failure("ended before it served") }
            attempts += 1
            do {
                return try topics(
                    ["--create", "--if-not-exists", "--topic", name, "--partitions", "\(partitions)"] + settings)
            } catch { if attempts == 5 { throw error } }
        }
    }

    /// Bytes of the topic's log on disk.
    func bytes(of topic: String) throws -> Int {
        let data = folder + "/kafka/node-1/data"
        let files = FileManager.default
        var bytes = 0
        for partition in try files.contentsOfDirectory(atPath: data) where partition.hasPrefix(topic + "-") {
            for file in try files.contentsOfDirectory(atPath: "\(data)/\(partition)") where file.hasSuffix(".log") {
                // The cleaner replaces files meanwhile.
                let attributes = try? files.attributesOfItem(atPath: "\(data)/\(partition)/\(file)")
                bytes += (attributes?[.size] as? Int) ?? 0
            }
        }
        return bytes
    }

    func deleteTopic(_ name: String) throws { try topics(["--delete", "--topic", name]) }

    private func topics(_ arguments: [String]) throws {
        try Child(
            "kafka-topics", "\(home)/bin/kafka-topics.sh", ["--bootstrap-server", address] + arguments,
            environment: ["LOG_DIR": folder], log: folder + "/kafka-topics.log"
        ).wait()
    }

    /// Stops the broker and removes its files.
    func stop() throws {
        process.end(within: 30)
        try FileManager.default.removeItem(atPath: folder)
    }
}
