// Proves what load shedding answers over HTTP and shows in metrics and health, also after a reload.

import Admission
import Backpressure
import Decode
import Foundation
import Pipeline
import Records
import Telemetry
import TestSupport
import Testing

@testable import HTTPServer
@testable import sluice

private let second: UInt64 = 1_000_000_000

/// An ingress without a producer: an admitted request is answered 503 without a cause.
private final class Ingress: Sendable {
    struct Problem: Decodable {
        let type: String
        let status: Int
        let detail: String
        let cause: String?
        let retry_after: Int?
        let possibly_persisted: Bool?
    }

    let registry = MetricsRegistry()
    let shedding: IngressShedding
    let health: Health
    let server: HTTPServer

    private let behind: TestEventProducer

    init(_ limits: SheddingLimits = SheddingLimits(lagRecords: 1_000)) async throws {
        shedding = IngressShedding(limits, registry: registry)
        behind = try await TestEventProducer()
        health = Health(role: .ingress, eventProducer: behind.eventProducer, shedding: shedding) { nil }
        let routes = Routes(
            role: .ingress, eventProducer: behind.eventProducer, shedding: shedding, admin: nil, registry: registry,
            health: health)
        server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: routes)
    }

    func close() async {
        await server.stop(deadline: .seconds(5))
        await behind.close()
    }

    func check(lag: Double?, drainRate: Double = 0, at now: UInt64) {
        var inputs = SheddingInputs()
        inputs.lag = lag.map { SheddingInputs.Lag(records: $0, seconds: nil, measuredAt: now, drainRate: drainRate) }
        shedding.check(inputs, now: now)
    }

    func post(_ body: String = "{}", type: String = "application/json", length: Int? = nil) async throws -> (
        answer: LoopbackHTTP.Answer, problem: Problem
    ) {
        let request =
            "POST /send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \(type)\r\n"
            + "Content-Length: \(length ?? body.utf8.count)\r\n\r\n" + body
        let answer = try await LoopbackHTTP.ask(request, port: server.port)
        return (answer, try answer.json(Problem.self))
    }

    var metrics: [Substring] {
        String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("sluice_shed_") }
    }
}

@Suite(.timeLimit(.minutes(1))) struct SheddingTests {
    @Test func theLongerOfTheGroupsAndTheProcessesLagCounts() {
        func inputs(_ records: Double?) -> SheddingInputs {
            var inputs = SheddingInputs()
            inputs.lag = records.map { SheddingInputs.Lag(records: $0, seconds: nil, measuredAt: 1, drainRate: 2) }
            inputs.credits = records.map { _ in
                SheddingInputs.PipelineCredits(free: Credits(records: 1, bytes: 1), total: Credits(records: 2, bytes: 2))
            }
            return inputs
        }
        var group = inputs(500)
        group.credits = nil
        #expect(inputs(nil).merged(with: group).lag?.records == 500, "a process without a partition asks Kafka")
        #expect(inputs(100).merged(with: group).lag?.records == 500)
        #expect(inputs(100).merged(with: group).credits == inputs(100).credits)
        #expect(inputs(900).merged(with: group).lag?.records == 900)
        #expect(inputs(900).merged(with: inputs(nil)).lag?.records == 900)
    }

    @Test func everyFamilyIsThereFromTheFirstScrape() throws {
        let registry = MetricsRegistry()
        let shedding = IngressShedding(SheddingLimits(lagRecords: 5), registry: registry)
        let page = String(decoding: registry.render(), as: UTF8.self)
        for line in [
            "sluice_shed_share 0", "sluice_shed_retry_after_seconds 0", #"sluice_shed_requests_total{cause="lag"} 0"#,
            #"sluice_shed_requests_total{cause="time_lag"} 0"#, #"sluice_shed_requests_total{cause="credits"} 0"#,
            #"sluice_shed_requests_total{cause="producer_queue"} 0"#, #"sluice_shed_signal_known{cause="lag"} 0"#,
        ] { #expect(page.contains("\n" + line + "\n"), "the page lacks \(line)") }
        #expect(shedding.refusal() == nil)
    }

    @Test func aRefusalNamesItsCauseAndTheWait() async throws {
        let ingress = try await Ingress()
        ingress.check(lag: 5_000, drainRate: 450, at: second)
        for type in ["application/json", "application/x-www-form-urlencoded"] {
            let (answer, problem) = try await ingress.post(type: type)
            #expect(answer.status == 503)
            #expect(answer.headers["content-type"] == "application/problem+json")
            #expect(problem.type == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
            #expect(problem.cause == "lag" && problem.status == 503 && problem.possibly_persisted == false)
            #expect(problem.detail.contains("limits.shed.lag_records"))
            // (5000 − 500) / 450, and half as much again at most.
            let wait = try #require(problem.retry_after)
            #expect((10...15).contains(wait))
            #expect(answer.retryAfter == wait)
        }
        #expect(ingress.metrics.contains(#"sluice_shed_requests_total{cause="lag"} 2"#))
        #expect(ingress.metrics.contains("sluice_shed_share 1"))
        #expect(ingress.metrics.contains("sluice_shed_retry_after_seconds 10"))
        #expect(ingress.metrics.contains(#"sluice_shed_signal_known{cause="lag"} 1"#))
        #expect(ingress.metrics.contains(#"sluice_shed_signal_known{cause="credits"} 0"#))
        await ingress.close()
    }

    @Test func onlyEventsAreShedAndAtTheHeader() async throws {
        let ingress = try await Ingress()
        ingress.check(lag: 5_000, at: second)
        // The body is never sent. (A body of up to a megabyte would be read and dropped, so that the connection can be kept.)
        let (_, problem) = try await ingress.post("", length: 9_000_000)
        #expect(problem.cause == "lag")
        // Requests that are refused for another reason are not sampled.
        #expect(try await ingress.post("x", type: "text/plain").problem.status == 415)
        #expect(ingress.metrics.contains(#"sluice_shed_requests_total{cause="lag"} 1"#))
        for path in ["/metrics", "/livez"] {
            let answer = try await LoopbackHTTP.ask(
                "GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", port: ingress.server.port)
            #expect(answer.status == 200)
        }
        await ingress.close()
    }

    @Test func anUnknownLagRefusesNothing() async throws {
        let ingress = try await Ingress()
        ingress.check(lag: nil, at: second)
        let (answer, problem) = try await ingress.post()
        #expect(problem.cause == nil, "\(problem)")
        #expect(answer.status == 400, "admitted, and malformed")
        #expect(ingress.metrics.contains(#"sluice_shed_signal_known{cause="lag"} 0"#))
        #expect(ingress.metrics.contains("sluice_shed_share 0"))
        await ingress.close()
    }

    @Test func otherThresholdsApplyFromTheNextCheckOn() throws {
        let shedding = IngressShedding(SheddingLimits(), registry: MetricsRegistry())
        var inputs = SheddingInputs()
        inputs.lag = SheddingInputs.Lag(records: 1_500, seconds: nil, measuredAt: second, drainRate: 0)
        shedding.check(inputs, now: second)
        #expect(shedding.decision == .admitAll)
        shedding.update(SheddingLimits(lagRecords: 1_000))
        shedding.check(inputs, now: second)
        #expect(shedding.decision.share == 0.5)
        shedding.update(SheddingLimits(lagRecords: 3_000))
        shedding.check(inputs, now: 2 * second)
        #expect(abs(shedding.decision.share - 0.3) < 1e-9, "admitted again step by step")
        shedding.update(SheddingLimits())
        shedding.check(inputs, now: 2 * second)
        #expect(shedding.decision == .admitAll)
    }

    @Test func healthReportsLoadShedding() throws {
        let registry = MetricsRegistry()
        let shedding = IngressShedding(SheddingLimits(lagRecords: 1_000), registry: registry)
        let health = Health(role: .all, eventProducer: nil, shedding: shedding) { pipelineState() }
        func body() -> (status: Int, text: String) {
            let response = health.readiness(isDetailed: true)
            guard case .built(_, let body) = response.content else { return (response.status, "") }
            return (response.status, String(decoding: body, as: UTF8.self))
        }
        #expect(!body().text.contains("shedding"))
        var inputs = SheddingInputs()
        inputs.lag = SheddingInputs.Lag(records: 1_250, seconds: nil, measuredAt: second, drainRate: 75)
        shedding.check(inputs, now: second)
        let some = body()
        #expect(some.status == 200, "some are admitted")
        #expect(some.text.contains(#""shedding":{"share":0.25,"cause":"lag","retry_after":10}"#), "\(some.text)")
        inputs.lag?.records = 2_000
        shedding.check(inputs, now: second)
        let all = body()
        #expect(all.status == 200, "its answers say when to come again")
        #expect(all.text.contains(#""shedding":{"share":1.0,"cause":"lag""#), "\(all.text)")
    }
}

@Suite struct SheddingInputsTests {
    @Test func thePipelinesLagIsAnInput() throws {
        let inputs = SheddingInputs(pipelineState(applied: 5, end: 15), lagInterval: 1, now: 10 * second)
        let lag = try #require(inputs.lag)
        #expect(lag.records == 10 && lag.seconds == 12.5 && lag.drainRate == 100)
        #expect(lag.measuredAt == 9 * second + second / 2)
        #expect(inputs.credits == SheddingInputs.PipelineCredits(free: .zero, total: .zero))
        #expect(SheddingInputs(pipelineState(end: nil, lagSeconds: nil), lagInterval: 1, now: 10 * second).lag == nil)
        #expect(SheddingInputs(pipelineState(), lagInterval: 0.1, now: 0).lag?.measuredAt == 0)
    }

    @Test func oldLagIsUnknown() throws {
        var machine = GroupLagMachine()
        let sources = [0, 1].map { TopicPartition("t", $0) }
        machine.asked(sources, now: second)
        machine.answered([sources[0]: .init(committed: 0, end: 100), sources[1]: .init(committed: 0, end: 7)], now: second)
        machine.answered([sources[1]: .init(committed: 0, end: 9)], now: 4 * second)
        func lag(at now: UInt64, interval: Double = 1) -> SheddingInputs.Lag? {
            SheddingInputs(machine.sampled(now: now, window: 12 * second), lagInterval: interval, now: now).lag
        }
        #expect(lag(at: 4 * second)?.records == 109)
        let late = try #require(lag(at: 6 * second))
        #expect(late.records == 9, "a lower bound: the partitions whose lag is known")
        #expect(late.measuredAt == 4 * second)
        #expect(lag(at: 8 * second) == nil)
        #expect(lag(at: 8 * second, interval: 10)?.records == 109, "the validity follows the lag interval")
        #expect(SheddingInputs(machine.sampled(now: 8 * second, window: second), lagInterval: 1, now: 8 * second).credits == nil)
    }
}
