// Proves that readiness reports a stall: with 503 in role worker, with 200 in role all.

import Decode
import Dispatch
import Kafka
import Pipeline
import Platform
import Records
import Telemetry
import TestSupport
import Testing

@testable import HTTPServer
@testable import sluice

@Suite struct HealthTests {
    private static func answer(_ health: Health, isDetailed: Bool = true) -> (status: Int, body: String) {
        let response = health.readiness(isDetailed: isDetailed)
        guard case .built(_, let body) = response.content else { return (response.status, "") }
        return (response.status, String(decoding: body, as: UTF8.self))
    }

    @Test func aWorkerThatAppliesIsReady() {
        let (status, body) = Self.answer(Health(role: .worker, eventProducer: nil) { pipelineState() })
        #expect(status == 200)
        #expect(!body.contains("stalled"))
    }

    @Test(arguments: StallReason.allCases) func aStalledWorkerSaysWhy(reason: StallReason) {
        let (status, body) = Self.answer(Health(role: .worker, eventProducer: nil) { pipelineState(stall: reason) })
        #expect(status == 503)
        #expect(body.contains("\"stalled\":\"\(reason.rawValue)\""))
        #expect(body.contains("no progress for 45 s: \(reason.sentence)"))
    }

    /// Anybody may ask, as often as they like.
    @Test func aTenthOfASecondHasOneSnapshot() {
        let (now, taken) = (Shared<UInt64>(1), Shared(0))
        let health = Health(role: .worker, eventProducer: nil, clock: { now.current }) {
            taken.withLock { $0 += 1 }
            return pipelineState()
        }
        for (time, expected) in [(1, 1), (1, 1), (100_000_000, 1), (100_000_001, 2), (150_000_000, 2), (200_000_001, 3)] {
            now.withLock { $0 = UInt64(time) }
            #expect(Self.answer(health, isDetailed: time.isMultiple(of: 2)).status == 200)
            #expect(taken.current == expected, "\(time)")
        }
    }

    @Test func strangersLearnTheStatusOnly() {
        for (state, status, body) in [
            (pipelineState(pausedByOperator: "fraud case 4711"), 200, #"{"status":"ready"}"#),
            (pipelineState(stopped: [StopReason(.schema, "column name is missing")]), 503, #"{"status":"unavailable"}"#),
        ] {
            let answer = Self.answer(Health(role: .worker, eventProducer: nil) { state }, isDetailed: false)
            #expect(answer.status == status && answer.body == body, "\(answer)")
        }
    }

    /// An outage, a partition that starts again by itself, and one that an operator has to look at.
    @Test func whatIsWrongIsToldApart() {
        let (status, away) = Self.answer(Health(role: .worker, eventProducer: nil) { pipelineState(isAway: true) })
        #expect(status == 503)
        #expect(away.contains(#""database":"unavailable""#) && away.contains("PostgreSQL is away") && !away.contains("stopped"))
        for (kind, again) in [(StopReason.Kind.schema, "by itself"), (.poison, "by an operator")] {
            let (status, body) = Self.answer(
                Health(role: .worker, eventProducer: nil) { pipelineState(stopped: [StopReason(kind, "it is so")]) })
            #expect(status == 503)
            #expect(body.contains(#""database":"available""#))
            let stopped =
                #""stopped":[{"partition":"t[3]","reason":"\#(kind.rawValue)","message":"it is so","starts_again":"\#(again)"}]"#
            #expect(body.contains(stopped), "\(body)")
        }
    }

    @Test func topicsThatDoNotExistAreNamed() {
        for (role, status) in [(Role.worker, 503), (.all, 200)] {
            let health = Health(role: role, eventProducer: nil) { pipelineState() }
            health.update(missingTopics: ["topic late does not exist"])
            let answer = Self.answer(health)
            #expect(answer.status == status && answer.body.contains("topic late does not exist"), "\(answer)")
            health.update(missingTopics: [])
            #expect(Self.answer(health).status == 200 && !Self.answer(health).body.contains("late"))
        }
    }

    @Test func operatorPausesAreReportedAndTheWorkerIsReady() {
        let (status, body) = Self.answer(
            Health(role: .worker, eventProducer: nil) { pipelineState(pausedByOperator: "bad rows") })
        #expect(status == 200)
        #expect(body.contains(#""paused_by_operator":[{"reason":"bad rows","partitions":["t[3]"]}]"#))
    }

    @Test func anIngressIsReadyUntilKafkaIsAwayForAMinute() async throws {
        let behind = try await TestEventProducer(isOpen: false)
        let producer = behind.eventProducer
        let health = Health(role: .ingress, eventProducer: producer) { nil }
        #expect(Self.answer(health).status == 503, "Kafka has never been reached")
        producer.bind(behind.producer, topic: try await behind.producer.prepare("messages").topic)
        #expect(Self.answer(health).status == 200)
        let minute: UInt64 = 60_000_000_000
        let now = MonotonicClock.nanoseconds()
        producer.update(kafkaError: "no broker", now: now)
        let (status, body) = Self.answer(health)
        #expect(status == 200)
        #expect(body.contains(#""ingress":"closed""#) && body.contains(#""ingress_trouble":"no broker""#), "\(body)")
        producer.update(kafkaError: "still no broker", now: now + minute / 2)
        #expect(producer.unavailability(now: now + minute - 1).map(\.isLasting) == false)
        #expect(producer.unavailability(now: now + minute).map(\.isLasting) == true)
        producer.update(kafkaError: nil)
        #expect(producer.unavailability() == nil)
        await behind.close()
    }

    @Test(arguments: [Role.all, .ingress, .worker]) func aProcessThatStopsIsNotReady(role: Role) {
        let health = Health(role: role, eventProducer: nil) { pipelineState() }
        #expect(Self.answer(health).status == 200)
        health.entered("stopping")
        let (status, body) = Self.answer(health)
        #expect(status == 503)
        #expect(body.contains("the process is stopping"))
    }

    /// A collector that takes its time holds up no other request, and pages are rendered one at a time.
    @Test func metricsAreRenderedAwayFromTheServersThread() async throws {
        let registry = MetricsRegistry()
        let gate = DispatchSemaphore(value: 0)
        let pages = Shared<Int>(0)
        registry.collector("slow", type: .gauge, help: "Slow.") { sink in
            gate.wait()
            pages.withLock { $0 += 1 }
            sink.sample(pages.current)
        }
        let routes = Routes(
            role: .ingress, eventProducer: nil, admin: nil, registry: registry,
            health: Health(role: .ingress, eventProducer: nil) { nil })
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: routes)
        let port = server.port
        let answers = try await LoopbackConnection.blocking {
            func ask(_ path: String) throws -> LoopbackConnection {
                let connection = try LoopbackConnection(port: port, timeout: 10)
                try connection.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return connection
            }
            let scrapes = try (0..<5).map { _ in try ask("/metrics") }
            let alive = try ask("/livez").answer().status
            for _ in scrapes { gate.signal() }
            return try [alive] + scrapes.map { try $0.answer().status }
        }
        #expect(answers == [200, 200, 200, 200, 200, 200])
        #expect((1...2).contains(pages.current), "requests that wait share a page")
        await server.stop(deadline: .zero)
    }

    @Test func aStalledWorkerInRoleAllStaysReady() {
        let (status, body) = Self.answer(Health(role: .all, eventProducer: nil) { pipelineState(stall: .waitingForDatabase) })
        #expect(status == 200)
        #expect(body.contains("\"status\":\"ready\""))
        #expect(body.contains("\"worker_trouble\":[\"no progress for 45 s: waiting for the database\"]"))
        #expect(body.contains("\"stalled\":\"waiting_for_database\""))
    }
}
