// Floods from several addresses: an ordinary client from another one is served all the same.

import Foundation
import Glibc
import HTTPServer
import Testing

@Suite(.serialized) struct FloodTests {
    enum Flood: CaseIterable {
        /// Connections on which nothing was ever sent.
        case silent
        /// Connections that are kept after a request.
        case idle
        /// Requests that are refused at their header, and whose chunked body goes on.
        case refused
    }

    @Test(
        "4 × 1,024 connections from four addresses: events from a fifth come in with a p99 below a second, as do health checks",
        arguments: Flood.allCases)
    func fourNetworks(_ flood: Flood) async throws {
        guard raiseDescriptors(to: 12_000) else {
            print("SKIPPED: the floods need 12,000 file descriptors (ulimit -Hn)")
            return
        }
        try await withServer {
            $0.connectionLimit = 4_096
            $0.connectionsPerAddress = 1_024
        } _: { server, _ in
            let probe = Probe(port: server.port)
            let clients = try (0..<4_096).map { position in
                let client = try Client(port: server.port, from: "127.0.0.\(2 + position % 4)")
                switch flood {
                case .silent: break
                case .idle: client.request("GET", "/hello")
                case .refused: client.send("POST /refused HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                }
                return client
            }
            if flood == .idle { for client in clients { #expect(try client.answer().status == 200) } }
            var times: [Duration] = []
            for position in 0..<200 {
                if flood == .refused { clients[position].send("1\r\na\r\n") }
                let begin = ContinuousClock.now
                let answer = try Client(port: server.port, from: "127.0.0.6").ask("POST", "/echo", body: Array("event".utf8))
                #expect(answer.status == 200, "event \(position)")
                times.append(ContinuousClock.now - begin)
            }
            times.sort()
            #expect(times[197] < .seconds(1), "p99 \(times[197]), the slowest \(times[199])")
            probe.expectServed()
            if flood == .refused {
                // Each has its response, though its body has no end.
                for client in clients { #expect(try client.answer().status == 415) }
                try eventually("they are closed") { server.statistics.openConnections <= 1 }
            }
        }
    }
}
