// Proves on a whole worker that a partition which Kafka refuses for a moment goes on by itself, and that an operator need not wait for it.

import Foundation
import Glibc
import Kafka
import Postgres
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(3)))
struct RefusedPartitionTests {
    @Test func aRefusalThatPassesCostsSeconds() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 1)])
        defer { broker.stop() }
        let uri = try await TestPostgres.database(migrated: true)
        let connection = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        @Sendable func count() async throws -> Int64 {
            try await connection.perform { try $0.execute("SELECT count(*) FROM messages").int64(0, 0) }
        }
        try await produce(broker, 1)
        let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        let worker = try ChildProcess.start(
            "\(built)/sluice", ["run", "--role", "worker"],
            environment: [
                "PATH": "/usr/local/bin:/usr/bin:/bin", "SLUICE_HTTP_PORT": "0", "SLUICE_POSTGRES_URI": uri,
                "SLUICE_HTTP_ADMIN_ON_LOOPBACK": "true",
                "SLUICE_MAPPINGS": TestPostgres.checkout.path + "/examples/messages/mapping.yaml",
                "SLUICE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "SLUICE_KAFKA_SESSION_TIMEOUT": "6s",
                // What somebody has to mend is looked at so seldom; an error that passes is not.
                "SLUICE_PIPELINE_RECHECK_INTERVAL": "10m",
            ],
            log: FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString).log").path)
        defer { worker.signal(SIGKILL) }
        #expect(
            try await eventually(within: .seconds(30), every: .milliseconds(50)) { try await count() == 1 }, "\(worker.output)")
        let port = try #require(worker.output.firstMatch(of: /127\.0\.0\.1:(\d+)/).flatMap { UInt16($0.1) })

        // Access is denied for a moment; a broker's unknown error; a damaged response.
        @Sendable func stops() -> Int { worker.output.matches(of: /Partition stopped\./).count }
        for (round, code) in [29 as Int32, -1, 2].enumerated() {
            let before = stops()
            // A fetch that finds the end of the log reports that instead of an error: then once more.
            var isStopped = false
            for _ in 0..<5 where !isStopped {
                broker.fail(.fetch, with: [code])
                isStopped = await eventually(within: .seconds(4)) { stops() > before }
            }
            #expect(isStopped, "\(worker.output)")
            try await produce(broker, round + 2)
            #expect(
                try await eventually(within: .seconds(60), every: .milliseconds(50)) { try await count() == round + 2 },
                "after \(code): \(worker.output)")
        }

        // Access stays denied: health says so, and an operator ends the wait, which has grown to seconds.
        broker.fail(.fetch, with: Array(repeating: 29, count: 1_000_000))
        let isNamed = try await eventually(within: .seconds(30), every: .milliseconds(50)) {
            let answer = try await ask(port, "GET", "/readyz")
            return answer.status == 503
                && ["TOPIC_AUTHORIZATION_FAILED", #""by itself""#].allSatisfy { answer.text.contains($0) }
        }
        #expect(isNamed, "\(worker.output)")
        let before = stops()
        #expect(
            await eventually(within: .seconds(30)) { stops() >= before + 2 },
            "an error that lasts is not seen again: \(worker.output)")
        let retried = try await ask(port, "POST", "/admin/retry", #"{"topic":"messages","partition":0}"#)
        #expect(retried.status == 200, "\(retried.text)")
        let claims = worker.output.matches(of: /Partitions claimed; consuming starts\./).count
        #expect(claims >= 5, "\(worker.output)")
        worker.signal(SIGTERM)
        #expect(try await worker.ended(within: .seconds(30)) == .exited(0))
        await connection.close()
    }

    private func ask(_ port: UInt16, _ method: String, _ path: String, _ body: String = "") async throws -> LoopbackHTTP.Answer {
        try await LoopbackHTTP.ask(
            "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)", port: port)
    }

    private func produce(_ broker: EmbeddedBroker, _ id: Int) async throws {
        let producer = try KafkaProducer.start(
            KafkaProducerConfiguration(client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)))
        let topic = try await producer.prepare("messages").topic
        let event = #"{"action":"Upsert","message_id":\#(id),"data":{"name":"n","message":"m"}}"#
        _ = try await producer.send(topic, key: nil, value: Array(event.utf8), partition: 0)
        _ = await producer.close(deadline: .seconds(5))
    }
}
