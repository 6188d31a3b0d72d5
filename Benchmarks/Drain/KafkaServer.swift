// Owns a real Apache Kafka for the time of the benchmark: own folder, free ports.

import Foundation
import Glibc
import Kafka

/// One broker on loopback, started from an unpacked distribution. Methods block: not for cooperative threads.
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

    /// Starts a broker whose files lie in `folder`, which must not exist before.
    static func start(home: String, folder: String) throws -> KafkaServer {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let ports = try freePorts(2)
        let configuration = folder + "/server.properties"
        let address = "127.0.0.1:\(ports[0])"
        let controller = "127.0.0.1:\(ports[1])"
        let text = """
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@\(controller)
            listeners=PLAINTEXT://\(address),CONTROLLER://\(controller)
            advertised.listeners=PLAINTEXT://\(address)
            controller.listener.names=CONTROLLER
            listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
            inter.broker.listener.name=PLAINTEXT
            log.dirs=\(folder)/data
            offsets.topic.replication.factor=1
            offsets.topic.num.partitions=8
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1
            group.initial.rebalance.delay.ms=0
            auto.create.topics.enable=false

            """
        try text.write(toFile: configuration, atomically: true, encoding: .utf8)
        let environment = ["LOG_DIR": folder]
        func tool(_ name: String, _ arguments: [String]) throws -> Child {
            try Child(
                name, "\(home)/bin/\(name).sh", arguments, environment: environment, log: "\(folder)/\(name).log")
        }
        // A cluster's identity is 16 bytes in URL-safe base64 (kafka-storage.sh random-uuid).
        let identity = withUnsafeBytes(of: UUID().uuid) { Data($0) }.base64EncodedString().prefix(22)
            .replacingOccurrences(of: "+", with: "a").replacingOccurrences(of: "/", with: "b")
        try tool("kafka-storage", ["format", "-t", identity, "-c", configuration]).wait()
        let process = try tool("kafka-server-start", [configuration])
        return KafkaServer(address: address, home: home, folder: folder, process: process)
    }

    /// Creates a topic, waiting for the broker to answer.
    func createTopic(_ name: String, partitions: Int) throws {
        var attempts = 0
        while true {
            guard process.isRunning else { throw process.failure("ended before it served") }
            attempts += 1
            let tool = try Child(
                "kafka-topics", "\(home)/bin/kafka-topics.sh",
                ["--bootstrap-server", address, "--create", "--if-not-exists", "--topic", name, "--partitions", "\(partitions)"],
                environment: ["LOG_DIR": folder], log: folder + "/kafka-topics.log")
            do { return try tool.wait() } catch { if attempts == 5 { throw error } }
        }
    }

    /// Stops the broker and removes its files.
    func stop() throws {
        process.end(within: 30)
        try FileManager.default.removeItem(atPath: folder)
    }

    /// Ports that nobody listens on just now.
    private static func freePorts(_ count: Int) throws -> [UInt16] {
        var sockets: [Int32] = []
        defer { for socket in sockets { close(socket) } }
        return try (0..<count).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            sockets.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isBound = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
                }
            }
            guard isBound else { throw BenchError("no free port: \(String(cString: strerror(errno)))") }
            return UInt16(bigEndian: address.sin_port)
        }
    }
}
