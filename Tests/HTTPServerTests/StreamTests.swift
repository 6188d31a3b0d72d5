// Bodies that are read piece by piece, and responses that are written while they are sent.

import Foundation
import HTTPServer
import Synchronization
import TestSupport
import Testing

@Suite(.serialized) struct StreamTests {
    @Test("every byte arrives once and in order, however the body is cut, sent and taken", arguments: [false, true])
    func randomSplits(_ isSlow: Bool) async throws {
        let seed = testSeed("randomSplits")
        try await withStreams(StreamHandler(ReaderPlan(slowSeed: isSlow ? seed : nil, waitsAtEnd: isSlow))) { server, _ in
            var random = SeededRandom(seed: seed)
            let client = try Client(port: server.port)
            for round in 0..<40 {
                let size = Int.random(in: 0...(round.isMultiple(of: 8) ? 300_000 : 3_000), using: &random)
                let body = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                let isChunked = Bool.random(using: &random)
                client.send(
                    "POST /stream HTTP/1.1\r\nHost: t\r\n"
                        + (isChunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Content-Length: \(size)\r\n\r\n"))
                var at = 0
                while at < size {
                    let count = Int.random(in: 1...max(1, size / 5), using: &random)
                    let piece = Array(body[at..<min(size, at + count)])
                    client.send(isChunked ? Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + [13, 10] : piece)
                    at += piece.count
                }
                if isChunked { client.send("0\r\n\r\n") }
                let answer = try client.answer()
                #expect(answer.status == 200)
                #expect(answer.headers["x-end"] == "complete")
                #expect(answer.body == body, "seed \(seed), round \(round): \(answer.body.count) of \(size) bytes")
            }
            #expect(server.statistics.openConnections == 1)
        }
    }

    @Test("a suspended request makes its sender wait, and no other client")
    func backPressure() async throws {
        let size = 64 << 20
        try await withStreams(StreamHandler(ReaderPlan(isHeld: true), limit: size)) { server, handler in
            let port = server.port
            let sent = SharedCount()
            let sender = Thread {
                guard let client = try? Client(port: port, timeout: 60) else { return }
                client.send("POST /stream HTTP/1.1\r\nHost: t\r\nContent-Length: \(size)\r\n\r\n")
                let piece = [UInt8](repeating: 65, count: 64 << 10)
                for _ in 0..<size / piece.count {
                    client.send(piece)
                    sent.count.add(piece.count, ordering: .relaxed)
                }
                sent.status.store((try? client.answer())?.status ?? -1, ordering: .relaxed)
            }
            sender.start()
            let begin = ContinuousClock.now
            let reader = try handler.onlyReader()
            try eventually("the reader got a piece") { reader.state.withLock { $0.waits > 0 } }
            // The kernel's buffers hold some megabytes: they are full when no more is sent.
            var before = -1
            try eventually("the sender waits") {
                usleep(100_000)
                let now = sent.count.load(ordering: .relaxed)
                defer { before = now }
                return now == before
            }
            #expect(sent.count.load(ordering: .relaxed) < size / 2)
            #expect(try Client(port: port).ask("GET", "/hello").text == "hello")
            let waits = reader.state.withLock { $0.waits }
            #expect(Double(waits) <= (ContinuousClock.now - begin) / ReaderPlan.hold + 1, "it is not asked before its time")
            reader.release()
            try eventually("the body was taken") { sent.status.load(ordering: .relaxed) == 200 }
            #expect(reader.state.withLock { $0.bytes.count } == size)
        }
    }

    @Test("a reader is told once that its client has left, suspended or not", arguments: [false, true])
    func clientGone(_ isWaiting: Bool) async throws {
        try await withStreams(StreamHandler(ReaderPlan(isHeld: isWaiting))) { server, handler in
            let client = try Client(port: server.port)
            client.send("POST /stream HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf of it")
            let reader = try handler.onlyReader()
            try eventually("the reader got a piece") { reader.state.withLock { $0.waits + $0.bytes.count > 0 } }
            client.abort()
            // A suspended connection is not read, so its end is noticed later.
            if isWaiting { reader.release() }
            try eventually("the request is over") { server.statistics.requestsInFlight == 0 }
            #expect(reader.state.withLock { $0.abandoned } == 1)
            #expect(reader.state.withLock { $0.ends }.isEmpty)
        }
    }

    @Test("a body beyond the limit is refused by its Content-Length, or cut at the limit, and never read without bound")
    func tooLong() async throws {
        try await withStreams(StreamHandler(limit: 1000)) {
            $0.streamDiscardBytes = 50_000
        } _: { server, handler in
            let refused = try Client(port: server.port)
            #expect(try refused.ask("POST", "/stream", body: Array(repeating: 65, count: 1001)).status == 413)
            #expect(try refused.isClosedByServer())
            #expect(handler.readers.withLock { $0.allSatisfy { $0.state.withLock { $0.ends.isEmpty && $0.bytes.isEmpty } } })
            let client = try Client(port: server.port)
            let chunk = "320\r\n" + String(repeating: "x", count: 800) + "\r\n"
            client.send("POST /stream HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + "0\r\n\r\n")
            let cut = try client.answer()
            #expect(cut.headers["x-end"] == "tooLong(limit: 1000)")
            #expect(cut.body.count == 1000)
            #expect(try client.ask("POST", "/stream", body: Array(repeating: 65, count: 1000)).body.count == 1000)

            let announced = try Client(port: server.port)
            announced.send("POST /stream HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n")
            #expect(try announced.answer().status == 413)
            #expect(try announced.isClosedByServer())
            let endless = try Client(port: server.port)
            endless.send("POST /stream HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<200 { endless.send(chunk) }
            #expect(try endless.isClosedByServer())
            try eventually("all ended") { server.statistics.requestsInFlight == 0 }
            #expect(handler.readers.withLock { $0.last?.state.withLock { $0.abandoned } } == 1)
        }
    }

    @Test("the rest after `.enough` is dropped, then the response is sent, and the connection is kept")
    func enough() async throws {
        try await withStreams(StreamHandler(ReaderPlan(most: 10))) { server, _ in
            let client = try Client(port: server.port)
            for _ in 0..<3 {
                let answer = try client.ask("POST", "/stream", body: Array(repeating: 65, count: 100_000))
                #expect(answer.body.count == 10)
                #expect(answer.headers["x-end"] == "complete")
            }
            #expect(server.statistics.openConnections == 1)
        }
    }

    @Test("the first bytes choose how a body is read; white space is skipped")
    func peek() async throws {
        try await withStreams(StreamHandler(limit: 1000)) { server, _ in
            let client = try Client(port: server.port)
            #expect(try client.ask("POST", "/peek", body: Array("{one}".utf8)).status == 201)
            #expect(try client.ask("POST", "/peek", body: Array("  [many]".utf8)).text == "  [many]")
            #expect(try client.ask("POST", "/peek", body: []).status == 201)
            let chunks = ["2\r\n  \r\n", "1\r\n \r\n", "4\r\n [12\r\n", "1\r\n]\r\n", "0\r\n\r\n"]
            client.send("POST /peek HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in chunks { client.send(chunk) }
            #expect(try client.answer().text == " [12]")
            // The smaller limit of a collected body, and the common limit of both.
            #expect(try client.ask("POST", "/peek", body: Array(repeating: 0x20, count: 1000)).status == 201)
            #expect(server.statistics.openConnections == 1)
            let long = Array(repeating: UInt8(ascii: " "), count: 1001)
            for body in [Array("{0123456789abcdef}".utf8), long] {
                #expect(try Client(port: server.port).ask("POST", "/peek", body: body).status == 413)
            }
            let chunked = try Client(port: server.port)
            chunked.send("POST /peek HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n")
            chunked.send(long)
            #expect(try chunked.answer().status == 413)
        }
    }

    @Test("bytes off the wire are counted, those that are passed over, dropped or refused included")
    func wireBytes() async throws {
        try await withStreams(StreamHandler(ReaderPlan(most: 10), limit: 1000)) { server, handler in
            let client = try Client(port: server.port)
            client.send("POST /peek HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in ["5\r\n     \r\n", "3\r\n {}\r\n", "0\r\n\r\n"] { client.send(chunk) }
            let passed = try client.answer()
            #expect(passed.text == " {}")
            #expect(passed.headers["x-wire"] == "8")
            #expect(try client.ask("POST", "/stream", body: Array(repeating: 65, count: 900)).body.count == 10)
            #expect(try client.ask("GET", "/hello").status == 200)
            #expect(try client.ask("POST", "/stream", body: Array(repeating: 65, count: 1001)).status == 413)
            try eventually("all are over") { handler.outcomes.withLock { $0.count == 4 } }
            #expect(handler.outcomes.withLock { $0.map(\.wireBytes) } == [8, 900, 0, 1001])
        }
    }

    @Test("a stop does not wait for suspended requests beyond its deadline")
    func stop() async throws {
        let handler = StreamHandler(ReaderPlan(isHeld: true))
        let server = try HTTPServer.start(configuration: HTTPServerConfiguration(port: 0), handler: handler)
        let port = server.port
        let clients = try await onThread {
            let clients = try (0..<2).map { _ in try Client(port: port) }
            clients[0].request("POST", "/stream", body: Array("whole".utf8))
            clients[1].send("POST /stream HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf")
            try eventually("both wait") {
                handler.readers.withLock { $0.count == 2 && $0.allSatisfy { $0.state.withLock { $0.waits > 0 } } }
            }
            return clients.map(Handed.init)
        }
        await server.stop(deadline: .milliseconds(50))
        try await onThread {
            let answer = try clients[0].client.answer()
            #expect(answer.status == 503)
            let isClosed = try clients[1].client.isClosedByServer()
            #expect(isClosed)
        }
        for reader in handler.readers.withLock({ $0 }) {
            #expect(reader.state.withLock { $0.abandoned } == 1)
            reader.release()
        }
    }

    @Test("a response that is written while it is sent arrives whole, and its source is released")
    func source() async throws {
        try await withStreams(StreamHandler()) { server, handler in
            let client = try Client(port: server.port)
            for size in [1, 19_999, 20_001, 3_000_000] {
                let answer = try client.ask("GET", "/source", headers: ["X-Bytes: \(size)"])
                #expect(answer.body.count == size)
                #expect(answer.body.indices.allSatisfy { answer.body[$0] == UInt8(truncatingIfNeeded: $0) })
            }
            #expect(try client.ask("HEAD", "/source", headers: ["X-Bytes: 500"]).headers["content-length"] == "500")
            let leaver = try Client(port: server.port)
            leaver.request("GET", "/source", headers: ["X-Bytes: 100000000"])
            try eventually("it is being sent") { handler.sources.load(ordering: .relaxed) == 6 }
            leaver.abort()
            try eventually("every source was released") { handler.releases.load(ordering: .relaxed) == 6 }
            #expect(try client.ask("GET", "/hello").text == "hello")
        }
    }
}

/// What the sender's thread reports.
private final class SharedCount: Sendable {
    let count = Atomic(0)
    let status = Atomic(0)
}
