// Proves that what Kafka refuses reaches clients, the log and a counter, and that start and readiness wait for topics and leaders.

import Foundation
import Kafka
import Platform
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import HTTPServer
@testable import sluice

private struct Lines: LogSink {
    let kept = Shared<[String]>([])
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    var logger: Logger { Logger(label: "test", sink: self) }
    func count(_ text: String) -> Int { kept.current.filter { $0.contains(text) }.count }
}

@Suite(.timeLimit(.minutes(2))) struct KafkaRefusalTests {
    private func event(_ id: Int) -> String {
        #"{"action":"Upsert","message_id":\#(id),"data":{"name":"n","message":"m"}}"#
    }

    /// A single event and one of a batch: 500 with Kafka's name of the error, counted.
    @Test func aPermanentRefusalIs500WithItsName() async throws {
        try await BatchWorld.run { world in
            // INVALID_TIMESTAMP, POLICY_VIOLATION
            world.broker.fail(.produce, with: [32])
            let single = try world.post(event(1), "application/json")
            #expect(single.status == 500 && single.headers["retry-after"] == nil)
            #expect(single.text.contains(#""code":"INVALID_TIMESTAMP""#) && single.text.contains(#""possibly_persisted":false"#))
            world.broker.fail(.produce, with: [44])
            let batch = try world.post(event(1) + "\nx")
            #expect(batch.statuses == [500, 400])
            #expect(batch.text.contains(#""code":"POLICY_VIOLATION""#))
            let page = String(decoding: world.registry.render(), as: UTF8.self)
            for name in ["INVALID_TIMESTAMP", "POLICY_VIOLATION"] {
                #expect(page.contains(#"sluice_produce_failures_total{error="\#(name)"} 1"#), "\(page)")
            }
            #expect(world.counted(500) == 2)
        }
    }

    @Test func oneLineAKindAndMinute() {
        let lines = Lines()
        let failures = ProduceFailures(MetricsRegistry(), lines.logger)
        let second: UInt64 = 1_000_000_000
        for tenth in 0..<10 { failures.failed(KafkaError(.refused, "no"), now: (100 + UInt64(tenth)) * second) }
        failures.failed(KafkaError(.timedOut, "late", isRetriable: true), now: 105 * second)
        #expect(lines.kept.current.count == 2)
        #expect(lines.count("error=refused") == 1 && lines.count("events=1") == 2 && lines.count(" error ") == 1)
        failures.failed(KafkaError(.refused, "no"), now: 160 * second)
        #expect(lines.count("events=10") == 1, "\(lines.kept.current)")
    }

    @Test func aTopicIsWaitedFor() async throws {
        let broker = try EmbeddedBroker.start(topics: [("late", 3)])
        defer { broker.stop() }
        // The embedded broker creates a topic that is asked for; so it is made to report UNKNOWN_TOPIC_OR_PARTITION.
        for topic in ["late", "never"] { broker.setTopicError(topic, code: 3) }
        let metadata = try KafkaMetadata.start(
            KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "")
        let lines = Lines()
        let logger = lines.logger
        let reasons = Shared<[String]>([])
        @Sendable func wait(for topic: String) async throws -> Int {
            try await StartUp.topics([topic], metadata, waitsForTopics: true, logger) { reason in
                reasons.withLock { $0.append(reason) }
            }.partitions
        }
        let waiting = Task { try await wait(for: "late") }
        #expect(await eventually { reasons.current.first?.contains("topic late does not exist") == true })
        #expect(lines.count("Topic does not exist; waiting for it.") >= 1)
        broker.setTopicError("late", code: 0)
        #expect(try await waiting.value == 3)
        // A signal ends the wait at once.
        let ending = await shortest(below: .seconds(1)) {
            reasons.withLock { $0 = [] }
            let cancelled = Task { try await wait(for: "never") }
            #expect(await eventually { reasons.current.contains { $0.contains("never") } })
            let start = ContinuousClock.now
            cancelled.cancel()
            await #expect(throws: (any Error).self) { try await cancelled.value }
            return ContinuousClock.now - start
        }
        #expect(ending < .seconds(1))
        await #expect(throws: CommandError.self) {
            try await StartUp.topics(["never"], metadata, waitsForTopics: false, logger)
        }
        _ = await metadata.close(deadline: .seconds(5))
    }

    /// A topic that is missing does not hold up those of other mappings; `/readyz` names it until it exists.
    @Test func aMissingTopicHoldsUpNothingElse() async throws {
        let broker = try EmbeddedBroker.start(topics: [("orders", 3)])
        defer { broker.stop() }
        for topic in ["ordes", "never"] { broker.setTopicError(topic, code: 3) }
        let metadata = try KafkaMetadata.start(
            KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "")
        let lines = Lines()
        let logger = lines.logger
        let (partitions, missing) = try await StartUp.topics(
            ["orders", "ordes", "^none"], needed: "orders", metadata, waitsForTopics: true, logger)
        #expect(partitions == 3 && missing.keys.sorted() == ["^none", "ordes"], "\(missing)")
        #expect(missing["ordes"]?.contains("topic ordes does not exist") == true)
        #expect(missing["ordes"]?.contains("; did you mean orders?") == true, "\(missing)")
        #expect(lines.count("Topic does not exist; waiting for it.") == 2)
        let left = Shared<[[String]]>([])
        let watch = Task {
            try await StartUp.missingTopics(["ordes": "x"], metadata, every: .milliseconds(20)) { topics in
                left.withLock { $0.append(topics.keys.sorted()) }
            }
        }
        #expect(await eventually { left.current.count > 2 })
        #expect(left.current.allSatisfy { $0 == ["ordes"] })
        broker.setTopicError("ordes", code: 0)
        try await watch.value
        #expect(left.current.last == [])
        // What POST /send needs is waited for.
        let waiting = Task {
            try await StartUp.topics(["orders", "never"], needed: "never", metadata, waitsForTopics: true, logger).partitions
        }
        #expect(await eventually { lines.count("topic never") >= 1 })
        broker.setTopicError("never", code: 0)
        #expect(try await waiting.value > 3)
        _ = await metadata.close(deadline: .seconds(5))
    }

    /// What `/readyz` says while the process waits for its topic, and while leaders do not answer.
    @Test func readinessNamesLeadersThatDoNotAnswer() async throws {
        let broker = try EmbeddedBroker.start(topics: [("messages", 2)], brokers: 2)
        defer { broker.stop() }
        let addresses = broker.bootstrapServers.split(separator: ",").map(String.init)
        for partition: Int32 in 0...1 { try broker.setLeader(of: "messages", partition: partition, to: Int(partition) + 1) }
        let client = KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers)
        let metadata = try KafkaMetadata.start(client, groupID: "")
        let eventProducer = EventProducer(try TestEventProducer.validator())
        let health = Health(role: .ingress, eventProducer: eventProducer) { nil }
        @Sendable func answer() -> (status: Int, body: String) {
            let response = health.readiness(isDetailed: true)
            guard case .built(_, let body) = response.content else { return (response.status, "") }
            return (response.status, String(decoding: body, as: UTF8.self))
        }
        eventProducer.update(kafkaError: "topic messages does not exist")
        #expect(answer().status == 503 && answer().body.contains("topic messages does not exist"))
        let producer = try KafkaProducer.start(KafkaProducerConfiguration(client: client), handler: eventProducer)
        eventProducer.bind(producer, topic: try await producer.prepare("messages").topic)
        let probe = Task { try await KafkaProbe.run(metadata, topic: "messages", eventProducer: eventProducer) }
        #expect(await eventually(within: .seconds(30)) { answer().status == 200 }, "\(answer())")
        // Other servers would do no better: ready, and it is told.
        try broker.setBroker(2, isDown: true)
        #expect(
            await eventually(within: .seconds(40)) {
                let (status, body) = answer()
                return status == 200 && body.contains("the leader of messages[1] does not answer") && body.contains(addresses[1])
            }, "\(answer())")
        try broker.setLeader(of: "messages", partition: 0, to: 2)
        #expect(
            await eventually(within: .seconds(30)) {
                eventProducer.unavailability()?.reason.contains(addresses[1]) == true
            }, "\(answer())")
        // For a minute its answers, with Retry-After, say more than those of a load balancer without a server.
        #expect(answer().status == 200 && answer().body.contains(addresses[1]))
        #expect(eventProducer.unavailability(now: MonotonicClock.nanoseconds() + 61_000_000_000)?.isLasting == true)
        probe.cancel()
        _ = await probe.result
        _ = await producer.close(deadline: .seconds(1))
        _ = await metadata.close(deadline: .seconds(5))
    }

    @Test func whatIsOpenIsSaid() {
        func warnings(_ change: (inout HTTPSettings) -> Void) -> [String] {
            var settings = HTTPSettings()
            change(&settings)
            return settings.warnings
        }
        #expect(warnings { _ in } == [])
        let open = warnings {
            $0.host = "0.0.0.0"
            $0.allowUnauthenticated = true
        }
        #expect(open.count == 2)
        for (text, part) in zip(open, ["without TLS", "may send events"]) { #expect(text.contains(part)) }
        let closed = warnings {
            $0.host = "0.0.0.0"
            $0.tokens = ["a": "0123456789abcdef"]
            $0.tlsCertificate = "c"
        }
        #expect(closed == [])
        let proxies = [IPNetwork("10.0.0.0/8")!]
        let behind = warnings { $0.trustedProxies = proxies }
        #expect(behind.count == 1 && behind[0].contains("connections_per_address (1024)"))
        #expect(
            warnings {
                $0.trustedProxies = proxies
                $0.connectionsPerAddress = 0
            } == [])
    }
}
