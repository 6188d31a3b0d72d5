// Proves that /openapi.json declares every route and every answer.

import Admission
import Backpressure
import Decode
import Foundation
import HTTPServer
import Kafka
import Telemetry
import TestSupport
import Testing

@testable import sluice

private let event = #"{"action":"Create","message_id":1,"data":{"name":"a","message":"b"}}"#

/// A process's HTTP side with a broker behind it.
private final class IngressServer: Sendable {
    let http: HTTPServer
    private let behind: TestEventProducer?

    init(_ role: Role, reachesKafka: Bool = true) async throws {
        var settings = SluiceSettings()
        settings.http.maxEventBytes = 4_096
        settings.http.tokens = ["a": "0123456789abcdef"]
        settings.http.adminToken = "0123456789abcdef"
        settings.http.metricsToken = "0123456789abcdef"
        let authorizer = RequestAuthorizer(settings.http)
        settings.limits.policies = [
            PolicySettings(name: "few", unit: .requests, bucket: BucketSettings(rate: 0.001, burst: 12)),
            PolicySettings(name: "short", unit: .bytes, bucket: BucketSettings(rate: 1e9, burst: 1_000)),
        ]
        let bounds = BatchBounds(settings.http)
        behind = role == .worker || !reachesKafka ? nil : try await TestEventProducer(bounds: bounds)
        let eventProducer =
            role == .worker
            ? nil : try behind?.eventProducer ?? EventProducer(TestEventProducer.validator(), bounds: bounds)
        let registry = MetricsRegistry()
        let admin =
            role == .ingress
            ? nil
            : AdminController(authorizer: authorizer, topics: ["messages"], logger: .silent)
        let routes = Routes(
            role: role, eventProducer: eventProducer, limits: eventProducer == nil ? nil : IngressLimits(settings), admin: admin,
            authorizer: authorizer,
            registry: registry, health: Health(role: role, eventProducer: eventProducer) { nil })
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.maxBodyBytes = settings.http.maxEventBytes
        http = try HTTPServer.start(configuration: configuration, handler: routes)
    }

    func close() async {
        await http.stop(deadline: .seconds(5))
        await behind?.close()
    }

    func ask(_ method: String, _ path: String, _ body: String = "", headers: [String] = []) async throws -> LoopbackHTTP.Answer {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"] + headers
        if !body.isEmpty { lines.append("Content-Length: \(body.utf8.count)") }
        return try await LoopbackHTTP.ask(lines.joined(separator: "\r\n") + "\r\n\r\n" + body, port: http.port)
    }

    func document() async throws -> Document {
        let reply = try await ask("GET", "/openapi.json")
        #expect(reply.status == 200)
        #expect(reply.headers["content-type"] == "application/json")
        return Document(root: try #require(try JSONSerialization.jsonObject(with: Data(reply.body)) as? [String: Any]))
    }
}

private struct Document {
    let root: [String: Any]

    var paths: [String: [String: [String: Any]]] { root["paths"] as? [String: [String: [String: Any]]] ?? [:] }
    var operations: [[String: Any]] { paths.values.flatMap(\.values) }

    func responses(_ method: String, _ path: String) -> [String: [String: Any]] {
        paths[path]?[method.lowercased()]?["responses"] as? [String: [String: Any]] ?? [:]
    }

    /// The part of an answer that the document does not declare; nil: it declares all of it.
    func undeclared(_ reply: LoopbackHTTP.Answer, to method: String, _ path: String) -> String? {
        guard let declared = responses(method, path)["\(reply.status)"] else {
            return "\(method) \(path) answers \(reply.status)"
        }
        let types = (declared["content"] as? [String: Any] ?? [:]).keys
        guard let type = reply.headers["content-type"], types.contains(type) else {
            return "\(method) \(path) answers \(reply.status) as \(reply.headers["content-type"] ?? "nothing")"
        }
        let fields = (declared["headers"] as? [String: Any] ?? [:]).keys.map { $0.lowercased() }
        let told = ["retry-after", "ratelimit", "ratelimit-policy"].filter { reply.headers[$0] != nil && !fields.contains($0) }
        return told.isEmpty ? nil : "\(method) \(path) answers \(reply.status) with \(told)"
    }

    /// Whether a reference has a target.
    func resolves(_ reference: String) -> Bool {
        var place: Any? = root
        for step in reference.dropFirst(2).split(separator: "/") { place = (place as? [String: Any])?[String(step)] }
        return reference.hasPrefix("#/") && place != nil
    }

    static func references(in value: Any) -> [String] {
        if let object = value as? [String: Any] {
            return object.flatMap { key, value in key == "$ref" ? [value as? String ?? ""] : references(in: value) }
        }
        return (value as? [Any] ?? []).flatMap(references)
    }
}

@Suite(.timeLimit(.minutes(1))) struct OpenAPITests {
    @Test(arguments: Role.allCases) func everyRouteIsInTheDocumentAndNoOther(role: Role) async throws {
        let server = try await IngressServer(role, reachesKafka: false)
        let document = try await server.document()
        var served: Set<String> = []
        for route in Routes.Route.allCases {
            let (method, path) = (route.pattern.method.rawValue, route.rawValue)
            let reply = try await server.ask(method, path, headers: ["Content-Type: text/plain"])
            if reply.status != 404 { served.insert("\(method) \(path)") }
        }
        let described = document.paths.flatMap { path, methods in methods.keys.map { "\($0.uppercased()) \(path)" } }
        #expect(Set(described) == served)
        #expect(served.contains("POST /send") == (role != .worker))
        #expect(served.contains("POST /admin/pause") == (role != .ingress))
        await server.close()
    }

    @Test func everyReferenceHasATarget() async throws {
        let server = try await IngressServer(.all, reachesKafka: false)
        let document = try await server.document()
        #expect(document.root["openapi"] as? String == "3.1.0")
        #expect((document.root["info"] as? [String: Any])?["version"] as? String == sluiceVersion)
        let names = document.operations.compactMap { $0["operationId"] as? String }
        #expect(names.count == Routes.Route.allCases.count && Set(names).count == names.count)
        for operation in document.operations {
            let responses = try #require(operation["responses"] as? [String: [String: Any]])
            #expect(responses["200"] != nil)
            #expect(responses.allSatisfy { Int($0.key) != nil && $0.value["description"] is String })
        }
        let references = Document.references(in: document.root)
        #expect(!references.isEmpty)
        for reference in references { #expect(document.resolves(reference), "\(reference) has no target") }
        await server.close()
    }

    @Test func everyAnswerIsDeclared() async throws {
        let server = try await IngressServer(.all)
        let document = try await server.document()
        let json = ["Content-Type: application/json"]
        let token = ["Authorization: Bearer 0123456789abcdef"]
        var seen: [String: Set<Int>] = [:]
        func check(_ method: String, _ path: String, _ body: String = "", headers: [String] = []) async throws {
            let reply = try await server.ask(method, path, body, headers: headers)
            let undeclared = document.undeclared(reply, to: method, path)
            #expect(undeclared == nil, "not declared: \(undeclared ?? "")")
            seen[path, default: []].insert(reply.status)
        }
        for path in ["/", "/metrics", "/livez", "/readyz", "/openapi.json"] {
            try await check("GET", path, headers: token)
            try await check("GET", path, "a body", headers: token)
        }
        try await check("GET", "/metrics")
        try await check("POST", "/send", event, headers: json)
        try await check("POST", "/send", event, headers: json + token)
        try await check("POST", "/send", "{", headers: json + token)
        try await check("POST", "/send", event, headers: token + ["Content-Type: text/plain"])
        try await check("POST", "/send", String(repeating: " ", count: 2_000), headers: json + token)
        let lines = token + ["Content-Type: application/x-ndjson"]
        for batch in ["\(event)\n\(event)", "\(event)\n{}", "{}\n{}"] { try await check("POST", "/send", batch, headers: lines) }
        try await check("POST", "/send", "[\(event)]", headers: json + token)
        for _ in 0..<10 { try await check("POST", "/send", event, headers: json + token) }
        let body = #"{"topic":"messages","reason":"r"}"#
        for path in ["/admin/pause", "/admin/resume"] {
            try await check("POST", path, body, headers: json)
            try await check("POST", path, body, headers: token + ["Content-Type: text/plain"])
            try await check("POST", path, "[]", headers: json + token)
            try await check("POST", path, #"{"topic":"unknown","reason":"r"}"#, headers: json + token)
            try await check("POST", path, body, headers: json + token)
            try await check("POST", path, String(repeating: " ", count: 10_000), headers: json + token)
        }
        try await check("GET", "/admin/pauses")
        try await check("GET", "/admin/pauses", headers: token)
        #expect(seen["/send"] == [200, 207, 400, 401, 413, 415, 429])
        #expect(seen["/metrics"] == [200, 401, 413])
        #expect(seen["/admin/pause"] == [400, 401, 404, 413, 415, 503])
        #expect(seen["/readyz"]?.contains(413) == true)
        await server.close()
    }
}
