// Starting, stopping, timeouts, and clients that leave.

import Foundation
import Glibc
import HTTPServer
import Synchronization
import Testing

@Suite(.serialized) struct LifeTests {
    @Test("a taken port is an error that names the address and the remedy")
    func portTaken() async throws {
        let handler = TestHandler()
        let first = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: handler)
        let error = #expect(throws: HTTPServerError.self) {
            try HTTPServer.start(configuration: HTTPServerConfiguration(port: first.port), handler: handler)
        }
        #expect(error?.code == .addressInUse)
        #expect(error?.description.contains("127.0.0.1:\(first.port)") == true)
        #expect(error?.description.contains("another port") == true)
        await first.stop(deadline: .zero)
        let second = try HTTPServer.start(configuration: HTTPServerConfiguration(port: first.port), handler: handler)
        await second.stop(deadline: .zero)
    }

    @Test("errors of other addresses have codes of their own")
    func wrongAddress() throws {
        func code(_ configuration: HTTPServerConfiguration) -> HTTPServerError.Code? {
            do throws(HTTPServerError) {
                _ = try HTTPServer.start(configuration: configuration, handler: TestHandler())
                return nil
            } catch {
                return error.code
            }
        }
        #expect(code(HTTPServerConfiguration(host: "192.0.2.1", port: 0)) == .addressUnavailable)
        #expect(code(HTTPServerConfiguration(host: "not an address", port: 0)) == .unknownHost)
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.connectionLimit = 0
        #expect(code(configuration) == .invalidConfiguration)
    }

    @Test("an IPv6 server on :: accepts IPv4 clients and reports IPv4 addresses")
    func dualStack() async throws {
        guard let v6 = optional(try HTTPServer.start(configuration: .init(host: "::", port: 0), handler: TestHandler())) else {
            print("SKIPPED: this machine has no IPv6")
            return
        }
        let port = v6.port
        let address = try await onThread { try Client(port: port).ask("GET", "/about").json()["address"] as? String }
        #expect(address == "127.0.0.1")
        await v6.stop(deadline: .zero)
    }

    @Test("clients that leave while they wait for a response leak nothing")
    func clientsLeave() async throws {
        let before = descriptors()
        try await withServer { server, handler in
            weak var forgotten: HTTPExchange?
            for round in 0..<10 {
                let clients = try (0..<40).map { _ in try Client(port: server.port) }
                for client in clients { client.request("POST", "/hold", body: Array(repeating: 65, count: 1000)) }
                let exchanges = try handler.held(40)
                for (position, client) in clients.enumerated() {
                    if position.isMultiple(of: 2) { client.abort() } else { client.close() }
                }
                for exchange in exchanges { exchange.respond(.text(200, "round \(round)")) }
                forgotten = exchanges.last
            }
            try eventually("no connection is left") { server.statistics.openConnections == 0 }
            try eventually("no request is left") { server.statistics.requestsInFlight == 0 }
            try eventually("no exchange is left") { forgotten == nil }
            #expect(server.statistics.requests == 400)
            #expect(server.statistics.undelivered > 0)
            #expect(try Client(port: server.port).ask("GET", "/hello").text == "hello")
        }
        // Other suites open and close descriptors at the same time; a leak here would be of 400.
        try eventually("no descriptor is left") { descriptors() <= before + 150 }
    }

    @Test("requests of clients that leave inside a body never reach the handler")
    func clientsLeaveEarly() async throws {
        try await withServer { server, handler in
            for _ in 0..<50 {
                let client = try Client(port: server.port)
                client.send("POST /hold HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf")
                client.abort()
            }
            try eventually("no connection is left") { server.statistics.openConnections == 0 }
            #expect(handler.allOutcomes.allSatisfy { !$0.isDelivered && $0.status == nil })
            #expect(try handler.held(0).isEmpty)
        }
    }

    @Test("an idle connection is closed, one that waits for its response is not")
    func idle() async throws {
        try await withServer {
            $0.idleTimeout = .seconds(1)
        } _: { server, handler in
            let waiting = try Client(port: server.port)
            waiting.request("POST", "/hold")
            let exchange = try #require(try handler.held(1).first)
            let idle = try Client(port: server.port)
            #expect(try idle.ask("GET", "/hello").status == 200)
            let stalled = try Client(port: server.port)
            stalled.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf")
            #expect(try idle.isClosedByServer())
            #expect(try stalled.isClosedByServer())
            #expect(exchange.respond(.text(200, "at last")))
            #expect(try waiting.answer().text == "at last")
        }
    }

    @Test("after an announced stop requests are served, and each response ends its connection")
    func announcedStop() async throws {
        try await withServer { server, handler in
            let idle = try Client(port: server.port)
            #expect(try idle.ask("GET", "/hello").headers["connection"] != "close")
            let waiting = try Client(port: server.port)
            waiting.request("POST", "/hold")
            let held = try handler.held(1)
            server.announceStop()
            held.first?.respond(.text(200, "held"))
            for client in [idle, waiting, try Client(port: server.port)] {
                let answer = try client === waiting ? client.answer() : client.ask("POST", "/echo", body: Array("event".utf8))
                #expect(answer.status == 200)
                #expect(answer.headers["connection"] == "close")
                #expect(try client.isClosedByServer())
            }
        }
    }

    @Test("localhost is both loopback addresses, on one port")
    func localhost() async throws {
        try await withServer {
            $0.host = "localhost"
        } _: { server, _ in
            #expect(try Client(port: server.port).ask("GET", "/hello").text == "hello")
            guard let six = optional(try Client(port: server.port, host: "::1")) else {
                print("SKIPPED: this machine has no IPv6")
                return
            }
            for _ in 0..<3 { #expect(try six.ask("GET", "/hello").text == "hello") }
            let about = try Client(port: server.port, host: "::1").ask("GET", "/about").json()["address"] as? String
            #expect(about == "::1")
        }
    }

    @Test("a stop waits for requests in flight, refuses new ones, and closes the listening socket at once")
    func gracefulStop() async throws {
        let handler = TestHandler()
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: handler)
        let port = server.port
        let (waiting, other) = try await onThread {
            let clients = try (Handed(Client(port: port)), Handed(Client(port: port)))
            #expect(try clients.1.client.ask("GET", "/hello").status == 200)
            clients.0.client.request("POST", "/hold")
            return clients
        }
        let exchange = try #require(try await onThread { try handler.held(1) }.first)
        async let stopped: Void = server.stop(deadline: .seconds(20))
        try await onThread {
            try eventually("the port is closed") { (try? Client(port: port)) == nil }
            let refused = try other.client.ask("GET", "/hello")
            #expect(refused.status == 503)
            #expect(refused.headers["retry-after"] == "1")
            #expect(try other.client.isClosedByServer())
            #expect(exchange.respond(.text(200, "in time")))
            #expect(try waiting.client.answer().text == "in time")
        }
        let begin = ContinuousClock.now
        await stopped
        #expect(ContinuousClock.now - begin < .seconds(10))
        #expect(server.statistics.openConnections == 0)
    }

    @Test("at the deadline waiting requests get 503, and a late response is refused")
    func stopAtDeadline() async throws {
        let handler = TestHandler()
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: handler)
        let port = server.port
        let clients = try await onThread {
            try (0..<130).map { _ in
                let client = try Client(port: port)
                client.request("POST", "/hold", body: [65])
                return Handed(client)
            }
        }
        let exchanges = try await onThread { try handler.held(130) }
        await server.stop(deadline: .milliseconds(50))
        #expect(server.statistics.openConnections == 0)
        #expect(exchanges.allSatisfy { !$0.respond(.text(200, "too late")) })
        try await onThread {
            for handed in clients {
                let answer = try handed.client.answer()
                #expect(answer.status == 503)
                #expect(answer.text.contains("may or may not"))
            }
        }
        // A second stop of a stopped server returns.
        await server.stop(deadline: .seconds(1))
    }

    @Test("requests that are completed in the shutdown grace are cut off at its end, and their exchanges report it")
    func stopAfterGrace() async throws {
        let handler = TestHandler()
        var configuration = HTTPServerConfiguration(port: 0)
        configuration.shutdownGrace = .seconds(3)
        let server = try HTTPServer.start(configuration: configuration, handler: handler)
        let port = server.port
        let (waiting, half) = try await onThread {
            let clients = try (Handed(Client(port: port)), Handed(Client(port: port)))
            clients.0.client.request("POST", "/hold")
            clients.1.client.send("POST /hold HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf")
            try eventually("two requests are in flight") { server.statistics.requestsInFlight == 2 }
            return clients
        }
        let first = try #require(try await onThread { try handler.held(1) }.first)
        async let stopped: Void = server.stop(deadline: .zero)
        let late = try await onThread {
            #expect(try waiting.client.answer().status == 503)
            half.client.send("rest")
            return try handler.held(1)
        }
        await stopped
        #expect(first.respond(.text(200, "too late")) == false)
        #expect(late.first?.respond(.text(200, "too late")) == false)
        #expect(try await onThread { try half.client.isClosedByServer() })
        #expect(server.statistics.undelivered == 1)
    }

    @Test("a message of libmicrohttpd is logged on one line, and its own response reaches the client")
    func messages() async throws {
        let lines = Mutex<[String]>([])
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: TestHandler()) {
            level, sentence, message in
            lines.withLock { $0.append("\(level): \(sentence) \(message)") }
        }
        let port = server.port
        try await onThread {
            let client = try Client(port: port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: many\r\n\r\n")
            // libmicrohttpd 0.9.75 sends the head of this response twice, so only the status is checked.
            #expect(try client.answer().status == 400)
            let nameless = try Client(port: port)
            nameless.send("GET /hello HTTP/1.1\r\n\r\n")
            #expect(try nameless.answer().status == 400)
            let wide = try Client(port: port)
            wide.request("GET", "/hello", headers: ["X-Wide: " + String(repeating: "x", count: 20_000)])
            #expect(try wide.answer().status == 431)
        }
        await server.stop(deadline: .zero)
        let all = lines.withLock { $0 }
        #expect(!all.isEmpty)
        #expect(all.allSatisfy { $0.hasPrefix("debug: libmicrohttpd logged a message. ") && !$0.contains("\n") })
    }

    @Test("a server that is released stops by itself")
    func letGo() async throws {
        let port = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: TestHandler()).port
        try await onThread { try eventually("the port is closed") { (try? Client(port: port)) == nil } }
    }

    @Test("a hundred servers leak no descriptor and no thread")
    func startAndStop() async throws {
        let before = (descriptors(), threads())
        for round in 0..<100 {
            try await withServer { server, handler in
                let client = try Client(port: server.port)
                #expect(try client.ask("GET", "/hello").text == "hello")
                if round.isMultiple(of: 2) {
                    client.request("POST", "/hold")
                    _ = try handler.held(1)
                }
            }
        }
        // Other suites run at the same time; a leak here would be of three descriptors and a thread for each server.
        try await onThread {
            try eventually("descriptors are as before: \(before.0)") { descriptors() <= before.0 + 150 }
            try eventually("threads are as before: \(before.1)") { threads() <= before.1 + 50 }
        }
    }
}

/// A client that is passed from one thread to the next and never used by two at once.
struct Handed: @unchecked Sendable {
    // Licence for @unchecked: the tests above use it from one `onThread` at a time and await each.
    let client: Client
    init(_ client: Client) { self.client = client }
}

private func optional<R>(_ body: @autoclosure () throws -> R) -> R? { try? body() }

private func entries(_ path: String) -> Int { (try? FileManager.default.contentsOfDirectory(atPath: path).count) ?? -1 }

/// Open descriptors of this process.
private func descriptors() -> Int { entries("/proc/self/fd") }

/// Threads of this process.
private func threads() -> Int { entries("/proc/self/task") }
