// Proves what the limits answer over HTTP: refusals with honest header fields, per client, before the body, and live after a change.

import Backpressure
import Decode
import Foundation
import HTTPServer
import Telemetry
import TestSupport
import Testing

@testable import sluice

private let second: UInt64 = 1_000_000_000
private let event = #"{"action":"Create","message_id":1,"data":{"name":"a","message":"b"}}"#

/// An answer: status, headers in lower case, the members of its body.
private struct Answer {
    let status: Int
    let headers: [String: String]
    let body: [String: Any]

    init(parsing bytes: [UInt8]) throws {
        let parts = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n\r\n")
        let lines = parts[0].components(separatedBy: "\r\n")
        status = Int(lines[0].split(separator: " ")[1]) ?? 0
        headers = Dictionary(
            lines.dropFirst().map { line in
                let pair = line.components(separatedBy: ": ")
                return (pair[0].lowercased(), pair.dropFirst().joined(separator: ": "))
            }, uniquingKeysWith: { first, _ in first })
        let body = try JSONSerialization.jsonObject(with: Data(parts.dropFirst().joined().utf8))
        self.body = body as? [String: Any] ?? [:]
    }

    var violated: [String] { body["violated-policies"] as? [String] ?? [] }
    var retryAfter: Int? { headers["retry-after"].flatMap { Int($0) } }
}

/// An ingress without Kafka, whose clock stands: whatever the limits let pass is answered 503.
private final class Ingress: Sendable {
    let server: HTTPServer
    let limits: IngressLimits
    let registry = MetricsRegistry()
    let now = Shared<UInt64>(0)

    init(_ settings: SluiceSettings) throws {
        let mapping = try Configuration.load(
            path: TestPostgres.checkout.path + "/config/sluice.yaml", environment: [:]
        ).mapping
        limits = IngressLimits(settings, clock: { [now] in now.current }, name: { $0.header("X-Test-Name") })
        limits.register(on: registry)
        let gate = EventGate(mapping: mapping)
        let routes = Routes(
            role: .ingress, gate: gate, limits: limits, desk: nil, registry: registry,
            health: Health(role: .ingress, gate: gate) { nil })
        server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: routes)
    }

    static func run(_ settings: SluiceSettings, _ body: (Ingress) async throws -> Void) async throws {
        let ingress = try Ingress(settings)
        let result: Result<Void, any Error>
        do { result = .success(try await body(ingress)) } catch { result = .failure(error) }
        await ingress.server.stop(deadline: .seconds(5))
        try result.get()
    }

    func post(_ body: String = event, headers: [String] = []) async throws -> Answer {
        let lines =
            [
                "POST /send HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
                "Content-Length: \(body.utf8.count)",
            ] + headers
        return try Answer(
            parsing: try await LoopbackHTTP.exchange(lines.joined(separator: "\r\n") + "\r\n\r\n" + body, port: server.port))
    }

    var metrics: [String] {
        String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
    }
}

private func settings(_ policies: PolicySettings...) -> SluiceSettings {
    var settings = SluiceSettings()
    settings.limits.policies = policies
    settings.limits.retryJitter = 0
    return settings
}

private let burst = PolicySettings(name: "burst", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.4, burst: 2))

@Suite(.timeLimit(.minutes(2))) struct IngressLimitTests {
    @Test func aRefusalSaysWhoRefusesAndWhenToComeBack() async throws {
        let quota = PolicySettings(name: "quota", key: .global, unit: .events, window: WindowSettings(limit: 100, seconds: 60))
        let big = PolicySettings(name: "volume", key: .global, unit: .bytes, bucket: BucketSettings(rate: 1_000, burst: 5_000))
        var shadow = PolicySettings(name: "later", key: .client, unit: .requests, bucket: BucketSettings(rate: 1, burst: 1))
        shadow.shadow = true
        try await Ingress.run(settings(burst, quota, big, shadow)) { (ingress: Ingress) async throws in
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="burst",decision="refused"} 0"#))
            for _ in 0..<2 {
                let answer = try await ingress.post()
                #expect(answer.status == 503, "let through, and there is no Kafka")
                #expect(answer.headers["ratelimit"] == nil)
            }
            let refused = try await ingress.post()
            #expect(refused.status == 429)
            #expect(refused.headers["content-type"] == "application/problem+json")
            // 2.5 s, rounded up.
            #expect(refused.retryAfter == 3)
            #expect(refused.headers["ratelimit"] == #""burst";r=0;t=3"#)
            #expect(
                refused.headers["ratelimit-policy"]
                    == #""burst";q=2;w=5, "quota";q=100;qu="events";w=60, "volume";q=5000;qu="content-bytes";w=5"#)
            #expect(refused.headers["cache-control"] == "no-store")
            #expect(refused.violated == ["burst"])
            #expect(refused.body["type"] as? String == "https://iana.org/assignments/http-problem-types#quota-exceeded")
            #expect(refused.body["status"] as? Int == 429)
            #expect(refused.body["possibly_persisted"] as? Bool == false)
            #expect((refused.body["detail"] as? String)?.contains("burst (at most 2 requests at once and 0.4 a second") == true)

            // Exactly then it is let through.
            ingress.now.withLock { $0 = 3 * second }
            #expect(try await ingress.post().status == 503)
            #expect(try await ingress.post().status == 429)
            for line in [
                #"sluice_ratelimit_decisions_total{policy="burst",decision="allowed"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="burst",decision="refused"} 2"#,
                #"sluice_ratelimit_decisions_total{policy="quota",decision="allowed"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="later",decision="shadow_refused"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="volume",decision="too_large"} 0"#,
                #"sluice_ratelimit_quota{policy="burst",bound="amount"} 2"#,
                #"sluice_ratelimit_quota{policy="burst",bound="seconds"} 5"#, "sluice_ratelimit_keys 1",
                "sluice_ratelimit_overflow_total 0",
            ] { #expect(ingress.metrics.contains(line), "\(line) is not among \(ingress.metrics)") }
        }
    }

    @Test func whatIsLargerThanAPolicyIs413AndNamesIt() async throws {
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 100))
        try await Ingress.run(settings(small)) { (ingress: Ingress) async throws in
            let answer = try await ingress.post(String(repeating: " ", count: 101))
            #expect(answer.status == 413)
            #expect(answer.violated == ["small"])
            #expect(answer.retryAfter == nil)
            #expect(answer.headers["ratelimit-policy"] == #""small";q=100;qu="content-bytes";w=100"#)
            #expect((answer.body["detail"] as? String)?.contains("small (100 bytes)") == true)
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="small",decision="too_large"} 1"#))
            #expect(try await ingress.post().status == 503, "nothing was charged")
        }
    }

    @Test func chunksAreChargedWhenTheyHaveArrived() async throws {
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 100))
        try await Ingress.run(settings(small)) { (ingress: Ingress) async throws in
            func chunked(_ count: Int) async throws -> Answer {
                let size = String(count, radix: 16)
                let request = [
                    "POST /send HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
                    "Transfer-Encoding: chunked", "", size, String(repeating: "x", count: count), "0", "", "",
                ].joined(separator: "\r\n")
                return try Answer(parsing: try await LoopbackHTTP.exchange(request, port: ingress.server.port))
            }
            #expect(try await chunked(101).status == 413)
            #expect(try await chunked(80).status == 503)
            let refused = try await chunked(30)
            #expect(refused.status == 429)
            #expect(refused.headers["ratelimit"] == #""small";r=20;t=10"#)
        }
    }

    @Test func clientsAreNamesOrElseAddressesBehindProxies() async throws {
        var settings = settings(burst)
        settings.http.trustedProxies = 1
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            func drained(_ headers: String...) async throws -> Int {
                var passed = 0
                while passed < 9, try await ingress.post(headers: headers).status == 503 { passed += 1 }
                return passed
            }
            #expect(try await drained() == 2)
            #expect(try await drained("X-Forwarded-For: 192.0.2.1") == 2)
            #expect(try await drained("X-Forwarded-For: 6.6.6.6, 192.0.2.1") == 0)
            #expect(
                try await drained("X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1") == 0, "the last line is the proxy's")
            #expect(try await drained("X-Forwarded-For: 192.0.2.2") == 2)
            #expect(try await drained("X-Forwarded-For: 192.0.2.2", "X-Test-Name: shop") == 2)
            #expect(try await drained("X-Forwarded-For: 192.0.2.3", "X-Test-Name: shop") == 0)
        }
    }

    @Test func aChangeIsInForceAtOnceAndRefillsNothing() async throws {
        try await Ingress.run(settings(burst)) { (ingress: Ingress) async throws in
            for expected in [503, 503, 429] { #expect(try await ingress.post().status == expected) }
            var wider = burst
            wider.bucket = BucketSettings(rate: 1, burst: 50)
            var changed = settings(wider)
            changed.limits.headers = false
            ingress.limits.changed(to: changed)
            let refused = try await ingress.post()
            #expect(refused.status == 429, "what was used stays used")
            #expect(refused.retryAfter == 1)
            #expect(refused.headers["ratelimit"] == nil && refused.headers["ratelimit-policy"] == nil)
            ingress.limits.changed(to: settings())
            #expect(try await ingress.post().status == 503)
        }
    }

    @Test func theJitterIsUpwardsOnlyAndSpreads() async throws {
        var settings = settings(
            PolicySettings(name: "slow", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.05, burst: 1)))
        settings.limits.retryJitter = 0.5
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            #expect(try await ingress.post().status == 503)
            var seen: [Int] = []
            for _ in 0..<44 { seen.append(try #require(try await ingress.post().retryAfter)) }
            #expect(seen.min() == 20)
            #expect(seen.max() == 30)
            #expect(Set(seen).count == 11, "44 clients over 11 seconds: every second is named")
            #expect(seen.allSatisfy { second in seen.filter { $0 == second }.count <= 6 })
        }
    }

    /// More different answers than are kept.
    @Test func answersThatWereDroppedAreMadeAnew() async throws {
        var settings = settings(
            PolicySettings(name: "slow", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.01, burst: 1)))
        settings.limits.retryJitter = 4
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            #expect(try await ingress.post().status == 503)
            var seen: Set<Int> = []
            for _ in 0..<600 {
                let refused = try await ingress.post()
                #expect(refused.status == 429 && refused.violated == ["slow"])
                #expect(refused.headers["ratelimit"] == #""slow";r=0;t=100"#)
                seen.insert(try #require(refused.retryAfter))
            }
            #expect(seen.min() == 100 && seen.max() == 500)
            #expect(seen.count > 300)
        }
    }
}
