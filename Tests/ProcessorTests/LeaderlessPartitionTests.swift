// Proves on a whole worker that a partition without a leader holds up no other, and is read once it has one.

import Foundation
import Glibc
import Kafka
import Postgres
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(3)))
struct LeaderlessPartitionTests {
    private static let partitions: Int32 = 4

    /// Produces one event into each of these partitions; its id is `base` and the partition's number.
    private func produce(_ broker: EmbeddedBroker, _ base: Int, to partitions: [Int32]) async throws {
        let producer = try KafkaProducer.start(
            KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)))
        let topic = try await producer.prepare("messages").topic
        for partition in partitions {
            let event = #"{"action":"Upsert","message_id":\#(base + Int(partition)),"data":{"name":"n","message":"m"}}"#
            _ = try await producer.send(topic, key: nil, value: Array(event.utf8), partition: partition)
        }
        _ = await producer.close(deadline: .seconds(5))
    }

    /// At the first start, where nothing is stored, and at the next one, where the offsets are known.
    @Test func theOthersAreReadMeanwhile() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", Int(Self.partitions))])
        defer { broker.stop() }
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        @Sendable func ids() async throws -> Set<Int32> {
            try await connection.perform { session in
                let result = try session.execute("SELECT message_id::int4 FROM messages")
                return Set(try (0..<result.rowCount).map { try result.int32($0, 0) })
            }
        }
        try await produce(broker, 100, to: [0, 1, 2, 3])
        try broker.setLeader(of: "messages", partition: 2, to: nil)
        for (round, base) in [100, 200].enumerated() {
            let worker = try start(broker, uri)
            defer { worker.signal(SIGKILL) }
            #expect(
                try await eventually(within: .seconds(30), every: .milliseconds(50)) {
                    try await ids().filter { Int($0) >= base }.count == 3
                }, "\(worker.output)")
            #expect(try await !ids().contains(Int32(base + 2)))
            if round == 0 {
                // The start does not know where it is to begin.
                #expect(await eventually(within: .seconds(30)) { worker.output.contains("Partitions not claimed; retrying.") })
            }
            try broker.setLeader(of: "messages", partition: 2, to: 1)
            if round == 1 { try await produce(broker, base, to: [2]) }
            #expect(
                try await eventually(within: .seconds(30), every: .milliseconds(50)) {
                    try await ids().contains(Int32(base + 2))
                }, "\(worker.output)")
            #expect(worker.output.matches(of: /Partitions assigned or revoked/).count == 1, "\(worker.output)")
            worker.signal(SIGTERM)
            #expect(try await worker.ended(within: .seconds(30)) == .exited(0))
            if round == 0 {
                try await produce(broker, 200, to: [0, 1, 3])
                try broker.setLeader(of: "messages", partition: 2, to: nil)
            }
        }
        let epochs = try await connection.perform { session in
            let result = try session.execute("SELECT epoch FROM sluice_offsets ORDER BY partition")
            return try (0..<result.rowCount).map { try result.int64($0, 0) }
        }
        #expect(epochs == [2, 2, 2, 2], "an active partition was claimed again")
        await connection.close()
    }

    private func start(_ broker: EmbeddedBroker, _ uri: String) throws -> ChildProcess {
        let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString).log").path
        return try ChildProcess.start(
            "\(built)/sluice", ["run", "--role", "worker"],
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "SLUICE_HTTP_PORT": "0", "SLUICE_POSTGRES_URI": uri,
                "SLUICE_MAPPINGS": TestPostgres.checkout.path + "/examples/messages/mapping.yaml",
                "SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "SLUICE_KAFKA_SESSION_TIMEOUT": "6s",
            ], log: log)
    }
}
