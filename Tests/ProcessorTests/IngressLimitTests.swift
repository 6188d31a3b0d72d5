// Proves what the rate limits answer over HTTP: header fields, clients, refusals before the body, and changes while the process runs.

import Admission
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

/// An answer: status, headers in lower case, and the members of its body.
private struct Answer {
    let status: Int
    let headers: [String: String]
    let retryAfter: Int?
    let body: [String: Any]

    init(_ answer: LoopbackHTTP.Answer) throws {
        (status, headers, retryAfter) = (answer.status, answer.headers, answer.retryAfter)
        let isJSON = headers["content-type"]?.contains("json") == true
        body = isJSON ? try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any] ?? [:] : [:]
    }

    var violated: [String] { body["violated-policies"] as? [String] ?? [] }
}

/// An ingress whose clock the test sets.
private final class Ingress: Sendable {
    let server: HTTPServer
    let limits: IngressLimits
    let registry = MetricsRegistry()
    let now = Shared<UInt64>(0)
    private let behind: TestEventProducer

    private init(_ settings: SluiceSettings, isOpen: Bool) async throws {
        limits = IngressLimits(settings, clock: { [now] in now.current })
        limits.register(on: registry)
        behind = try await TestEventProducer(isOpen: isOpen)
        let routes = Routes(
            role: .ingress, eventProducer: behind.eventProducer, limits: limits, admin: nil,
            authorizer: RequestAuthorizer(settings.http),
            registry: registry,
            health: Health(role: .ingress, eventProducer: behind.eventProducer) { nil })
        server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: routes)
    }

    static func run(
        _ settings: SluiceSettings, isOpen: Bool = true, _ body: (Ingress) async throws -> Void
    ) async throws {
        let ingress = try await Ingress(settings, isOpen: isOpen)
        let result: Result<Void, any Error>
        do { result = .success(try await body(ingress)) } catch { result = .failure(error) }
        await ingress.server.stop(deadline: .seconds(5))
        await ingress.behind.close()
        try result.get()
    }

    func post(_ body: String = event, headers: [String] = []) async throws -> Answer {
        let lines =
            [
                "POST /send HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
                "Content-Length: \(body.utf8.count)",
            ] + headers
        return try Answer(
            try await LoopbackHTTP.ask(lines.joined(separator: "\r\n") + "\r\n\r\n" + body, port: server.port))
    }

    /// Posts events, one a line.
    func postLines(_ lines: String) async throws -> Answer {
        let request =
            "POST /send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
            + "Content-Length: \(lines.utf8.count)\r\n\r\n"
        return try Answer(try await LoopbackHTTP.ask(request + lines, port: server.port))
    }

    /// Posts so many bytes that are no event, in one chunk; if admitted, they are answered 400.
    func postChunk(_ count: Int) async throws -> Answer {
        let request = [
            "POST /send HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
            "Transfer-Encoding: chunked", "", String(count, radix: 16), String(repeating: "x", count: count), "0", "", "",
        ].joined(separator: "\r\n")
        return try Answer(try await LoopbackHTTP.ask(request, port: server.port))
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

@Suite(.timeLimit(.minutes(10))) struct IngressLimitTests {
    @Test func aRefusalNamesThePolicyAndTheWait() async throws {
        let quota = PolicySettings(name: "quota", key: .global, unit: .events, window: WindowSettings(limit: 100, seconds: 60))
        let big = PolicySettings(name: "volume", key: .global, unit: .bytes, bucket: BucketSettings(rate: 1_000, burst: 5_000))
        var shadow = PolicySettings(name: "later", key: .client, unit: .requests, bucket: BucketSettings(rate: 1, burst: 1))
        shadow.shadow = true
        try await Ingress.run(settings(burst, quota, big, shadow)) { (ingress: Ingress) async throws in
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="burst",decision="refused"} 0"#))
            for _ in 0..<2 {
                let answer = try await ingress.post()
                #expect(answer.status == 200)
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

            // At exactly that time it is admitted.
            ingress.now.withLock { $0 = 3 * second }
            #expect(try await ingress.post().status == 200)
            #expect(try await ingress.post().status == 429)
            for line in [
                #"sluice_ratelimit_decisions_total{policy="burst",decision="allowed"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="burst",decision="refused"} 2"#,
                #"sluice_ratelimit_decisions_total{policy="quota",decision="allowed"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="later",decision="shadow_refused"} 3"#,
                #"sluice_ratelimit_decisions_total{policy="volume",decision="too_large"} 0"#,
                #"sluice_ratelimit_quota_requests{policy="burst"} 2"#,
                #"sluice_ratelimit_refill_seconds{policy="burst"} 5"#, "sluice_ratelimit_keys 1",
                "sluice_ratelimit_overflow_total 0",
            ] { #expect(ingress.metrics.contains(line), "\(line) is not among \(ingress.metrics)") }
        }
    }

    @Test func aRequestLargerThanAPolicyIs413AndNamesIt() async throws {
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 100))
        try await Ingress.run(settings(small)) { (ingress: Ingress) async throws in
            let answer = try await ingress.post(String(repeating: " ", count: 101))
            #expect(answer.status == 413)
            #expect(answer.violated == ["small"])
            #expect(answer.retryAfter == nil)
            #expect(answer.headers["ratelimit-policy"] == #""small";q=100;qu="content-bytes";w=100"#)
            #expect((answer.body["detail"] as? String)?.contains("small (100 bytes)") == true)
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="small",decision="too_large"} 1"#))
            // Its bytes came off the wire: one more than the bucket holds.
            let next = try await ingress.post()
            #expect(next.status == 429)
            #expect(next.retryAfter == 2 * event.utf8.count + 1)
            ingress.now.withLock { $0 = UInt64(2 * event.utf8.count + 1) * second }
            #expect(try await ingress.post().status == 200)
        }
    }

    @Test func chunksAreChargedWhenTheyHaveArrived() async throws {
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 100))
        try await Ingress.run(settings(small)) { (ingress: Ingress) async throws in
            #expect(try await ingress.postChunk(101).status == 413)
            ingress.now.withLock { $0 = 101 * second }
            #expect(try await ingress.postChunk(80).status == 400)
            let refused = try await ingress.postChunk(30)
            #expect(refused.status == 429)
            // The refused bytes came off the wire as well, and 20 are left.
            #expect(refused.headers["ratelimit"] == #""small";r=20;t=40"#)
            ingress.now.withLock { $0 += 40 * second }
            #expect(try await ingress.postChunk(30).status == 400)
        }
    }

    /// White space before an event, blank lines, and what is dropped of a refused body.
    @Test func everyByteOffTheWireIsCharged() async throws {
        let bytes = PolicySettings(name: "bytes", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 100_000))
        func left(_ ingress: Ingress) async throws -> Int {
            // Larger than what is left, and refused at its header: the field tells how much that is.
            let refused = try await ingress.post(String(repeating: " ", count: 99_999))
            return Int(try #require(refused.headers["ratelimit"]).split(separator: ";")[1].dropFirst(2)) ?? -1
        }
        for (type, body) in [
            ("application/json", String(repeating: " ", count: 30_000) + event),
            ("application/x-ndjson", event + String(repeating: "\n", count: 30_000)),
            ("text/plain", String(repeating: "x", count: 30_000)),
        ] {
            try await Ingress.run(settings(bytes)) { (ingress: Ingress) async throws in
                let request =
                    "POST /send HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: \(type)\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
                let answer = try Answer(try await LoopbackHTTP.ask(request, port: ingress.server.port))
                #expect(answer.status == (type == "text/plain" ? 415 : 200))
                // The last bytes are charged when the request has ended, which may be after the answer.
                #expect(await eventually { ingress.server.statistics.requestsInFlight == 0 })
                let rest = try await left(ingress)
                // How much of a refused body still comes depends on when its client reads the answer, and closes.
                let most = type == "text/plain" ? 99_999 : 100_000 - body.utf8.count
                #expect((100_000 - body.utf8.count...most).contains(rest), "\(type): \(rest)")
            }
        }
    }

    /// Tokens and proxies may change between a request's header and its body: it stays the client that it was.
    @Test func aRequestKeepsItsClient() async throws {
        let two = PolicySettings(name: "two", key: .client, unit: .events, bucket: BucketSettings(rate: 0.01, burst: 2))
        var before = settings(two)
        before.http.trustedProxies = [try #require(IPNetwork("127.0.0.1"))]
        let first = before
        try await Ingress.run(first) { (ingress: Ingress) async throws in
            let port = ingress.server.port
            let statuses = try await LoopbackConnection.blocking {
                var statuses: [Int] = []
                for number in 0..<4 {
                    let connection = try LoopbackConnection(port: port)
                    try connection.send(
                        "POST /send HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n")
                    try connection.sendChunk(event.prefix(10).utf8)
                    try until("its header was judged") { ingress.server.statistics.requests == number + 1 }
                    var changed = first
                    changed.http.trustedProxies = []
                    ingress.limits.update(changed)
                    try connection.sendChunk(event.dropFirst(10).utf8)
                    try connection.sendChunk([])
                    statuses.append(try connection.answer().status)
                    ingress.limits.update(first)
                }
                return statuses
            }
            #expect(statuses == [200, 200, 429, 429])
            #expect(ingress.metrics.contains("sluice_ratelimit_keys 1"))
        }
    }

    @Test func aBatchIsToldWhenAllOfItsRestPasses() async throws {
        let slow = PolicySettings(name: "slow", key: .client, unit: .events, bucket: BucketSettings(rate: 1, burst: 100))
        try await Ingress.run(settings(slow)) { (ingress: Ingress) async throws in
            let lines = String(repeating: event + "\n", count: 100)
            #expect(try await ingress.postLines(String(repeating: event + "\n", count: 70)).status == 200)
            let part = try await ingress.postLines(lines)
            #expect(part.status == 207)
            let waits = (part.body["results"] as? [[String: Any]])?.compactMap { $0["retry_after"] as? Int }
            #expect(waits == Array(repeating: 70, count: 70), "the 70 that were refused pass together in as many seconds")
            // The number of events is not known at the header.
            #expect(try await ingress.postLines(lines).retryAfter == 1)
            ingress.now.withLock { $0 = 70 * second }
            #expect(
                try await ingress.postLines(String(repeating: event + "\n", count: 70)).status == 200, "after the announced wait")
        }
    }

    @Test func bytesOfNoEventAreCharged() async throws {
        let volume = PolicySettings(name: "volume", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 200_000))
        try await Ingress.run(settings(volume)) { (ingress: Ingress) async throws in
            let blank = try await ingress.postLines(String(repeating: "\n", count: 300_000) + event)
            #expect(blank.status == 429)
        }
        let more = PolicySettings(name: "more", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 2_000_000))
        try await Ingress.run(settings(more)) { (ingress: Ingress) async throws in
            let large = try await ingress.postLines(String(repeating: "x", count: 3_000_000) + "\n" + event)
            #expect(large.status == 429)
        }
    }

    /// Sending a refused body again is another request.
    @Test func theWaitOfARefusedBodyCountsTheNextRequest() async throws {
        let few = PolicySettings(name: "few", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.1, burst: 2))
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1_000, burst: 1_000))
        try await Ingress.run(settings(few, small)) { (ingress: Ingress) async throws in
            #expect(try await ingress.postChunk(900).status == 400)
            let refused = try await ingress.postChunk(900)
            #expect(refused.status == 429)
            #expect(refused.violated == ["small"])
            let wait = try #require(refused.retryAfter)
            #expect(wait >= 10)
            ingress.now.withLock { $0 += UInt64(wait) * second }
            #expect(try await ingress.postChunk(900).status == 400)
        }
    }

    @Test func clientsBehindProxiesAreAddresses() async throws {
        var settings = settings(burst)
        settings.http.trustedProxies = [try #require(IPNetwork("127.0.0.1"))]
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            func drained(_ headers: String...) async throws -> Int {
                var passed = 0
                while passed < 9, try await ingress.post(headers: headers).status == 200 { passed += 1 }
                return passed
            }
            #expect(try await drained() == 2)
            #expect(try await drained("X-Forwarded-For: 192.0.2.1") == 2)
            #expect(try await drained("X-Forwarded-For: 6.6.6.6, 192.0.2.1") == 0)
            #expect(
                try await drained("X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1") == 0, "the last line is the proxy's")
            #expect(try await drained("X-Forwarded-For: 192.0.2.2") == 2)
        }
    }

    /// 100,000 clients and quotas for a thousand: limited clients stay limited, and health checks are answered.
    @Test func aFloodOfClientsIsRefusedAndFreesNoOne() async throws {
        var settings = settings(
            PolicySettings(name: "slow", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.001, burst: 1)))
        settings.http.trustedProxies = [try #require(IPNetwork("127.0.0.1"))]
        settings.limits.maxKeys = 1_000
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            let limited = ["X-Forwarded-For: 192.0.2.1"]
            #expect(try await ingress.post(headers: limited).status == 200)
            #expect(try await ingress.post(headers: limited).status == 429)
            let port = ingress.server.port
            let passed = try await LoopbackConnection.blocking {
                let connection = try LoopbackConnection(port: port)
                let health = try LoopbackConnection(port: port)
                var (passed, slow) = (0, 0)
                for turn in 0..<1_000 {
                    let requests = (0..<100).map { number in
                        "POST /send HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nX-Forwarded-For: 10.\(turn / 250).\(turn % 250).\(number)\r\n\r\nx"
                    }
                    try connection.send(requests.joined())
                    for _ in requests {
                        // If admitted, it is malformed.
                        let status = try connection.answer().status
                        if status == 400 { passed += 1 } else { #expect(status == 429) }
                    }
                    guard turn.isMultiple(of: 50) else { continue }
                    let begin = ContinuousClock.now
                    try health.send("GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n")
                    #expect(try health.answer().status == 200)
                    if ContinuousClock.now - begin >= .seconds(1) { slow += 1 }
                }
                // Twenty were asked; those that come while the machine stands still take longer.
                #expect(slow <= 2)
                return passed
            }
            // One for each client with a quota except the first, and one for all others together.
            #expect(passed == 999 + 1)
            #expect(ingress.metrics.contains("sluice_ratelimit_keys 1000"))
            // The admitted request was charged twice: at its header and at its body.
            #expect(ingress.metrics.contains("sluice_ratelimit_overflow_total 99002"))
            #expect(try await ingress.post(headers: limited).status == 429)
        }
    }

    @Test func clientsWithTokensAreTheirNames() async throws {
        var settings = settings(burst)
        settings.http.trustedProxies = [try #require(IPNetwork("127.0.0.1"))]
        settings.http.tokens = ["shop": "0123456789abcdef", "till": "fedcba9876543210"]
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            func drained(_ token: String, _ address: String) async throws -> Int {
                var passed = 0
                let headers = ["Authorization: Bearer \(token)", "X-Forwarded-For: \(address)"]
                while passed < 9, try await ingress.post(headers: headers).status == 200 { passed += 1 }
                return passed
            }
            #expect(try await drained("0123456789abcdef", "192.0.2.2") == 2)
            #expect(try await drained("0123456789abcdef", "192.0.2.3") == 0)
            #expect(try await drained("fedcba9876543210", "192.0.2.3") == 2)
            #expect(try await ingress.post(headers: ["Authorization: Bearer of-nobody-at-all"]).status == 401)
        }
    }

    /// A request that the server cannot take costs nothing of the client's quota.
    @Test func nothingIsChargedWhileNothingCanBeProduced() async throws {
        try await Ingress.run(settings(burst), isOpen: false) { (ingress: Ingress) async throws in
            for _ in 0..<5 { #expect(try await ingress.post().status == 503) }
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="burst",decision="allowed"} 0"#))
        }
        try await Ingress.run(settings(burst)) { (ingress: Ingress) async throws in
            let request = [
                "POST /send HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/x-ndjson",
                "Content-Length: \(1 << 40)", "", "",
            ].joined(separator: "\r\n")
            for _ in 0..<5 { #expect(try await LoopbackHTTP.ask(request, port: ingress.server.port).status == 413) }
            #expect(ingress.metrics.contains(#"sluice_ratelimit_decisions_total{policy="burst",decision="allowed"} 0"#))
        }
    }

    @Test func aChangeAppliesAtOnceAndRefillsNothing() async throws {
        try await Ingress.run(settings(burst)) { (ingress: Ingress) async throws in
            for expected in [200, 200, 429] { #expect(try await ingress.post().status == expected) }
            var wider = burst
            wider.bucket = BucketSettings(rate: 1, burst: 50)
            var changed = settings(wider)
            changed.limits.headers = false
            ingress.limits.update(changed)
            let refused = try await ingress.post()
            #expect(refused.status == 429, "what was used stays used")
            #expect(refused.retryAfter == 1)
            #expect(refused.headers["ratelimit"] == nil && refused.headers["ratelimit-policy"] == nil)
            ingress.limits.update(settings())
            #expect(try await ingress.post().status == 200)
        }
    }

    @Test func theJitterIsUpwardsOnlyAndSpreads() async throws {
        var settings = settings(
            PolicySettings(name: "slow", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.05, burst: 1)))
        settings.limits.retryJitter = 0.5
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            #expect(try await ingress.post().status == 200)
            var seen: [Int] = []
            for _ in 0..<44 { seen.append(try #require(try await ingress.post().retryAfter)) }
            #expect(seen.min() == 20)
            #expect(seen.max() == 30)
            #expect(Set(seen).count == 11, "44 clients over 11 seconds: every second occurs")
            #expect(seen.allSatisfy { second in seen.filter { $0 == second }.count <= 6 })
        }
    }

    /// Many distinct responses.
    @Test func everyRefusalHasItsOwnWait() async throws {
        var settings = settings(
            PolicySettings(name: "slow", key: .client, unit: .requests, bucket: BucketSettings(rate: 0.01, burst: 1)))
        settings.limits.retryJitter = 4
        try await Ingress.run(settings) { (ingress: Ingress) async throws in
            #expect(try await ingress.post().status == 200)
            var seen: Set<[Int]> = []
            for turn in 0..<600 {
                ingress.now.withLock { $0 = UInt64(turn) * second / 10 }
                let left = 100 - turn / 10
                let refused = try await ingress.post()
                #expect(refused.status == 429 && refused.violated == ["slow"])
                #expect(refused.headers["ratelimit"] == #""slow";r=0;t=\#(left)"#)
                let wait = try #require(refused.retryAfter)
                #expect((left...5 * left).contains(wait))
                seen.insert([left, wait])
            }
            #expect(seen.count > 300)
        }
    }
}
