// Proves who may send events and read metrics: tokens, loopback, and changes while the process runs.

import Decode
import Foundation
import HTTPServer
import Telemetry
import TestSupport
import Testing

@testable import sluice

private let one = "0123456789abcdef"
private let two = "0123456789abcdeF"

@Suite struct BearerTokensTests {
    private func name(_ token: some Sequence<UInt8>, in tokens: BearerTokens) -> String? {
        (Array("Bearer ".utf8) + token).withUnsafeBytes { tokens.claim(authorization: $0).name }
    }

    @Test func aTokenIsFoundByItsDigest() {
        let longest = String(repeating: "x", count: BearerTokens.lengths.upperBound)
        let configured = ["one": one, "two": two, "long": longest, "longer": String(longest.dropLast()) + "y"]
        let tokens = BearerTokens(configured)
        for (name, token) in configured { #expect(self.name(token.utf8, in: tokens) == name) }
        for wrong in [
            "", "0", String(one.dropLast()), one + "0", one + one, longest + "x", String(longest.dropLast()), one + "\0",
            String(repeating: "x", count: 100_000),
        ] {
            #expect(name(wrong.utf8, in: tokens) == nil, "\(wrong)")
        }
        #expect(name(one.utf8, in: BearerTokens([:])) == nil)
    }

    @Test func aMissingTokenIsToldFromAnUnknownOne() {
        let tokens = BearerTokens(["one": one])
        func claim(_ header: String) -> BearerTokens.Claim {
            Array(header.utf8).withUnsafeBytes { tokens.claim(authorization: $0) }
        }
        #expect(claim("Basic \(one)") == .missing)
        #expect(claim("Bearer") == .missing)
        #expect(claim("Bearer \(two)") == .unknown)
        #expect(claim("Bearer \(one)") == .known(name: "one"))
    }

    @Test func ofManyTokensEachIsFoundAndNoOther() {
        let seed = testSeed("bearer tokens")
        var random = SeededRandom(seed: seed)
        var configured: [String: String] = [:]
        for index in 0..<300 {
            let length = Int.random(in: BearerTokens.lengths, using: &random)
            let bytes = (0..<length).map { _ in UInt8.random(in: 0x21...0x7E, using: &random) }
            configured["client-\(index)"] = String(decoding: bytes, as: UTF8.self)
        }
        let tokens = BearerTokens(configured)
        for (name, token) in configured {
            var bytes = Array(token.utf8)
            #expect(self.name(bytes, in: tokens) == name, "seed \(seed)")
            // With one bit of any byte changed it is unknown.
            let position = Int.random(in: bytes.indices, using: &random)
            bytes[position] ^= 1 << UInt8.random(in: 0..<7, using: &random)
            #expect(self.name(bytes, in: tokens) == nil, "seed \(seed)")
        }
    }

    @Test(arguments: [
        ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER   abc", "abc"), ("Bearer a b", "a b"), ("Bearer", nil),
        ("Bearer ", nil),
        ("Basic abc", nil), ("Bearerabc", nil), ("", nil), ("Bearer\tabc", nil), (" Bearer abc", nil),
    ])
    func theTokenIsParsed(from header: String, token: String?) {
        let offered = Array(header.utf8).withUnsafeBytes { bytes in
            BearerTokens.token(bytes).map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(offered == token)
    }
}

/// A server whose routes authorize by some settings, without Kafka.
private final class Ingress: Sendable {
    let reloader: HTTPServerReloader
    let registry = MetricsRegistry()

    init(_ http: HTTPSettings) throws {
        let authorizer = RequestAuthorizer(http)
        let eventProducer = EventProducer(try TestEventProducer.validator())
        let routes = Routes(
            role: .ingress, eventProducer: eventProducer, admin: nil, authorizer: authorizer, registry: registry,
            health: Health(role: .ingress, eventProducer: eventProducer) { nil })
        // The authorizer knows the host of the settings; the server listens on loopback all the same.
        var local = http
        local.host = "127.0.0.1"
        local.port = 0
        let server = try HTTPServer.start(configuration: local.server(identity: nil), handler: routes)
        reloader = HTTPServerReloader(server, http: http, identity: nil, authorizer: authorizer, logger: .silent)
        reloader.register(registry)
    }

    func stop() async { await reloader.server.stop(deadline: .zero) }

    /// Status and text of an answer.
    func ask(_ method: String, _ path: String, _ headers: [String] = []) async throws -> (status: Int, text: String) {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"] + headers
        if method == "POST" { lines += ["Content-Type: application/json", "Content-Length: 2"] }
        let request = lines.joined(separator: "\r\n") + "\r\n\r\n" + (method == "POST" ? "{}" : "")
        let text = String(decoding: try await LoopbackHTTP.exchange(request, port: reloader.server.port), as: UTF8.self)
        return (Int(text.split(separator: " ")[1]) ?? 0, text)
    }

    /// What `/readyz` answers, with its status line.
    func readiness(_ headers: String...) async throws -> String { try await ask("GET", "/readyz", headers).text }

    /// The status of an event's answer; 503 says that it was authorized, because Kafka is not connected.
    func send(_ headers: String...) async throws -> Int { try await ask("POST", "/send", headers).status }
}

@Suite(.timeLimit(.minutes(2))) struct RequestAuthorizerTests {
    private func settings(_ change: (inout HTTPSettings) -> Void = { _ in }) -> HTTPSettings {
        var http = HTTPSettings()
        change(&http)
        return http
    }

    @Test func byDefaultLocalRequestsNeedNoToken() async throws {
        let ingress = try Ingress(settings())
        #expect(try await ingress.send() == 503)
        #expect(try await ingress.ask("GET", "/metrics").status == 200)
        // Web pages of other hosts may not make a browser post; pages of this machine may.
        #expect(try await ingress.send("Origin: https://evil.example") == 403)
        #expect(try await ingress.send("Origin: https://localhost.evil.example") == 403)
        #expect(try await ingress.send("Origin: null") == 403)
        #expect(try await ingress.send("Origin: http://localhost:3000") == 503)
        #expect(try await ingress.send("Origin: http://[::1]:3000") == 503)
        await ingress.stop()
    }

    @Test func aTokenIsRequiredWhereTokensAreConfigured() async throws {
        let ingress = try Ingress(settings { $0.tokens = ["billing": one, "shop": two] })
        let missing = try await ingress.ask("POST", "/send")
        #expect(missing.status == 401)
        #expect(missing.text.contains("WWW-Authenticate: Bearer realm=\"sluice\"\r\n"))
        let wrong = try await ingress.ask("POST", "/send", ["Authorization: Bearer \(one)x"])
        #expect(wrong.status == 401)
        #expect(wrong.text.contains("WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n"))
        #expect(!wrong.text.contains(one) && !wrong.text.contains("billing"))
        #expect(try await ingress.send("Authorization: Basic \(one)") == 401)
        #expect(try await ingress.send("Authorization: Bearer \(one)") == 503)
        #expect(try await ingress.send("Authorization: bearer \(two)", "Origin: https://elsewhere.example") == 503)
        // Health checks need no token, and metrics have one of their own.
        #expect(try await ingress.ask("GET", "/livez").status == 200)
        #expect(try await ingress.ask("GET", "/metrics").status == 200)
        let page = String(decoding: ingress.registry.render(), as: UTF8.self)
        #expect(page.contains(#"sluice_http_requests_total{route="/send",status="401"} 3"#))
        #expect(!page.contains(one))
        await ingress.stop()
    }

    @Test func metricsHaveATokenOfTheirOwn() async throws {
        let ingress = try Ingress(
            settings {
                $0.tokens = ["billing": one]
                $0.metricsToken = two
            })
        #expect(try await ingress.ask("GET", "/metrics").status == 401)
        #expect(try await ingress.ask("GET", "/metrics", ["Authorization: Bearer \(one)"]).status == 401)
        #expect(try await ingress.ask("GET", "/metrics", ["Authorization: Bearer \(two)"]).status == 200)
        #expect(try await ingress.send("Authorization: Bearer \(two)") == 401)
        await ingress.stop()
    }

    @Test func onLoopbackOnlyLocalRequestsReadMetricsAndDetails() async throws {
        let ingress = try Ingress(settings())
        #expect(try await ingress.readiness().contains("\"reason\""))
        for header in ["X-Forwarded-For: 10.0.0.7", "Via: 1.1 proxy", "Origin: https://evil.example"] {
            #expect(try await ingress.ask("GET", "/metrics", [header]).status == 403, "\(header)")
            #expect(try await !ingress.readiness(header).contains("\"reason\""), "\(header)")
        }
        // DNS rebinding: the page's own host name leads here.
        let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.example:8000\r\nConnection: close\r\n\r\n"
        let answer = try await LoopbackHTTP.ask(rebound, port: ingress.reloader.server.port)
        #expect(answer.status == 403)
        await ingress.stop()
    }

    @Test func detailsOfReadinessNeedARight() async throws {
        let ingress = try Ingress(
            settings {
                $0.host = "0.0.0.0"
                $0.tokens = ["billing": String(repeating: "b", count: 16)]
                $0.metricsToken = one
                $0.adminToken = two
            })
        for stranger in [[], ["Authorization: Bearer bbbbbbbbbbbbbbbb"], ["Authorization: Bearer \(one)x"]] {
            let (status, text) = try await ingress.ask("GET", "/readyz", stranger)
            #expect(status == 503 && text.hasSuffix("\r\n\r\n{\"status\":\"unavailable\"}"), "\(text)")
        }
        for token in [one, two] {
            #expect(try await ingress.readiness("Authorization: Bearer \(token)").contains("\"reason\""))
        }
        await ingress.stop()
    }

    @Test func withoutTokensOnAnotherAddressNobodySendsOrReadsMetrics() async throws {
        let ingress = try Ingress(settings { $0.host = "0.0.0.0" })
        #expect(try await ingress.send() == 403)
        #expect(try await ingress.ask("GET", "/metrics").status == 404)
        #expect(try await !ingress.readiness().contains("\"reason\""))
        await ingress.stop()
        let open = try Ingress(
            settings {
                $0.host = "0.0.0.0"
                $0.allowUnauthenticated = true
            })
        #expect(try await open.send() == 503)
        #expect(try await open.ask("GET", "/metrics").status == 404)
        // No page may make the browsers of its visitors send events, not even one of the same name.
        for origin in ["https://pages.example", "null", "http://localhost:3000", "http://localhost"] {
            #expect(try await open.send("Origin: \(origin)") == 403, "\(origin)")
        }
        await open.stop()
        // On loopback the rule for web pages holds with allow_unauthenticated as well.
        let near = try Ingress(settings { $0.allowUnauthenticated = true })
        #expect(try await near.send("Origin: https://pages.example") == 403)
        #expect(try await near.send() == 503)
        await near.stop()
    }

    @Test func tokensAndLimitsChangeWhileItServes() async throws {
        let ingress = try Ingress(settings { $0.tokens = ["billing": one] })
        #expect(try await ingress.send("Authorization: Bearer \(one)") == 503)
        ingress.reloader.update(
            settings {
                $0.tokens = ["shop": two]
                $0.metricsToken = one
                $0.connections = 1
            })
        #expect(try await ingress.send("Authorization: Bearer \(one)") == 401)
        #expect(try await ingress.send("Authorization: Bearer \(two)") == 503)
        #expect(try await ingress.ask("GET", "/metrics").status == 401)
        ingress.reloader.update(settings())
        #expect(try await ingress.send() == 503)
        await ingress.stop()
    }

    @Test func aTokenHasTheNameOfItsClient() async throws {
        /// Answers with the name of the client.
        final class Names: HTTPHandler {
            let routes = HTTPRoutes([HTTPRoute(.get, "/")])
            let authorizer: RequestAuthorizer
            init(_ authorizer: RequestAuthorizer) { self.authorizer = authorizer }
            func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
                let name = try? authorizer.send(request.head)
                exchange.respond(.text(200, name ?? "nobody"))
            }
        }
        let names = Names(RequestAuthorizer(settings { $0.tokens = ["billing": one, "shop": two] }))
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: names)
        func client(_ header: String) async throws -> String {
            let request = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\(header)\r\n"
            let text = String(decoding: try await LoopbackHTTP.exchange(request, port: server.port), as: UTF8.self)
            return text.components(separatedBy: "\r\n\r\n").last ?? ""
        }
        #expect(try await client("Authorization: Bearer \(one)\r\n") == "billing")
        #expect(try await client("Authorization: Bearer \(two)\r\n") == "shop")
        #expect(try await client("Authorization: Bearer nobody\r\n") == "nobody")
        #expect(try await client("") == "nobody")
        await server.stop(deadline: .zero)
    }

    @Test func allMetricsAreThereFromTheFirstScrape() async throws {
        let ingress = try Ingress(settings())
        let page = String(decoding: ingress.registry.render(), as: UTF8.self)
        for line in [
            "sluice_http_connections 0", "sluice_http_crowded_out_total 0",
            #"sluice_http_connections_ended_total{reason="header_timeout"} 0"#,
            #"sluice_http_connections_ended_total{reason="body_timeout"} 0"#,
            #"sluice_http_connections_ended_total{reason="reserve_full"} 0"#,
            "# TYPE sluice_http_certificate_expiry_timestamp_seconds gauge",
        ] { #expect(page.contains(line + "\n"), "\(line)") }
        #expect(!page.contains("\nsluice_http_certificate_expiry_timestamp_seconds "), "no TLS, no series")
        await ingress.stop()
    }
}
