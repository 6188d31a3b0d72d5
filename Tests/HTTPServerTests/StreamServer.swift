// A handler that reads bodies piece by piece, and a server with it.

import Glibc
import HTTPServer
import Synchronization
import TestSupport
import Testing

/// How a test reader behaves.
struct ReaderPlan: Sendable {
    /// Takes a random part of each piece and suspends up to two milliseconds in between, by this seed.
    var slowSeed: UInt64?
    /// Takes nothing before `release`.
    var isHeld = false
    /// How long a held reader suspends its request at a time.
    static let hold = Duration.milliseconds(200)
    /// Returns `.enough` at this many bytes.
    var most = Int.max
    /// Suspends once more at the end of the body.
    var waitsAtEnd = false
}

/// Collects the body and responds with it.
final class TestReader: HTTPBodyReader {
    struct State {
        var bytes: [UInt8] = []
        var random: SeededRandom
        var mayRead = false
        var ends: [HTTPBodyEnd] = []
        var abandoned = 0
        var waits = 0
        var waitedAtEnd = false
    }

    let plan: ReaderPlan
    let state: Mutex<State>

    init(_ plan: ReaderPlan) {
        self.plan = plan
        state = Mutex(State(random: SeededRandom(seed: plan.slowSeed ?? 0)))
    }

    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        state.withLock { state in
            if plan.isHeld, !state.mayRead {
                state.waits += 1
                return .later(taken: 0, within: ReaderPlan.hold)
            }
            if plan.slowSeed != nil, state.random.next() % 3 == 0 {
                state.waits += 1
                let count = Int(state.random.next() % UInt64(piece.count))
                state.bytes += piece[..<count]
                return .later(taken: count, within: .microseconds(Int64(state.random.next() % 2000)))
            }
            let count = min(piece.count, plan.most - state.bytes.count)
            state.bytes += piece[..<count]
            return state.bytes.count >= plan.most ? .enough : .more
        }
    }

    func ended(_ end: HTTPBodyEnd, _ exchange: HTTPExchange) -> HTTPBodyDemand {
        state.withLock { state in
            if plan.waitsAtEnd, !state.waitedAtEnd {
                state.waitedAtEnd = true
                return .later(taken: 0, within: .milliseconds(1))
            }
            state.ends.append(end)
            exchange.respond(HTTPResponse(status: 200, headers: [("X-End", "\(end)")], body: state.bytes))
            return .more
        }
    }

    func abandoned() { state.withLock { $0.abandoned += 1 } }

    /// Lets a held reader read when it is asked next.
    func release() { state.withLock { $0.mayRead = true } }
}

/// A body of `byteCount` bytes, each the low byte of its position.
final class TestSource: HTTPBodySource {
    let byteCount: Int
    private let onRelease: @Sendable () -> Void

    init(_ byteCount: Int, onRelease: @escaping @Sendable () -> Void) {
        self.byteCount = byteCount
        self.onRelease = onRelease
    }

    deinit { onRelease() }

    func write(from position: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        // Sometimes less than the buffer takes.
        let count = min(buffer.count, byteCount - position, 20_000)
        for index in 0..<count { buffer[index] = UInt8(truncatingIfNeeded: position + index) }
        return count
    }
}

/// Routes whose bodies are streamed.
final class StreamHandler: HTTPHandler {
    static let limit = 1 << 20

    let routes = HTTPRoutes([
        HTTPRoute(.post, "/stream"), HTTPRoute(.post, "/peek"), HTTPRoute(.get, "/source"), HTTPRoute(.get, "/hello"),
    ])
    let plan: ReaderPlan
    let limit: Int
    let readers = Mutex<[TestReader]>([])
    let releases = Atomic(0)
    let outcomes = Mutex<[HTTPOutcome]>([])
    let sources = Atomic(0)

    init(_ plan: ReaderPlan = ReaderPlan(), limit: Int = StreamHandler.limit) {
        self.plan = plan
        self.limit = limit
    }

    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission {
        switch head.route {
        case 0: .stream(reader(), limit: limit)
        case 1: .peek(limit: limit)
        default: .readBody()
        }
    }

    func choose(
        _ head: borrowing HTTPRequestHead, _ exchange: HTTPExchange, firstBytes: UnsafeRawBufferPointer
    ) -> HTTPBodyChoice {
        switch firstBytes.first(where: { $0 != UInt8(ascii: " ") }) {
        case nil: .skip
        case UInt8(ascii: "["): .stream(reader())
        default: .collect(limit: 16)
        }
    }

    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange) {
        switch request.head.route {
        case 1:
            let wire = [("X-Wire", "\(request.wireBytes)")]
            exchange.respond(HTTPResponse(status: 201, headers: wire, body: Array(request.body)))
        case 2:
            sources.add(1, ordering: .relaxed)
            let source = TestSource(Int(request.head.header("X-Bytes") ?? "") ?? 0) { [weak self] in
                self?.releases.add(1, ordering: .relaxed)
            }
            exchange.respond(HTTPResponse(status: 200, headers: [], source: source))
        default: exchange.respond(.text(200, "hello"))
        }
    }

    func ended(_ outcome: HTTPOutcome, _ exchange: HTTPExchange) { outcomes.withLock { $0.append(outcome) } }

    /// The only reader so far.
    func onlyReader() throws -> TestReader {
        try eventually("there is a reader") { readers.withLock { $0.count == 1 } }
        return try #require(readers.withLock { $0.first })
    }

    private func reader() -> TestReader {
        let reader = TestReader(plan)
        readers.withLock { $0.append(reader) }
        return reader
    }
}

/// A server with a handler that streams, on a free port.
func withStreams(
    _ handler: StreamHandler, _ configure: (inout HTTPServerConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (HTTPServer, StreamHandler) throws -> Void
) async throws {
    var configuration = HTTPServerConfiguration(port: 0)
    configure(&configuration)
    let server = try HTTPServer.start(configuration: configuration, handler: handler)
    let result: Result<Void, any Error>
    do { result = .success(try await onThread { try body(server, handler) }) } catch { result = .failure(error) }
    await server.stop(deadline: .zero)
    try result.get()
}
