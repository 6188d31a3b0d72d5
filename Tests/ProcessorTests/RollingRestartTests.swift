// Two ingresses behind a TCP balancer are restarted one after the other under load: no request fails.

import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// Forwards each connection to the next server whose `/readyz` answers 200, as it is asked ten times a second.
private final class Balancer: Sendable {
    private struct Server {
        var port: UInt16
        var isReady = false
        var unready = 0
    }

    private struct State {
        var servers: [Server]
        var next = 0
        var isStopped = false
    }

    let port: UInt16
    private let listener: Int32
    private let state: Mutex<State>

    init(_ ports: [UInt16]) throws {
        state = Mutex(State(servers: ports.map { Server(port: $0) }))
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isBound = withUnsafeMutableBytes(of: &address) { bytes in
            let name = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!
            return bind(descriptor, name, length) == 0 && listen(descriptor, 64) == 0
                && getsockname(descriptor, name, &length) == 0
        }
        try #require(isBound)
        port = UInt16(bigEndian: address.sin_port)
        for position in ports.indices { Thread { self.watch(position) }.start() }
        Thread { self.accept() }.start()
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// Another process has taken a server's place.
    func replace(_ position: Int, by port: UInt16) { state.withLock { $0.servers[position].port = port } }

    func isReady(_ position: Int) -> Bool { state.withLock { $0.servers[position].isReady } }

    /// How often a server answered that it was not ready.
    func unready(_ position: Int) -> Int { state.withLock { $0.servers[position].unready } }

    private func watch(_ position: Int) {
        while !state.withLock({ $0.isStopped }) {
            let port = state.withLock { $0.servers[position].port }
            let status = try? {
                let connection = try LoopbackConnection(port: port, timeout: 10)
                try connection.send("GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n")
                return try connection.answer().status
            }()
            state.withLock { state in
                state.servers[position].isReady = status == 200
                if status == 503 { state.servers[position].unready += 1 }
            }
            usleep(100_000)
        }
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else {
                close(listener)
                return
            }
            let port = state.withLock { state in
                let ready = state.servers.filter(\.isReady)
                state.next += 1
                return ready.isEmpty ? nil : ready[state.next % ready.count].port
            }
            guard let port else {
                close(client)
                continue
            }
            Thread { Self.forward(client, to: port) }.start()
        }
    }

    /// Copies both ways until one side ends.
    private static func forward(_ client: Int32, to port: UInt16) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = loopback(port)
        let isConnected = withUnsafeBytes(of: &address) { bytes in
            connect(server, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count)) == 0
        }
        var watched = [client, server].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        copying: while isConnected {
            poll(&watched, 2, -1)
            for (from, to) in [(0, 1), (1, 0)] where watched[from].revents != 0 {
                let count = recv(watched[from].fd, &buffer, buffer.count, 0)
                // What tests send fits into a socket's buffer.
                guard count > 0, send(watched[to].fd, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break copying }
            }
        }
        close(client)
        close(server)
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        return address
    }
}

/// Clients that send one event after the other, each on a connection that it keeps as long as the server does.
private final class Senders: Sendable {
    struct State {
        var sent = 0
        var closed = 0
        var failures: [String] = []
        var isStopped = false
        var running = 0
    }

    let state: Mutex<State>

    init(_ count: Int, port: UInt16) {
        state = Mutex(State(running: count))
        for number in 0..<count { Thread { self.run(number, port) }.start() }
    }

    private func run(_ number: Int, _ port: UInt16) {
        var connection: LoopbackConnection?
        let event = #"{"action":"Upsert","message_id":\#(number),"data":{"name":"n","message":"m"}}"#
        while !state.withLock({ $0.isStopped }) {
            do {
                let open = try connection ?? LoopbackConnection(port: port, timeout: 20)
                try open.send(
                    "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: \(event.utf8.count)\r\n\r\n\(event)"
                )
                let answer = try open.answer()
                let isClosed = answer.headers["connection"] == "close"
                connection = isClosed ? nil : open
                state.withLock { state in
                    state.sent += 1
                    if isClosed { state.closed += 1 }
                    if answer.status != 200 { state.failures.append("\(answer.status) \(answer.text)") }
                }
            } catch {
                connection = nil
                state.withLock { $0.failures.append("\(error)") }
            }
            usleep(2_000)
        }
        state.withLock { $0.running -= 1 }
    }
}

@Suite struct RollingRestartTests {
    @Test func noRequestFailsWhileIngressesAreRestarted() async throws {
        let programs = try Programs()
        let settings = ["SLUICE_HTTP_SHUTDOWN_DELAY": "4s"]
        var servers = [
            try await programs.ingress(environment: settings), try await programs.ingress(environment: settings),
        ]
        let balancer = try Balancer(servers.map(\.port))
        defer { balancer.stop() }
        for position in 0...1 { try #require(await eventually(within: .seconds(30)) { balancer.isReady(position) }) }
        let senders = Senders(8, port: balancer.port)
        for position in 0...1 {
            let before = senders.state.withLock { $0.sent }
            try #require(await eventually(within: .seconds(20)) { senders.state.withLock { $0.sent } > before + 200 })
            let clock = ContinuousClock()
            let begin = clock.now
            servers[position].process.signal(SIGTERM)
            #expect(try await servers[position].process.ended(within: .seconds(40)) == .exited(0))
            #expect(clock.now - begin >= .seconds(4), "events are taken for the delay")
            #expect(balancer.unready(position) > 0, "it said that it was not ready")
            servers[position] = try await programs.ingress(environment: settings)
            balancer.replace(position, by: servers[position].port)
            try #require(await eventually(within: .seconds(30)) { balancer.isReady(position) })
        }
        senders.state.withLock { $0.isStopped = true }
        try #require(await eventually(within: .seconds(20)) { senders.state.withLock { $0.running } == 0 })
        let end = senders.state.withLock { $0 }
        #expect(end.failures.isEmpty, "\(end.failures.count) of \(end.sent): \(end.failures.prefix(3))")
        #expect(end.closed >= 8, "responses sent each client elsewhere: \(end.closed)")
        for server in servers { server.process.signal(SIGKILL) }
    }
}
