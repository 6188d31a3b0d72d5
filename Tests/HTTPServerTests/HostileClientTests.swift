// Slow, flooding and malformed clients: each is refused, and priority routes are served meanwhile.

import Foundation
import Glibc
import HTTPServer
import Testing

/// Requests the priority route again and again, each time on a new connection, until it is stopped.
final class Probe: @unchecked Sendable {
    // Licence for @unchecked: guarded by the lock.
    private let lock = NSLock()
    private var isStopped = false
    private var slow = 0
    private var requests = 0
    private var failures: [String] = []
    private let done = DispatchSemaphore(value: 0)

    init(port: UInt16) {
        Thread { [self] in
            while !lock.withLock({ isStopped }) {
                let begin = ContinuousClock.now
                let failure: String?
                do {
                    let status = try Client(port: port).ask("GET", "/priority").status
                    failure = status == 200 ? nil : "status \(status)"
                } catch {
                    failure = "\(error)"
                }
                lock.withLock {
                    requests += 1
                    if ContinuousClock.now - begin >= .seconds(1) { slow += 1 }
                    if let failure { failures.append(failure) }
                }
                usleep(20_000)
            }
            done.signal()
        }.start()
    }

    /// Every request was served, and all but two within a second: those that come while the machine stands still take longer.
    func expectServed() {
        // A test may be over after few requests: some more follow, to a server that has just been flooded.
        while lock.withLock({ requests < 8 && failures.isEmpty }) { usleep(1_000) }
        lock.withLock { isStopped = true }
        done.wait()
        lock.withLock {
            #expect(requests >= 8)
            #expect(failures.isEmpty, "\(failures.prefix(3)) of \(requests)")
            #expect(slow <= 2, "\(slow) of \(requests) took a second or longer")
        }
    }
}

@Suite(.serialized) struct HostileClientTests {
    @Test("2,000 connections with endless headers are closed, and priority routes are served within a second throughout")
    func slowLoris() async throws {
        guard raiseDescriptors(to: 6_000) else {
            print("SKIPPED: the slow loris needs 6,000 file descriptors (ulimit -Hn)")
            return
        }
        try await withServer {
            $0.connectionLimit = 1_500
            $0.connectionsPerAddress = 1_024
            $0.headerTimeout = .seconds(3)
        } _: { server, _ in
            let probe = Probe(port: server.port)
            let clients = try (0..<2_000).map { _ in
                let client = try Client(port: server.port)
                client.send("GET /hello HTTP/1.1\r\nHost: t\r\nX-Slow: ")
                return client
            }
            let begin = ContinuousClock.now
            while server.statistics.slowHeaders < 1_000, ContinuousClock.now - begin < .seconds(10) {
                for client in clients { client.send("x") }
            }
            for client in clients { #expect(try client.isClosedByServer()) }
            probe.expectServed()
            try eventually("all are counted") { server.statistics.slowHeaders + server.statistics.evicted >= 2_000 }
            #expect(server.statistics.slowHeaders >= 1_024)
            try eventually("no connection is left") { server.statistics.openConnections == 0 }
            #expect(try Client(port: server.port).ask("GET", "/hello").text == "hello")
        }
    }

    @Test("2,000 slow bodies get 408")
    func slowBodies() async throws {
        guard raiseDescriptors(to: 6_000) else {
            print("SKIPPED: the slow bodies need 6,000 file descriptors (ulimit -Hn)")
            return
        }
        try await withServer {
            $0.bodyTimeout = .seconds(1)
        } _: { server, handler in
            let probe = Probe(port: server.port)
            let clients = try (0..<2_000).map { position in
                let client = try Client(port: server.port)
                let length = position.isMultiple(of: 2) ? "Content-Length: 100000" : "Transfer-Encoding: chunked"
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\n\(length)\r\n\r\n1")
                return client
            }
            for client in clients { #expect(try client.answer().status == 408) }
            probe.expectServed()
            try eventually("all are counted") { server.statistics.slowBodies == 2_000 }
            try eventually("no request is left") { server.statistics.requestsInFlight == 0 }
            let late = handler.allOutcomes.filter { $0.route != TestHandler.Route.priority.rawValue }
            #expect(late.count == 2_000 && late.allSatisfy { $0.status == 408 && $0.isDelivered })
        }
    }

    @Test("unfinished large bodies exhaust the body memory only; small bodies pass, and more large ones get 503")
    func unfinishedBodies() async throws {
        try await withServer {
            $0.bodyMemoryBytes = 1 << 20
        } _: { server, _ in
            let piece = [UInt8](repeating: 65, count: 200_000)
            let unfinished = try (0..<20).map { _ in
                let client = try Client(port: server.port)
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 200001\r\n\r\n")
                client.send(piece)
                return client
            }
            let small = try Client(port: server.port)
            #expect(try small.ask("POST", "/echo", body: Array(piece.prefix(4_000))).status == 200)
            // Passes until the server has read the unfinished bodies.
            let most = [UInt8](repeating: 65, count: 1_000_000)
            var large = try small.ask("POST", "/echo", body: most)
            for _ in 0..<200 where large.status == 200 {
                usleep(20_000)
                large = try small.ask("POST", "/echo", body: most)
            }
            #expect(large.status == 503)
            #expect(large.headers["retry-after"] == "1")
            #expect(large.headers["x-refused-by"] == "handler", "a field that the handler adds")
            // Its connection is kept.
            #expect(try small.ask("POST", "/echo", body: [1]).status == 200)
            var statuses: [Int] = []
            for client in unfinished {
                client.send([65])
                statuses.append(try client.answer().status)
            }
            #expect((1...5).contains(statuses.count { $0 == 200 }), "1 MiB holds five bodies of 200 kB at most: \(statuses)")
            #expect(statuses.count { $0 == 503 } == 20 - statuses.count { $0 == 200 })
            #expect(try small.ask("POST", "/echo", body: most).status == 200, "all memory is given back")
        }
    }

    @Test("a steady body is read to its end, however long it takes")
    func steadyBody() async throws {
        try await withServer {
            $0.bodyTimeout = .seconds(1)
            $0.bodyRate = 100
        } _: { server, _ in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n")
            for _ in 0..<20 {
                client.send(Array(repeating: 65, count: 100))
                usleep(100_000)
            }
            #expect(try client.answer().body.count == 2_000)
            #expect(server.statistics.slowBodies == 0)
        }
    }

    @Test("malformed chunks, endless headers and endless bodies are refused")
    func floods() async throws {
        try await withServer {
            $0.discardBytes = 100_000
        } _: { server, _ in
            let probe = Probe(port: server.port)
            let chunks = [
                ("zz\r\nabc\r\n", 400), ("-1\r\n", 400), ("fffffffffffffffff\r\n", 413), ("3\r\nabcdef\r\n", 400),
                ("3 3\r\nabc\r\n", 400),
            ]
            for (chunk, status) in chunks {
                let client = try Client(port: server.port)
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\(chunk)")
                let refusal = try client.refusal()
                #expect(refusal == status, "\(chunk.debugDescription)")
            }
            for line in ["a:b\r\n", "X-Long: \(String(repeating: "x", count: 900))\r\n", "x"] {
                let client = try Client(port: server.port)
                client.send("GET /hello HTTP/1.1\r\nHost: t\r\n")
                for _ in 0..<200 { client.send(String(repeating: line, count: 200)) }
                #expect([431, 413, 400].contains(try client.refusal() ?? 431), "\(line.prefix(10).debugDescription)")
            }
            let long = try Client(port: server.port)
            long.send("GET /\(String(repeating: "x", count: 40_000)) HTTP/1.1\r\nHost: t\r\n\r\n")
            #expect(try long.refusal() ?? 414 == 414)
            let endless = try Client(port: server.port)
            endless.send("POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<1_000 { endless.send("3e8\r\n" + String(repeating: "x", count: 1000) + "\r\n") }
            #expect(try endless.refusal() == 413)
            probe.expectServed()
            try eventually("no request is left") { server.statistics.requestsInFlight == 0 }
        }
    }

    @Test(
        "a request with an ambiguous end is refused, and the bytes after it are no request",
        arguments: [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 40\r\n",
            "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding : chunked\r\n", "Content-Length: +5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 0x5\r\n",
            "Content-Length: -1\r\n", "Host: other\r\nContent-Length: 5\r\n", "Transfer-Encoding: \r\nContent-Length: 5\r\n",
        ])
    func smuggling(fields: String) async throws {
        try await withServer { server, handler in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\n\(fields)\r\n0\r\n\r\nPOST /hold HTTP/1.1\r\nHost: t\r\n\r\n")
            #expect(try client.refusal() == 400)
            try eventually("no connection is left") { server.statistics.openConnections == 0 }
            #expect(try handler.held(0).isEmpty)
            #expect(handler.allOutcomes.allSatisfy { $0.status != 200 })
        }
    }

    @Test(
        "a request line or a header that ends with LF, and a NUL in the target, are refused",
        arguments: [
            "POST /echo HTTP/1.1\nHost: t\r\nContent-Length: 0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\n",
            "POST /echo HTTP/1.1\r\nHost: t\nContent-Length: 0\r\n\r\n", "GET /hello\0/../x HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /hello HTTP/1.1\r\nHost: t\r\n\n", "GET /hello\0/../x?a=b HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /hello?a=b\0c HTTP/1.1\r\nHost: t\r\n\r\n",
        ])
    func bareLineFeeds(request: String) async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.send(request)
            #expect(try client.refusal() == 400)
            #expect(try client.isClosedByServer())
            for query in ["", "&", "=", "a&b=c", "a=b&", "a==b&&c+d=%00&e"] {
                #expect(try Client(port: server.port).ask("GET", "/hello?\(query)").text == "hello", "\(query)")
            }
        }
    }

    @Test("libmicrohttpd 0.9.75 accepts LF where chunks end, also in an extension: a proxy must not pass such chunks on")
    func lenientChunks() async throws {
        guard HTTPLibrary.version == "0.9.75" else {
            print("SKIPPED: this is libmicrohttpd \(HTTPLibrary.version)")
            return
        }
        try await withServer { server, _ in
            for chunks in ["5;a\nhello\r\n0\r\n\r\n", "5\nhello\n0\r\n\r\n"] {
                let client = try Client(port: server.port)
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)")
                #expect(try client.answer().text == "hello", "what docs/operations.md says")
            }
        }
    }

    @Test("chunks in HTTP/1.0 are refused")
    func oldChunks() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
            #expect(try client.refusal() == 400)
            let plain = try Client(port: server.port)
            plain.send("POST /echo HTTP/1.0\r\nContent-Length: 1\r\n\r\na")
            #expect(try plain.answer().text == "a")
        }
    }
}

@Suite(.serialized) struct ConnectionLimitTests {
    @Test("connections beyond the limits are served priority routes only, and every route once a slot is free")
    func limits() async throws {
        for configure: @Sendable (inout HTTPServerConfiguration) -> Void in [
            { $0.connectionLimit = 2 }, { $0.connectionsPerAddress = 2 },
        ] {
            try await withServer(configure) { server, handler in
                let clients = try (0..<2).map { _ in try Client(port: server.port) }
                for client in clients { client.request("POST", "/hold") }
                let held = try handler.held(2)
                let third = try Client(port: server.port)
                #expect(try third.ask("GET", "/priority").status == 200)
                #expect(try third.ask("GET", "/priority").status == 200)
                let refused = try third.ask("POST", "/echo", body: [65])
                #expect(refused.status == 503)
                #expect(refused.headers["retry-after"] == "1")
                #expect(refused.headers["x-refused-by"] == "handler")
                #expect(try third.isClosedByServer())
                #expect(try Client(port: server.port).ask("GET", "/nowhere").status == 503)
                try eventually("both are counted") { server.statistics.connectionLimitRefusals == 2 }

                let waiting = try Client(port: server.port)
                #expect(try waiting.ask("GET", "/priority").status == 200)
                for exchange in held { exchange.respond(.text(200, "held")) }
                for client in clients { #expect(try client.answer().text == "held") }
                try eventually("both are idle") { handler.allOutcomes.count >= 7 }
                #expect(try waiting.ask("GET", "/hello").text == "hello")
                #expect(try clients[0].isClosedByServer(), "the one that was idle longest")
                #expect(try clients[1].ask("GET", "/hello").text == "hello")
                // A client gets its response a moment before the request is over.
                try eventually("all requests are over") { handler.allOutcomes.count >= 9 }
                #expect(handler.allOutcomes.count == 9)
                try eventually("it is counted") { server.statistics.evicted == 1 }
            }
        }
    }

    @Test("with all reserved slots taken the oldest idle connection is evicted")
    func reservedSlots() async throws {
        try await withServer {
            $0.connectionLimit = 1
            $0.reservedSlots = 2
        } _: { server, _ in
            let served = try Client(port: server.port)
            #expect(try served.ask("GET", "/hello").status == 200)
            var waiting: [Client] = []
            for count in 2...3 {
                waiting.append(try Client(port: server.port))
                try eventually("it is accepted") { server.statistics.openConnections == count }
            }
            let last = try Client(port: server.port)
            #expect(try waiting[0].isClosedByServer())
            try eventually("it is counted") { server.statistics.evicted == 1 }
            #expect(try waiting[1].ask("GET", "/priority").status == 200)
            #expect(try last.ask("GET", "/priority").status == 200)
            #expect(try served.ask("GET", "/hello").status == 200)
        }
    }

    @Test("incomplete requests do not hold reserved slots")
    func heldReservedSlots() async throws {
        try await withServer {
            $0.connectionLimit = 1
            $0.reservedSlots = 4
        } _: { server, _ in
            let served = try Client(port: server.port)
            #expect(try served.ask("GET", "/hello").status == 200)
            let holders = try (0..<12).map { _ in
                let client = try Client(port: server.port)
                client.send("GET /priority HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nx")
                return client
            }
            try eventually("all reserved slots are taken") { server.statistics.evicted == 8 }
            for _ in 0..<20 { #expect(try Client(port: server.port).ask("GET", "/priority").status == 200) }
            withExtendedLifetime(holders) {}
        }
    }

    @Test("limits change while the server runs")
    func updated() async throws {
        try await withServer {
            $0.connectionLimit = 1
        } _: { server, handler in
            let first = try Client(port: server.port)
            first.request("POST", "/hold")
            let held = try handler.held(1)
            #expect(try Client(port: server.port).ask("GET", "/hello").status == 503)
            held.first?.respond(.text(200, "held"))
            #expect(try first.answer().text == "held")
            var configuration = HTTPServerConfiguration(port: 0)
            configuration.connectionLimit = 0
            #expect(throws: HTTPServerError.self) { try server.update(configuration) }
            configuration.connectionLimit = 2
            configuration.idleTimeout = .seconds(1)
            configuration.headerTimeout = .seconds(1)
            try server.update(configuration)
            try eventually("a slot is free") { (try? Client(port: server.port).ask("GET", "/hello").status) == 200 }
            let silent = try Client(port: server.port)
            #expect(try silent.ask("GET", "/hello").status == 200)
            #expect(try silent.isClosedByServer())
            let mute = try Client(port: server.port)
            mute.send("GET")
            #expect(try mute.isClosedByServer())
            #expect(try first.ask("GET", "/hello").status == 200, "its idle timeout is the old one")
        }
    }
}

extension Client {
    /// The status of a refusal, `nil` where the connection ends without one.
    fileprivate func refusal() throws -> Int? {
        do {
            return try answer().status
        } catch let error as ClientError where error.description.hasPrefix("closed") {
            return nil
        }
    }
}

/// Raises this process's limit of descriptors.
func raiseDescriptors(to count: rlim_t) -> Bool {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return false }
    if limit.rlim_cur >= count { return true }
    guard limit.rlim_max >= count else { return false }
    limit.rlim_cur = count
    return setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
}
