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

@Suite struct TokenTableTests {
    private func name(_ offered: String, _ tokens: [String: String]) -> String? {
        let table = TokenTable(tokens)
        return Array(offered.utf8).withUnsafeBytes { table.name(of: $0) }
    }

    @Test func aTokenHasItsName() {
        let longest = String(repeating: "x", count: TokenTable.longest)
        let tokens = ["one": one, "two": two, "long": longest, "longer": String(longest.dropLast()) + "y"]
        for (name, token) in tokens { #expect(self.name(token, tokens) == name) }
        for wrong in [
            "", "0", String(one.dropLast()), one + "0", one + one, longest + "x", String(longest.dropLast()), one + "\0",
        ] {
            #expect(name(wrong, tokens) == nil, "\(wrong)")
        }
        #expect(name(one, [:]) == nil)
    }

    @Test func ofManyTokensEachIsFoundAndNoneElse() {
        let seed = testSeed("token table")
        var random = SeededRandom(seed: seed)
        var tokens: [String: String] = [:]
        for index in 0..<300 {
            let length = Int.random(in: TokenTable.shortest...TokenTable.longest, using: &random)
            let bytes = (0..<length).map { _ in UInt8.random(in: 0x21...0x7E, using: &random) }
            tokens["client-\(index)"] = String(decoding: bytes, as: UTF8.self)
        }
        let table = TokenTable(tokens)
        for (name, token) in tokens {
            var bytes = Array(token.utf8)
            #expect(bytes.withUnsafeBytes { table.name(of: $0) } == name, "seed \(seed)")
            // One bit of any byte makes it nobody's.
            let position = Int.random(in: bytes.indices, using: &random)
            bytes[position] ^= 1 << UInt8.random(in: 0..<7, using: &random)
            #expect(bytes.withUnsafeBytes { table.name(of: $0) } == nil, "seed \(seed)")
        }
    }

    @Test(arguments: [
        ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER   abc", "abc"), ("Bearer a b", "a b"), ("Bearer", nil),
        ("Bearer ", nil),
        ("Basic abc", nil), ("Bearerabc", nil), ("", nil), ("Bearer\tabc", nil), (" Bearer abc", nil),
    ])
    func theHeaderIsTaken(apart header: String, token: String?) {
        let offered = Array(header.utf8).withUnsafeBytes { bytes in
            TokenTable.offered(bytes).map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(offered == token)
    }
}

/// A server whose routes judge by some settings, without Kafka behind it.
private final class Door: Sendable {
    let access: DoorAccess
    let door: HTTPServerReloader
    let registry = MetricsRegistry()

    init(_ http: HTTPSettings) throws {
        let access = DoorAccess(http)
        self.access = access
        let gate = EventProducer(mapping: try TestGate.mapping())
        let routes = Routes(
            role: .ingress, gate: gate, desk: nil, access: access, registry: registry,
            health: Health(role: .ingress, gate: gate) { nil })
        // Judged by the settings' host, and reached over loopback all the same.
        var local = http
        local.host = "127.0.0.1"
        local.port = 0
        let server = try HTTPServer.start(configuration: local.server(identity: nil), handler: routes)
        door = HTTPServerReloader(server, http: http, identity: nil, access: access, desk: nil, logger: .silent)
        door.register(registry)
    }

    func stop() async { await door.server.stop(deadline: .zero) }

    /// Status and text of an answer.
    func ask(_ method: String, _ path: String, _ headers: [String] = []) async throws -> (status: Int, text: String) {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"] + headers
        if method == "POST" { lines += ["Content-Type: application/json", "Content-Length: 2"] }
        let request = lines.joined(separator: "\r\n") + "\r\n\r\n" + (method == "POST" ? "{}" : "")
        let text = String(decoding: try await LoopbackHTTP.exchange(request, port: door.server.port), as: UTF8.self)
        return (Int(text.split(separator: " ")[1]) ?? 0, text)
    }

    /// The status of an event's answer; 503 says that it has been let in, because there is no Kafka.
    func send(_ headers: String...) async throws -> Int { try await ask("POST", "/send", headers).status }
}

@Suite(.timeLimit(.minutes(2))) struct DoorAccessTests {
    private func settings(_ change: (inout HTTPSettings) -> Void = { _ in }) -> HTTPSettings {
        var http = HTTPSettings()
        change(&http)
        return http
    }

    @Test func asShippedThisMachineSendsAndReadsWithoutAToken() async throws {
        let door = try Door(settings())
        #expect(try await door.send() == 503)
        #expect(try await door.ask("GET", "/metrics").status == 200)
        // A page elsewhere makes a browser post, one of this machine may.
        #expect(try await door.send("Origin: https://evil.example") == 403)
        #expect(try await door.send("Origin: https://localhost.evil.example") == 403)
        #expect(try await door.send("Origin: null") == 403)
        #expect(try await door.send("Origin: http://localhost:3000") == 503)
        #expect(try await door.send("Origin: http://[::1]:3000") == 503)
        await door.stop()
    }

    @Test func aTokenIsWantedWhereThereAreAny() async throws {
        let door = try Door(settings { $0.tokens = ["billing": one, "shop": two] })
        let missing = try await door.ask("POST", "/send")
        #expect(missing.status == 401)
        #expect(missing.text.contains("WWW-Authenticate: Bearer realm=\"sluice\"\r\n"))
        let wrong = try await door.ask("POST", "/send", ["Authorization: Bearer \(one)x"])
        #expect(wrong.status == 401)
        #expect(wrong.text.contains("WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n"))
        #expect(!wrong.text.contains(one) && !wrong.text.contains("billing"))
        #expect(try await door.send("Authorization: Basic \(one)") == 401)
        #expect(try await door.send("Authorization: Bearer \(one)") == 503)
        #expect(try await door.send("Authorization: bearer \(two)", "Origin: https://elsewhere.example") == 503)
        // Health is for everybody, and metrics have a token of their own.
        #expect(try await door.ask("GET", "/livez").status == 200)
        #expect(try await door.ask("GET", "/metrics").status == 200)
        let page = String(decoding: door.registry.render(), as: UTF8.self)
        #expect(page.contains(#"sluice_http_requests_total{route="/send",status="401"} 3"#))
        #expect(!page.contains(one))
        await door.stop()
    }

    @Test func metricsHaveATokenOfTheirOwn() async throws {
        let door = try Door(
            settings {
                $0.tokens = ["billing": one]
                $0.metricsToken = two
            })
        #expect(try await door.ask("GET", "/metrics").status == 401)
        #expect(try await door.ask("GET", "/metrics", ["Authorization: Bearer \(one)"]).status == 401)
        #expect(try await door.ask("GET", "/metrics", ["Authorization: Bearer \(two)"]).status == 200)
        #expect(try await door.send("Authorization: Bearer \(two)") == 401)
        await door.stop()
    }

    @Test func elsewhereNobodySendsWithoutATokenAndThisMachineReads() async throws {
        let door = try Door(settings { $0.host = "0.0.0.0" })
        #expect(try await door.send() == 403)
        #expect(try await door.ask("GET", "/metrics").status == 200)
        #expect(try await door.ask("GET", "/metrics", ["X-Forwarded-For: 10.0.0.7"]).status == 403)
        await door.stop()
        let open = try Door(
            settings {
                $0.host = "0.0.0.0"
                $0.allowUnauthenticated = true
            })
        #expect(try await open.send() == 503)
        #expect(try await open.ask("GET", "/metrics", ["X-Forwarded-For: 10.0.0.7"]).status == 200)
        await open.stop()
        // On loopback it is about pages in the browser of this machine, which nothing opens the door for.
        let near = try Door(settings { $0.allowUnauthenticated = true })
        #expect(try await near.send("Origin: https://pages.example") == 403)
        #expect(try await near.send() == 503)
        await near.stop()
    }

    @Test func tokensAndLimitsChangeWhileItServes() async throws {
        let door = try Door(settings { $0.tokens = ["billing": one] })
        #expect(try await door.send("Authorization: Bearer \(one)") == 503)
        door.door.update(
            settings {
                $0.tokens = ["shop": two]
                $0.metricsToken = one
                $0.connections = 1
            })
        #expect(try await door.send("Authorization: Bearer \(one)") == 401)
        #expect(try await door.send("Authorization: Bearer \(two)") == 503)
        #expect(try await door.ask("GET", "/metrics").status == 401)
        door.door.update(settings())
        #expect(try await door.send() == 503)
        await door.stop()
    }

    @Test func aTokenNamesItsClient() async throws {
        /// Says whom it takes a request for.
        final class Names: HTTPHandler {
            let routes = HTTPRoutes([HTTPRoute(.get, "/")])
            let access: DoorAccess
            init(_ access: DoorAccess) { self.access = access }
            func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
                exchange.respond(.text(200, access.client(of: request.head) ?? "nobody"))
            }
        }
        let names = Names(DoorAccess(settings { $0.tokens = ["billing": one, "shop": two] }))
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

    @Test func theFamiliesAreThereFromTheFirstScrape() async throws {
        let door = try Door(settings())
        let page = String(decoding: door.registry.render(), as: UTF8.self)
        for line in [
            "sluice_http_connections 0", "sluice_http_crowded_out_total 0",
            #"sluice_http_connections_ended_total{reason="header_timeout"} 0"#,
            #"sluice_http_connections_ended_total{reason="body_timeout"} 0"#,
            #"sluice_http_connections_ended_total{reason="reserve_full"} 0"#,
            "# TYPE sluice_http_certificate_expiry_timestamp_seconds gauge",
        ] { #expect(page.contains(line + "\n"), "\(line)") }
        #expect(!page.contains("\nsluice_http_certificate_expiry_timestamp_seconds "), "no TLS, no series")
        await door.stop()
    }
}
