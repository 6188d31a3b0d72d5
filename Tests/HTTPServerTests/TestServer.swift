// The handler of the tests, and a server with it that is always stopped.

import Glibc
import HTTPServer
import Platform
import Synchronization

/// Responds in every way a handler can.
final class TestHandler: HTTPHandler {
    enum Route: Int, CaseIterable {
        case hello, echo, small, later, hold, about, refused, broken, slow, priority
    }

    let routes = HTTPRoutes(
        Route.allCases.map { route in
            switch route {
            case .hello, .about, .broken, .priority: HTTPRoute(.get, "/\(route)")
            default: HTTPRoute(.post, "/\(route)")
            }
        } + [HTTPRoute(.get, "/echo")])
    private let hello = HTTPResponse.text(200, "hello").prepared()
    private let held = Mutex<[HTTPExchange]>([])
    private let outcomes = Mutex<[HTTPOutcome]>([])
    private let worker = Worker()

    func isPriority(_ route: Int) -> Bool { Route(rawValue: route) == .priority }

    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission {
        switch Route(rawValue: head.route) {
        case .small: .readBody(limit: 16)
        case .refused: .respond(.text(415, "Always refused."))
        default: .readBody()
        }
    }

    func response(to refusal: HTTPRefusal) -> HTTPResponse {
        let (status, detail, fields) = refusal.parts
        return .text(status, detail, headers: fields + [("X-Refused-By", "handler")])
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        switch Route(rawValue: request.head.route) {
        case .hello, .priority:
            exchange.respond(hello)
        case .later:
            let body = Array(request.body)
            worker.run { exchange.respond(HTTPResponse(status: 200, body: body)) }
        case .hold:
            held.withLock { $0.append(exchange) }
        case .about:
            exchange.respond(about(request.head))
        case .broken:
            exchange.respond(HTTPResponse(status: 200, headers: [("X-Split", "a\r\nX-Other: b")]))
        default:
            // simdjson reads beyond the end of a body.
            let padding = UnsafeRawBufferPointer(start: request.body.baseAddress! + request.body.count, count: 64)
            let sum = padding.reduce(0) { $0 &+ Int($1) }
            exchange.respond(HTTPResponse(status: 200, headers: [("X-Padding", "\(sum >= 0)")], body: Array(request.body)))
        }
    }

    private func about(_ head: borrowing HTTPRequestHead) -> HTTPResponse {
        .json(
            200,
            [
                "method": .string(head.method.rawValue),
                "agent": head.header("user-agent").map(JSONValue.string) ?? nil,
                "json": .bool(head.hasMediaType("application/json")),
                "length": head.withHeader("X-Length") { .integer($0.count) } ?? nil,
                "address": .string(head.remoteAddress),
            ])
    }

    func ended(_ outcome: HTTPOutcome, _ exchange: HTTPExchange) { outcomes.withLock { $0.append(outcome) } }

    var allOutcomes: [HTTPOutcome] { outcomes.withLock { $0 } }

    /// The exchanges of `/hold`, once there are `count`.
    func held(_ count: Int) throws -> [HTTPExchange] {
        try eventually("\(count) requests are held") { held.withLock { $0.count == count } }
        return held.withLock { exchanges in
            defer { exchanges = [] }
            return exchanges
        }
    }
}

/// A thread that runs one closure after the other.
final class Worker: Sendable {
    private let jobs = Mutex<[@Sendable () -> Void]>([])
    private let isRunning = Mutex(false)

    func run(_ job: @escaping @Sendable () -> Void) {
        jobs.withLock { $0.append(job) }
        let starts = isRunning.withLock { running in
            defer { running = true }
            return !running
        }
        if starts { Task.detached { self.drain() } }
    }

    private func drain() {
        while true {
            let batch = jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            for job in batch { job() }
            let isDone = isRunning.withLock { running in
                running = jobs.withLock { !$0.isEmpty }
                return !running
            }
            if isDone { return }
        }
    }
}

/// Waits until `condition` holds; fails after 30 seconds.
func eventually(_ what: String, _ condition: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(30)
    while !condition() {
        guard ContinuousClock.now < end else { throw ClientError(description: "not within 30 seconds: \(what)") }
        usleep(1000)
    }
}

/// A server on a free port of the loopback interface.
func withServer(
    _ configure: (inout HTTPServerConfiguration) -> Void = { _ in }, handler: TestHandler = TestHandler(),
    _ body: @escaping @Sendable (HTTPServer, TestHandler) throws -> Void
) async throws {
    var configuration = HTTPServerConfiguration(port: 0)
    configure(&configuration)
    let server = try HTTPServer.start(configuration: configuration, handler: handler)
    do {
        try await onThread { try body(server, handler) }
    } catch {
        await server.stop(deadline: .zero)
        throw error
    }
    await server.stop(deadline: .zero)
}
