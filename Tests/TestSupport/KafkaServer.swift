// A real Apache Kafka for tests: KRaft nodes from KAFKA_HOME, in a directory of its own, that can be killed and started again.

public import Foundation
internal import Glibc
internal import Kafka
internal import Records

/// A Kafka cluster of this test process: started at first use, gone when the process is.
public actor KafkaServer {
    /// One node, which most tests share.
    public static let shared = KafkaServer("kafka")
    /// Three nodes, each of them broker and controller.
    public static let cluster = KafkaServer("kafka-cluster", nodes: 3)

    /// The unpacked distribution, `nil` where the environment names none.
    public static var home: String? {
        guard let home = ProcessInfo.processInfo.environment["KAFKA_HOME"], !home.isEmpty else { return nil }
        return home
    }

    /// `host:port` of the brokers once they have been started, separated by commas; the same after a restart.
    public nonisolated var bootstrapServers: String { address.current }
    /// The numbers of its nodes.
    public nonisolated let nodes: ClosedRange<Int>
    /// Where its files and logs are.
    public nonisolated let directory: URL
    private nonisolated let address = Shared("")
    private var processes: [Int: ChildProcess] = [:]
    private var metadata: KafkaMetadata?

    private let arguments: [String]

    /// - Parameters:
    ///   - name: of its directory.
    ///   - settings: lines of server.properties.
    ///   - listeners: more listeners of a single node, as `NAME:PROTOCOL`.
    public init(_ name: String, nodes: Int = 1, settings: [String] = [], listeners: [String] = []) {
        self.nodes = 1...nodes
        directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-\(name)-\(getpid())")
        arguments =
            (Self.settings + settings).flatMap { ["--set", $0] } + listeners.flatMap { ["--listener", $0] }
    }

    /// `host:port` of one of the further listeners, once the server has been started.
    public nonisolated func address(of listener: String) throws -> String {
        try String(contentsOf: directory.appendingPathComponent("address.\(listener)"), encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: Life

    /// Short time-outs, so that a killed broker is noticed and returns soon, and a log is compacted soon; little memory.
    private static let settings = [
        "broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500", "log.cleaner.backoff.ms=500",
        "log.cleaner.dedupe.buffer.size=16777216",
    ]

    /// Starts the nodes that do not run, and waits until they answer.
    public func start() async throws {
        guard Self.home != nil else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        if !FileManager.default.fileExists(atPath: directory.path) {
            ChildProcess.removeAtEnd(directory.path)
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        }
        let heap = nodes.count == 1 ? "-Xmx512m -Xms192m" : "-Xmx256m -Xms96m"
        var starting: [(process: ChildProcess, earlier: Int)] = []
        for node in nodes where processes[node]?.ending != nil || processes[node] == nil {
            // All starts of a node append to one log.
            let log = directory.appendingPathComponent("broker-\(node).log")
            let earlier = (try? Data(contentsOf: log))?.count ?? 0
            let process = try ChildProcess.start(
                TestPostgres.checkout.appendingPathComponent("scripts/private-kafka").path,
                ["run", directory.path, "--node", "\(node)", "--nodes", "\(nodes.count)"] + arguments,
                environment: environment(heap: heap), log: log.path)
            processes[node] = process
            starting.append((process, earlier))
        }
        for (process, earlier) in starting {
            let isServing = await eventually(within: .seconds(180), every: .milliseconds(20)) {
                process.ending != nil || process.output.utf8.dropFirst(earlier).firstRange(of: "Kafka Server started".utf8) != nil
            }
            guard isServing, process.ending == nil else {
                throw ChildProcess.Failure("the Kafka server does not start: \(process.output.suffix(2000))")
            }
        }
        let text = try String(contentsOf: directory.appendingPathComponent("address"), encoding: .utf8)
        address.withLock { $0 = text.trimmingCharacters(in: .whitespacesAndNewlines) }
        try await waitUntilAnswering()
    }

    /// SIGKILL to one node, or to all that run; the written logs stay.
    public func kill(node: Int? = nil) async {
        for (number, process) in processes where node == nil || node == number {
            await process.kill()
            processes[number] = nil
        }
    }

    /// SIGTERM: the node gives its leaderships to others, and ends.
    public func stop(node: Int) async throws {
        processes[node]?.signal(SIGTERM)
        try await processes[node]?.ended(within: .seconds(40))
        processes[node] = nil
    }

    /// Waits until every replica of every topic has what its leader has.
    public func replicate() async throws {
        let isReplicated = try await eventually(within: .seconds(180), every: .milliseconds(100)) {
            try await self.partitions("--under-replicated-partitions").isEmpty
        }
        guard isReplicated else { throw ChildProcess.Failure("replicas stay behind their leaders") }
    }

    /// The partitions of a topic that have no leader.
    public func leaderless(of topic: String) async throws -> Set<Int32> {
        Set(try await partitions("--unavailable-partitions").filter { $0.topic == topic }.map(\.partition))
    }

    /// - Parameter filter: an option of `kafka-topics.sh --describe`.
    private func partitions(_ filter: String) async throws -> [(topic: Substring, partition: Int32)] {
        let text = try await tool("kafka-topics.sh", ["--bootstrap-server", bootstrapServers, "--describe", filter])
        // A line for each: Topic: NAME, Partition: N, and what is not used here.
        return text.matches(of: /Topic: (\S+)\s+Partition: (\d+)/).compactMap { match in
            Int32(match.2).map { (match.1, $0) }
        }
    }

    private func waitUntilAnswering() async throws {
        let metadata = try await metadataClient()
        for _ in 0..<60 {
            for process in processes.values {
                guard let ending = process.ending else { continue }
                throw ChildProcess.Failure("the Kafka server ended with \(ending): \(process.output.suffix(2000))")
            }
            // An error about a missing topic also shows that the broker responds.
            if (try? await metadata.topics(["no-such-topic"], timeout: .seconds(1))) != nil { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw ChildProcess.Failure("the Kafka server does not answer; its log is in \(directory.path)")
    }

    // MARK: Topics and tools

    /// Creates topics and waits until clients see them.
    /// - Parameter replicas: of each partition.
    public func create(_ topics: [(name: String, partitions: Int)], replicas: Int = 1) async throws {
        for topic in topics {
            try await tool(
                "kafka-topics.sh",
                [
                    "--bootstrap-server", bootstrapServers, "--create", "--topic", topic.name, "--partitions",
                    "\(topic.partitions)", "--replication-factor", "\(replicas)",
                ])
        }
        let metadata = try await metadataClient()
        let isKnown = try await eventually(within: .seconds(60), every: .milliseconds(20)) {
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
    /// - Parameter condition: once it is true, the script is killed; `nil`: it ends by itself.
    @discardableResult
    public nonisolated func tool(
        _ script: String, _ arguments: [String], killedOnce condition: (@Sendable () async throws -> Bool)? = nil
    ) async throws -> String {
        let log = directory.appendingPathComponent("tool-\(UUID().uuidString).log").path
        guard let home = Self.home else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        let child = try ChildProcess.start(
            "\(home)/bin/\(script)", arguments, environment: environment(heap: "-Xmx192m -Xms32m"), log: log)
        if let condition {
            let isTrue = try await eventually(within: .seconds(90), every: .milliseconds(100), condition)
            await child.kill()
            guard isTrue else { throw ChildProcess.Failure("\(script) did not get so far: \(child.output.suffix(2000))") }
            return child.output
        }
        let ending = try await child.ended(within: .seconds(180))
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
        // The tools, and the nodes of a cluster that are restarted often, run so shortly that optimizing them costs more than it saves.
        environment["KAFKA_OPTS"] = heap.contains("512m") ? "" : "-XX:TieredStopAtLevel=1"
        environment["LOG_DIR"] = directory.path
        return environment
    }
}
