// A real Apache Kafka for tests: one KRaft node from KAFKA_HOME, in a directory of its own, that can be killed and started again.

public import Foundation
internal import Glibc
internal import Kafka
internal import Records

/// The Kafka server of this test process: started at first use, gone when the process is.
public actor KafkaServer {
    /// The server of this process.
    public static let shared = KafkaServer()

    /// The unpacked distribution, `nil` where the environment names none.
    public static var home: String? {
        guard let home = ProcessInfo.processInfo.environment["KAFKA_HOME"], !home.isEmpty else { return nil }
        return home
    }

    /// `host:port` of the broker once it has been started; the same after a restart.
    public nonisolated var bootstrapServers: String { address.current }
    /// Where its files and log are.
    public nonisolated let directory: URL
    private nonisolated let address = Shared("")
    private var process: ChildProcess?
    private var metadata: KafkaMetadata?

    private init() {
        directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-kafka-\(getpid())")
    }

    /// The broker's own log, from its first start on.
    public nonisolated var log: URL { directory.appendingPathComponent("broker.log") }

    // MARK: Life

    /// Short time-outs, so that a killed broker is noticed and returns soon, and a log is compacted soon.
    private static let settings = [
        "broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500", "log.cleaner.backoff.ms=500",
    ]

    /// Starts the server where it does not run, and waits until it answers.
    public func start() async throws {
        if let process, process.ending == nil { return }
        guard Self.home != nil else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        if !FileManager.default.fileExists(atPath: directory.path) {
            ChildProcess.removeAtEnd(directory.path)
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        }
        let process = try ChildProcess.start(
            TestPostgres.checkout.appendingPathComponent("scripts/private-kafka").path,
            ["run", directory.path] + Self.settings.flatMap { ["--set", $0] },
            environment: environment(heap: "-Xmx512m -Xms192m"), log: log.path)
        self.process = process
        let file = directory.appendingPathComponent("address")
        let isAddressed = await eventually(within: .seconds(60), every: .milliseconds(20)) {
            process.ending != nil || FileManager.default.fileExists(atPath: file.path)
        }
        guard isAddressed, process.ending == nil else {
            throw ChildProcess.Failure("the Kafka server does not start: \(process.output.suffix(2000))")
        }
        let text = try String(contentsOf: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        address.withLock { $0 = text }
        try await waitUntilAnswering()
    }

    /// SIGKILL; the written log stays.
    public func kill() async {
        await process?.kill()
        process = nil
    }

    private func waitUntilAnswering() async throws {
        let metadata = try await metadataClient()
        for _ in 0..<60 {
            if let process, let ending = process.ending {
                throw ChildProcess.Failure("the Kafka server ended with \(ending): \(process.output.suffix(2000))")
            }
            // An error about a missing topic also shows that the broker responds.
            if (try? await metadata.topics(["no-such-topic"], timeout: .seconds(1))) != nil { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw ChildProcess.Failure("the Kafka server does not answer: \(process?.output.suffix(2000) ?? "")")
    }

    // MARK: Topics and tools

    /// Creates topics and waits until clients see them.
    public func create(_ topics: [(name: String, partitions: Int)]) async throws {
        for topic in topics {
            try await tool(
                "kafka-topics.sh",
                [
                    "--bootstrap-server", bootstrapServers, "--create", "--topic", topic.name, "--partitions",
                    "\(topic.partitions)",
                ])
        }
        let metadata = try await metadataClient()
        let isKnown = try await eventually(within: .seconds(20), every: .milliseconds(20)) {
            let known = try await metadata.topics(topics.map(\.name))
            return topics.allSatisfy { topic in
                if case .success(topic.partitions)? = known[topic.name] { return true }
                return false
            }
        }
        guard isKnown else { throw ChildProcess.Failure("the topics \(topics.map(\.name)) do not appear") }
    }

    /// Deletes a topic.
    public func delete(_ topic: String) async throws {
        try await tool("kafka-topics.sh", ["--bootstrap-server", bootstrapServers, "--delete", "--topic", topic])
    }

    /// Runs one of the distribution's scripts and answers what it printed.
    /// - Parameter time: after which it is killed; `nil`: it ends by itself.
    @discardableResult
    public nonisolated func tool(
        _ script: String, _ arguments: [String], killedAfter time: Duration? = nil
    ) async throws -> String {
        let log = directory.appendingPathComponent("tool-\(UUID().uuidString).log").path
        guard let home = Self.home else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        let child = try ChildProcess.start(
            "\(home)/bin/\(script)", arguments, environment: environment(heap: "-Xmx192m -Xms32m"), log: log)
        if let time {
            try await Task.sleep(for: time)
            await child.kill()
            return child.output
        }
        let ending = try await child.ended(within: .seconds(90))
        let output = child.output
        guard ending == .exited(0) else { throw ChildProcess.Failure("\(script) ended with \(ending): \(output.suffix(2000))") }
        return output
    }

    private func metadataClient() async throws -> KafkaMetadata {
        if let metadata { return metadata }
        let fresh = try KafkaMetadata.start(KafkaClientConfiguration(bootstrapServers: bootstrapServers), groupID: "")
        metadata = fresh
        return fresh
    }

    private nonisolated func environment(heap: String) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        environment["KAFKA_HEAP_OPTS"] = heap
        // The tools run for a second, so optimizing them costs more than it saves.
        environment["KAFKA_OPTS"] = heap.contains("32m") ? "-XX:TieredStopAtLevel=1" : ""
        environment["LOG_DIR"] = directory.path
        return environment
    }
}
