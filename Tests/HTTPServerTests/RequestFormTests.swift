// Forms of requests that the RFCs of HTTP allow or forbid: compressed bodies, targets, charsets, and white space in fields.

import CZlib
import Foundation
import HTTPServer
import Synchronization
import TestSupport
import Testing

/// Compresses with zlib. `windowBits`: 15 for zlib's format, 31 for gzip's.
private func compressed(_ bytes: [UInt8], windowBits: Int32 = 31) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(&stream, 6, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    var output = [UInt8](repeating: 0, count: bytes.count + bytes.count / 100 + 100)
    var input = bytes
    let count = input.withUnsafeMutableBufferPointer { input in
        output.withUnsafeMutableBufferPointer { output in
            (stream.next_in, stream.avail_in) = (input.baseAddress, UInt32(input.count))
            (stream.next_out, stream.avail_out) = (output.baseAddress, UInt32(output.count))
            deflate(&stream, Z_FINISH)
            return output.count - Int(stream.avail_out)
        }
    }
    deflateEnd(&stream)
    return Array(output[..<count])
}

@Suite(.serialized) struct CodingTests {
    private let text = Array(String(repeating: #"{"action":"Upsert","message_id":1}"#, count: 300).utf8)

    @Test(
        "gzip and deflate are decoded, also in several members, in one piece or byte by byte",
        arguments: [("gzip", 31), ("x-gzip", 31), ("GZIP ", 31), ("deflate", 15)])
    func decoded(coding: String, windowBits: Int32) async throws {
        let text = text
        try await withServer { server, handler in
            let client = try Client(port: server.port)
            let body = compressed(text, windowBits: windowBits)
            #expect(body.count < text.count / 10)
            for _ in 0..<3 {
                let answer = try client.ask("POST", "/echo", body: body, headers: ["Content-Encoding: \(coding)"])
                #expect(answer.status == 200 && answer.body == text)
                #expect(answer.headers["x-padding"] == "true")
            }
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Encoding: \(coding)\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in body { client.send([49, 13, 10, byte, 13, 10]) }
            client.send("0\r\n\r\n")
            #expect(try client.answer().body == text)
            if windowBits == 31 {
                let twice = try client.ask("POST", "/echo", body: body + body, headers: ["Content-Encoding: gzip"])
                #expect(twice.body == text + text)
            }
            try eventually("all are over") { handler.allOutcomes.count >= 4 }
            #expect(handler.allOutcomes.prefix(4).allSatisfy { $0.wireBytes == body.count }, "what came off the wire")
        }
    }

    @Test("other codings are 415 at the header, and name those there are", arguments: ["br", "zstd", "gzip, gzip", "compress"])
    func unknown(coding: String) async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Encoding: \(coding)\r\nContent-Length: 1000\r\n\r\n")
            let answer = try client.answer()
            #expect(answer.status == 415)
            #expect(answer.headers["accept-encoding"] == "gzip, deflate")
            let other = try Client(port: server.port)
            #expect(try other.ask("POST", "/echo", body: [65], headers: ["Content-Encoding: identity"]).text == "A")
            #expect(try other.ask("GET", "/hello", headers: ["Content-Encoding: \(coding)"]).status == 200, "it has no body")
        }
    }

    @Test("the limit is that of the decoded body, and what is damaged or ends too early is 400")
    func limits() async throws {
        let text = text
        try await withServer {
            $0.maxBodyBytes = 10_000
        } _: { server, _ in
            let whole = compressed(Array(text.prefix(5_000)))
            let cases: [(body: [UInt8], coding: String, status: Int)] = [
                (compressed(Array(text.prefix(10_000))), "gzip", 200),
                (compressed(Array(repeating: 65, count: 10_000)), "gzip", 200),
                (compressed(Array(repeating: 65, count: 10_001)), "gzip", 413),
                // A thousand times as long as on the wire.
                (compressed(Array(repeating: 0, count: 8_000_000)), "gzip", 413), (Array(whole.dropLast(9)), "gzip", 400),
                (whole + [65], "gzip", 400), (Array(text.prefix(100)), "gzip", 400), (whole, "deflate", 400),
                (compressed(Array(text.prefix(5_000)), windowBits: 15) + [65], "deflate", 400),
            ]
            for (position, one) in cases.enumerated() {
                let client = try Client(port: server.port)
                let answer = try client.ask("POST", "/echo", body: one.body, headers: ["Content-Encoding: \(one.coding)"])
                #expect(answer.status == one.status, "case \(position)")
            }
        }
    }

    @Test("a reader gets every decoded byte once and in order, however it takes them", arguments: [false, true])
    func streamed(_ isSlow: Bool) async throws {
        let seed = testSeed("decodedStreams")
        try await withStreams(StreamHandler(ReaderPlan(slowSeed: isSlow ? seed : nil, waitsAtEnd: isSlow))) { server, handler in
            var random = SeededRandom(seed: seed)
            let client = try Client(port: server.port)
            for round in 0..<20 {
                let size = Int.random(in: 1...(round.isMultiple(of: 4) ? 300_000 : 3_000), using: &random)
                let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 / Int.random(in: 1...9, using: &random)) }
                let wire = compressed(body)
                client.send(
                    "POST /stream HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\nContent-Length: \(wire.count)\r\n\r\n")
                var at = 0
                while at < wire.count {
                    let count = Int.random(in: 1...max(1, wire.count / 4), using: &random)
                    client.send(Array(wire[at..<min(wire.count, at + count)]))
                    at += count
                }
                let answer = try client.answer()
                #expect(answer.headers["x-end"] == "complete")
                #expect(answer.body == body, "seed \(seed), round \(round): \(answer.body.count) of \(size) bytes")
                try eventually("it is over") { handler.outcomes.withLock { $0.count == round + 1 } }
                #expect(handler.outcomes.withLock { $0.last?.wireBytes } == wire.count, "seed \(seed)")
            }
        }
    }

    @Test("a reader is told that a body is cut or damaged, with what could be decoded")
    func streamEnds() async throws {
        try await withStreams(StreamHandler(limit: 1_000)) { server, _ in
            func ask(_ path: String, _ body: [UInt8]) throws -> Answer {
                try Client(port: server.port).ask("POST", path, body: body, headers: ["Content-Encoding: gzip"])
            }
            let long = try ask("/stream", compressed(Array(repeating: 65, count: 500_000)))
            #expect(long.headers["x-end"] == "tooLong(limit: 1000)" && long.body.count == 1_000)
            let whole = compressed(Array("[1,2,3]".utf8))
            for body in [Array(whole.dropLast(4)), whole + [1, 2, 3], Array("[1,2,3]".utf8)] {
                #expect(try ask("/stream", body).headers["x-end"] == "undecodable")
            }
            #expect(try ask("/stream", whole).headers["x-end"] == "complete")
            #expect(try ask("/peek", compressed(Array("  [1]".utf8))).text == "  [1]")
            #expect(try ask("/peek", compressed(Array("{}".utf8))).status == 201)
        }
    }

    /// Empty blocks of deflate (RFC 1951, section 3.2.4): so the limit of decoded bytes is never reached.
    @Test("a compressed body that holds nothing is too long on the wire")
    func empty() async throws {
        let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
        let wire = header + Array(repeating: [0, 0, 0, 0xFF, 0xFF] as [UInt8], count: 20_000).joined()
        try await withStreams(StreamHandler(limit: 1_000)) { server, _ in
            let answer = try Client(port: server.port).ask("POST", "/stream", body: wire, headers: ["Content-Encoding: gzip"])
            #expect(answer.headers["x-end"] == "tooLong(limit: 1000)")
            #expect(
                try Client(port: server.port).ask("POST", "/peek", body: wire, headers: ["Content-Encoding: gzip"]).status == 413)
        }
    }

    @Test("compressed bodies take their memory from that of all bodies")
    func memory() async throws {
        try await withServer {
            $0.bodyMemoryBytes = 100_000
        } _: { server, _ in
            let open = try (0..<2).map { _ in
                let client = try Client(port: server.port)
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n")
                return client
            }
            try eventually("both are being read") { server.statistics.requestsInFlight == 2 }
            let body = compressed([65])
            let third = try Client(port: server.port)
            #expect(try third.ask("POST", "/echo", body: body, headers: ["Content-Encoding: gzip"]).status == 503)
            // No memory for a body that is refused at its header.
            #expect(
                try Client(port: server.port).ask("POST", "/none", body: body, headers: ["Content-Encoding: gzip"]).status == 404)
            for client in open { client.close() }
            try eventually("both have left") { server.statistics.requestsInFlight == 0 }
            #expect(try third.ask("POST", "/echo", body: body, headers: ["Content-Encoding: gzip"]).text == "A")
        }
    }
}

@Suite(.serialized) struct RequestFormTests {
    @Test("a target may be an absolute URI; one that is percent-encoded without need is 400")
    func targets() async throws {
        try await withServer { server, _ in
            let targets = [
                200: ["http://t/hello", "HTTP://t:80/hello?a=b", "/hello?x=%2F%00"],
                400: ["/%68ello", "/hello%2F", "/hello%00x", "/%2Fhello", "http://t/%68ello", "/hello%"],
                404: ["/hello/", "//hello", "http://t", "*", "/hello%20"],
            ]
            for (status, targets) in targets {
                for target in targets {
                    let client = try Client(port: server.port)
                    client.send("GET \(target) HTTP/1.1\r\nHost: t\r\n\r\n")
                    #expect(try client.answer().status == status, "\(target)")
                }
            }
        }
    }

    @Test("white space after a field's value is no part of it, and only charsets that are UTF-8 are taken")
    func fields() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            func about(_ type: String) throws -> [String: Any] {
                try client.ask(
                    "GET", "/about", headers: ["X-Length: 12345 \t ", "User-Agent:  tester  ", "Content-Type: \(type)"]
                ).json()
            }
            let spaces = try about("application/json ")
            #expect(spaces["length"] as? Int == 5)
            #expect(spaces["agent"] as? String == "tester")
            for type in [
                "application/json", "application/json;charset=utf-8", "application/json; a=b; Charset=\"UTF-8\"; c=d",
                "application/json; charset=us-ascii",
            ] { #expect(try about(type)["json"] as? Bool == true, "\(type)") }
            for type in ["application/json; charset=latin1", "application/json; charset=utf-16", "application/json; charset="] {
                #expect(try about(type)["json"] as? Bool == false, "\(type)")
            }
        }
    }
}
