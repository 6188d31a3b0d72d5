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

    /// `host:port` of the broker; the same after a restart.
    public nonisolated let bootstrapServers: String
    /// Where its files and log are.
    public nonisolated let directory: URL
    private nonisolated let controllerPort: Int
    private nonisolated let port: Int
    private var process: ChildProcess?
    private var metadata: KafkaMetadata?

    private init() {
        // Below the range of the ports the kernel gives to outgoing connections: after a kill the port must still be free.
        port = Self.freePort(besides: 0)
        controllerPort = Self.freePort(besides: port)
        bootstrapServers = "127.0.0.1:\(port)"
        directory = TestPostgres.checkout.appendingPathComponent(".sluice/e2e-kafka-\(getpid())")
    }

    // MARK: Life

    /// Starts the server where it does not run, and waits until it answers.
    public func start() async throws {
        if let process, process.ending == nil { return }
        guard let home = Self.home else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        let properties = directory.appendingPathComponent("server.properties")
        if !FileManager.default.fileExists(atPath: properties.path) {
            ChildProcess.removeAtEnd(directory.path)
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            try settings.write(to: properties, atomically: true, encoding: .utf8)
            try await tool("kafka-storage.sh", ["format", "-t", Self.clusterID(), "-c", properties.path])
        }
        process = try ChildProcess.start(
            home + "/bin/kafka-server-start.sh", [properties.path],
            environment: environment(heap: "-Xmx512m -Xms192m"), log: directory.appendingPathComponent("broker.log").path)
        try await waitUntilAnswering()
    }

    /// SIGKILL, as a machine that fails; the log it has written stays.
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
            // That there is no such topic is an answer, too.
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

    /// Runs one of the distribution's scripts and answers what it printed.
    @discardableResult
    public nonisolated func tool(_ script: String, _ arguments: [String]) async throws -> String {
        let log = directory.appendingPathComponent("tool-\(UUID().uuidString).log").path
        guard let home = Self.home else { throw ChildProcess.Failure("KAFKA_HOME names no Apache Kafka") }
        let child = try ChildProcess.start(
            "\(home)/bin/\(script)", arguments, environment: environment(heap: "-Xmx192m -Xms32m"), log: log)
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
        // The tools live for a second: compiling them well costs more than it saves.
        environment["KAFKA_OPTS"] = heap.contains("32m") ? "-XX:TieredStopAtLevel=1" : ""
        environment["LOG_DIR"] = directory.path
        return environment
    }

    // MARK: Settings

    private var settings: String {
        """
        process.roles=broker,controller
        node.id=1
        controller.quorum.voters=1@127.0.0.1:\(controllerPort)
        listeners=PLAINTEXT://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(controllerPort)
        advertised.listeners=PLAINTEXT://127.0.0.1:\(port)
        controller.listener.names=CONTROLLER
        listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
        inter.broker.listener.name=PLAINTEXT
        log.dirs=\(directory.appendingPathComponent("data").path)
        num.partitions=1
        offsets.topic.replication.factor=1
        offsets.topic.num.partitions=4
        transaction.state.log.replication.factor=1
        transaction.state.log.min.isr=1
        group.initial.rebalance.delay.ms=0
        group.min.session.timeout.ms=1000
        auto.create.topics.enable=false
        broker.session.timeout.ms=2000
        broker.heartbeat.interval.ms=500

        """
    }

    /// 128 random bits in the alphabet of Kafka's identifiers, none of which looks like an option.
    private static func clusterID() -> String {
        let bytes = Data((0..<16).map { _ in UInt8.random(in: 0...255) })
        return String(
            bytes.base64EncodedString().prefix(22).map { $0 == "+" ? "A" : $0 == "/" ? "B" : $0 })
    }

    private static func freePort(besides taken: Int) -> Int {
        while true {
            let port = Int.random(in: 10_000..<15_000)
            if port != taken, isFree(port) { return port }
        }
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
