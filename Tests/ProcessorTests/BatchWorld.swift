// Owns an ingress with an embedded broker for the tests of batches.

import Foundation
import HTTPServer
import Kafka
import Records
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

/// A broker, a producer, the routes of the role ingress, and a server.
final class BatchWorld: Sendable {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path
    static let partitions = 4

    let registry = MetricsRegistry()
    let bounds: BatchBounds
    let budget: ResultBudget
    let server: HTTPServer
    private let behind: TestEventProducer

    var eventProducer: EventProducer { behind.eventProducer }
    var broker: EmbeddedBroker { behind.broker }
    var producer: KafkaProducer { behind.producer }

    private init(
        _ settings: HTTPSettings, budget: Int, waitLimit: Duration, limits: IngressLimits?, shedding: IngressShedding?,
        isOpen: Bool, _ configure: (inout KafkaProducerConfiguration) -> Void
    ) async throws {
        bounds = BatchBounds(settings)
        self.budget = ResultBudget(bytes: budget)
        behind = try await TestEventProducer(
            registry: registry, bounds: bounds, budget: self.budget, waitLimit: waitLimit, partitions: Self.partitions,
            isOpen: isOpen, configure)
        var listen = HTTPServerConfiguration(port: 0)
        listen.maxBodyBytes = settings.maxEventBytes
        server = try HTTPServer.start(
            configuration: listen,
            handler: Routes(
                role: .ingress, eventProducer: behind.eventProducer, limits: limits, shedding: shedding, admin: nil,
                registry: registry, health: Health(role: .ingress, eventProducer: behind.eventProducer) { nil }))
    }

    /// Runs `body` on a thread that may block, and stops everything after it.
    static func run<R: Sendable>(
        _ settings: HTTPSettings = HTTPSettings(), budget: Int = 64 << 20, waitLimit: Duration = .seconds(5),
        limits: IngressLimits? = nil, shedding: IngressShedding? = nil, isOpen: Bool = true,
        configure: (inout KafkaProducerConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (BatchWorld) throws -> R
    ) async throws -> R {
        let world = try await BatchWorld(
            settings, budget: budget, waitLimit: waitLimit, limits: limits, shedding: shedding, isOpen: isOpen, configure)
        let result: Result<R, any Error>
        do { result = .success(try await LoopbackConnection.blocking { try body(world) }) } catch { result = .failure(error) }
        await world.server.stop(deadline: .seconds(1))
        await world.behind.close()
        return try result.get()
    }

    /// Posts a body at once, with its length.
    func post(_ body: String, _ type: String = "application/x-ndjson") throws -> BatchReply {
        let connection = try LoopbackConnection(port: server.port)
        try connection.send(
            "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        return try BatchReply(connection.answer())
    }

    /// Posts a body in chunks whose sizes repeat `sizes`.
    func post(_ body: String, _ type: String = "application/x-ndjson", chunks sizes: [Int]) throws -> BatchReply {
        try post(bytes: Array(body.utf8), type, chunks: sizes)
    }

    func post(bytes: [UInt8], _ type: String, chunks sizes: [Int]) throws -> BatchReply {
        let connection = try LoopbackConnection(port: server.port)
        try connection.send(
            "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: \(type)\r\nTransfer-Encoding: chunked\r\n\r\n")
        var rest = bytes[...]
        var chunk = 0
        while !rest.isEmpty {
            try connection.sendChunk(rest.prefix(sizes[chunk % sizes.count]))
            rest = rest.dropFirst(sizes[chunk % sizes.count])
            chunk += 1
        }
        try connection.sendChunk([])
        return try BatchReply(connection.answer())
    }

    /// The count of events with this status.
    func counted(_ status: Int) -> Int {
        let page = String(decoding: registry.render(), as: UTF8.self)
        let line = page.split(separator: "\n").first { $0.hasPrefix("sluice_http_events_total{status=\"\(status)\"}") }
        return line.flatMap { Int($0.split(separator: " ").last ?? "") } ?? -1
    }

    /// The payloads in the Kafka log by key, in order. Returns when there are `count`.
    func log(_ count: Int) async throws -> [String: [String]] {
        var configuration = KafkaConsumerConfiguration(
            client: KafkaClientConfiguration(bootstrapServers: broker.bootstrapServers), groupID: "reader", topics: ["messages"])
        configuration.adaptToEmbeddedBroker()
        let consumer = try KafkaConsumer.start(configuration, limit: FixedReadLimit())
        var log: [String: [String]] = [:]
        var read = 0
        while read < count, let event = await consumer.next() {
            switch event {
            case .assigned(let partitions): consumer.assign(partitions.map { ($0, 0) }, generation: 1)
            case .records(let batch):
                for record in batch.records {
                    let text = { (slice: Slice) in
                        String(
                            decoding: UnsafeRawBufferPointer(
                                start: batch.base + Int(slice.start), count: max(0, Int(slice.length))), as: UTF8.self)
                    }
                    log[text(record.key), default: []].append(text(record.value))
                    read += 1
                }
            default: break
            }
        }
        _ = await consumer.close(deadline: .seconds(5))
        return log
    }
}

/// An answer to a batch, read.
struct BatchReply: Sendable {
    struct Result: Decodable, Sendable, Equatable {
        let status: Int
        var detail: String?
        var reason: String?
        var retry_after: Int?
        var possibly_persisted: Bool?
    }

    private struct Body: Decodable {
        var title: String?
        var detail: String?
        var status: Int?
        var results: [Result]?
    }

    let status: Int
    let headers: [String: String]
    let text: String
    let results: [Result]
    let title: String?
    let detail: String?

    init(_ answer: LoopbackHTTP.Answer) throws {
        status = answer.status
        headers = answer.headers
        text = answer.text
        let isJSON = headers["content-type"]?.contains("json") == true
        let body = isJSON ? try answer.json(Body.self) : Body()
        (results, title, detail) = (body.results ?? [], body.title, body.detail)
        if let inside = body.status { #expect(inside == status) }
    }

    var statuses: [Int] { results.map(\.status) }
}

/// A valid event.
func event(_ id: Int, message: String = "m") -> String {
    #"{"action":"Upsert","message_id":\#(id),"data":{"name":"n","message":"\#(message)"}}"#
}

/// Waits for something that happens on another thread.
func until(_ what: String, _ condition: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(20)
    while !condition() {
        guard ContinuousClock.now < end else { throw LateError(what: what) }
        usleep(2000)
    }
}

struct LateError: Error { let what: String }

/// Waits, on a thread that may block, for something asynchronous.
func waiting<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) throws -> R {
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Result<R, any Error>?>(nil)
    Task {
        let found: Result<R, any Error>
        do { found = .success(try await body()) } catch { found = .failure(error) }
        result.withLock { $0 = found }
        done.signal()
    }
    done.wait()
    return try result.withLock { $0! }.get()
}
