// Proves that a field of a request routes its events, and reaches the worker as a header of their records.

import Decode
import Foundation
import HTTPServer
import Kafka
import Records
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.timeLimit(.minutes(1))) struct RouteHeaderTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-header-\(UUID().uuidString)")

    /// Two mappings of the topic `messages`, which the header `kind` divides: `x` has rows of a number, `y` of a text.
    private func configuration() throws -> Configuration {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (name, type) in [("x", "int4"), ("y", "text")] {
            try "topics: [messages]\ntable: \(name)\nkey: [id]\nenvelope: upsert\ncolumns: {id: {path: /id, type: \(type)}}\n"
                .write(to: folder.appendingPathComponent("\(name).yaml"), atomically: true, encoding: .utf8)
        }
        let file = folder.appendingPathComponent("sluice.yaml")
        try "mappings: []\nroute: {by: header.kind, tables: {x: x.yaml, y: y.yaml}}\n"
            .write(to: file, atomically: true, encoding: .utf8)
        return try Configuration.load(path: file.path, environment: [:])
    }

    @Test func theHeaderOfARequestIsThatOfItsRecords() async throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let configuration = try configuration()
        #expect(try configuration.ingressTopic(of: .ingress) == "messages")
        let behind = try await TestEventProducer(configuration.validator(of: "messages"))
        let server = try HTTPServer.start(
            configuration: HTTPServerConfiguration(port: 0),
            handler: Routes(
                role: .ingress, eventProducer: behind.eventProducer, admin: nil, registry: MetricsRegistry(),
                health: Health(role: .ingress, eventProducer: behind.eventProducer) { nil }))
        let port = server.port
        @Sendable func post(_ body: String, _ fields: String, _ type: String = "application/json") async throws -> BatchReply {
            try BatchReply(
                try await LoopbackHTTP.ask(
                    "POST /send HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: \(type)\r\n\(fields)"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)", port: port))
        }
        // Events of one iteration of the loop have different headers.
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for id in 0..<40 {
                group.addTask {
                    try await id % 2 == 0
                        ? post(#"{"id":\#(id)}"#, "Kind: x\r\n").status : post(#"{"id":"\#(id)"}"#, "kind:y\r\n").status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 40))
        let large = #"{"id":40,"more":"\#(String(repeating: "m", count: 20_000))"}"#
        #expect(try await post(large, "kind: y\r\nkind: x\r\n").status == 200, "of several fields the last one")
        let batch = try await post("{\"id\":\"a\"}\n{\"id\":1}\n{\"id\":\"b\"}", "kind: y\r\n", "application/x-ndjson")
        #expect(batch.statuses == [200, 400, 200] && batch.results[1].reason == "wrong_type", "\(batch.text)")
        for (fields, detail) in [
            ("", "header kind is missing"), ("kind: z\r\n", "header kind must be one of x, y"),
            ("kind: xx\r\n", "header kind is missing"),
        ] {
            let refused = try await post(#"{"id":1}"#, fields)
            #expect(refused.status == 400 && refused.text.contains(detail), "\(refused.text)")
        }
        let described = try await LoopbackHTTP.ask(
            "GET /openapi.json HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", port: port)
        #expect(described.text.contains(#""parameters":[{"name":"kind","in":"header""#))
        let records = try await TopicSample.read(
            "messages", partitions: 1, limit: 100, KafkaClientConfiguration(bootstrapServers: behind.broker.bootstrapServers))
        let decoder = RouteDecoder(
            try #require(configuration.route), decoders: configuration.mappings.map { Decoder(mapping: $0) },
            routed: configuration.routes.routed)
        let decoded = records.map { decoder.decode($0, readers: configuration.routes.readers(of: "messages")) }
        #expect(decoded.allSatisfy { $0.faults.isEmpty && $0.parts.allSatisfy { $0?.faults.isEmpty != false } })
        #expect([0, 1].map { part in decoded.filter { $0.parts[part] != nil }.count } == [21, 22])
        await server.stop(deadline: .seconds(1))
        await behind.close()
    }
}
