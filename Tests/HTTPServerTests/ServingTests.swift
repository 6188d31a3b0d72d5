// Requests, bodies, refusals and late responses as a client sees them.

import Foundation
import HTTPServer
import Testing

@Suite(.serialized) struct ServingTests {
    @Test("a kept connection serves one request after the other")
    func keepAlive() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            for round in 0..<50 {
                let answer = try client.ask("POST", "/echo", body: Array("round \(round)".utf8))
                #expect(answer.status == 200)
                #expect(answer.text == "round \(round)")
                #expect(answer.headers["x-padding"] == "true")
            }
            #expect(server.statistics.openConnections == 1)
            try eventually("all are counted") { server.statistics.requests == 50 }
        }
    }

    @Test("responses to pipelined requests come in order, also when one of them is late")
    func pipelining() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.request("POST", "/echo", body: Array("one".utf8))
            client.request("POST", "/later", body: Array("two".utf8))
            client.request("GET", "/hello")
            client.request("POST", "/later", body: Array("four".utf8))
            #expect(try (0..<4).map { _ in try client.answer().text } == ["one", "two", "hello", "four"])
        }
    }

    @Test("a chunked body, and one that comes byte by byte")
    func pieces() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n")
            #expect(try client.answer().text == "abcdefgh")
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\n")
            for byte in Array("slowly".utf8.prefix(6)) {
                client.send([byte])
                try eventually("the server has read on") { server.statistics.requestsInFlight <= 1 }
            }
            #expect(try client.answer().text == "slowly")
        }
    }

    @Test("a body far larger than the connection's memory arrives whole")
    func largeBody() async throws {
        try await withServer { server, _ in
            var generator = SystemRandomNumberGenerator()
            let body = (0..<900_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let client = try Client(port: server.port)
            #expect(try client.ask("POST", "/echo", body: body).body == body)
            #expect(try client.ask("POST", "/echo", body: []).body.isEmpty)
        }
    }

    @Test("a client that waits for 100 gets it, or the refusal in its place")
    func expectContinue() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            #expect(try client.answer().status == 100)
            client.send("body")
            #expect(try client.answer().text == "body")
            client.send("POST /small HTTP/1.1\r\nHost: t\r\nContent-Length: 17\r\nExpect: 100-continue\r\n\r\n")
            #expect(try client.answer().status == 413)
            #expect(try client.isClosedByServer())
        }
    }

    @Test("a body beyond the limit gets 413 at once: by its Content-Length, or when it grows beyond the limit")
    func tooLarge() async throws {
        try await withServer {
            $0.discardBytes = 100_000
        } _: { server, handler in
            func refused(_ request: String) throws -> Answer {
                let client = try Client(port: server.port)
                client.send("POST /small HTTP/1.1\r\nHost: t\r\n\(request)")
                let answer = try client.answer()
                #expect(answer.headers["connection"] == "close")
                #expect(answer.headers["date"]?.hasSuffix("GMT") == true)
                #expect(try client.isClosedByServer())
                return answer
            }
            // At once: the body has not come.
            let answer = try refused("Content-Length: 17\r\n\r\n")
            #expect(answer.status == 413)
            #expect(answer.headers["content-type"] == "text/plain; charset=utf-8")
            #expect(answer.text == "The body of this request may have at most 16 bytes.")
            #expect(try refused("Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n9\r\n123456789\r\n").status == 413)
            let kept = try Client(port: server.port)
            #expect(try kept.ask("POST", "/small", body: Array(repeating: 65, count: 16)).status == 200)

            let long = try Client(port: server.port)
            long.send("POST /small HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n")
            #expect(try long.answer().status == 413)
            #expect(try long.isClosedByServer())

            let endless = try Client(port: server.port)
            endless.send("POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<200 { endless.send("3e8\r\n" + String(repeating: "x", count: 1000) + "\r\n") }
            #expect(try endless.answer().status == 413)
            #expect(try endless.isClosedByServer())
            try eventually("all ended") { server.statistics.requestsInFlight == 0 }
            #expect(handler.allOutcomes.last?.status == 413)
            #expect(handler.allOutcomes.last?.isDelivered == true)
            #expect(handler.allOutcomes.last?.route == TestHandler.Route.small.rawValue)
        }
    }

    @Test("unknown paths are 404 and unknown methods 405; the connection is kept where the request has no body")
    func unknownRoutes() async throws {
        try await withServer { server, handler in
            let client = try Client(port: server.port)
            let missing = try client.ask("GET", "/nowhere")
            #expect(missing.status == 404)
            #expect(missing.text == "No route has this path.")
            #expect(try client.ask("POST", "/hell").status == 404)
            let wrong = try client.ask("DELETE", "/echo")
            #expect(wrong.status == 405)
            #expect(wrong.headers["allow"] == "POST, GET, HEAD")
            #expect(try client.ask("POST", "/hello").headers["allow"] == "GET, HEAD")
            #expect(try client.ask("OPTIONS", "/hello").headers["allow"] == "GET, HEAD")
            #expect(try client.ask("PROPFIND", "/hello").status == 405)
            #expect(try client.ask("PUT", "/echo").status == 405)
            #expect(try client.ask("GET", "/echo", body: [65], headers: []).status == 200)
            #expect(try client.ask("POST", "/refused").status == 415)
            #expect(try client.ask("GET", "/hello").text == "hello")
            #expect(server.statistics.openConnections == 1)
            for path in ["/hell", "/hello", "/refused"] {
                let other = try Client(port: server.port)
                let refused = try other.ask("POST", path, body: Array("ignored".utf8))
                #expect([404, 405, 415].contains(refused.status) && refused.headers["connection"] == "close")
                #expect(try other.isClosedByServer())
            }
            #expect(handler.allOutcomes.prefix(3).map(\.status) == [404, 404, 405])
        }
    }

    @Test("HEAD is answered by the GET route, without a body")
    func head() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            let answer = try client.ask("HEAD", "/hello")
            #expect(answer.status == 200)
            #expect(answer.headers["content-length"] == "5")
            #expect(try client.ask("GET", "/hello").text == "hello")
        }
    }

    @Test("the view of a request that a handler gets")
    func requestView() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            let answer = try client.ask(
                "GET", "/about?topic=a%20b%26c&empty=",
                headers: ["User-Agent: tester", "X-Length: 12345", "content-type: Application/JSON; charset=utf-8"]
            ).json()
            #expect(answer["method"] as? String == "GET")
            #expect(answer["agent"] as? String == "tester")
            #expect(answer["json"] as? Bool == true)
            #expect(answer["length"] as? Int == 5)
            #expect(answer["address"] as? String == "127.0.0.1")
            let plain = try client.ask("GET", "/about?", headers: ["Content-Type: application/jsonp"]).json()
            #expect(plain["json"] as? Bool == false)
        }
    }

    @Test("a response whose header has a line break becomes a 500, not a second header")
    func brokenHeader() async throws {
        try await withServer { server, _ in
            let client = try Client(port: server.port)
            let answer = try client.ask("GET", "/broken")
            #expect(answer.status == 500)
            #expect(answer.headers["x-other"] == nil)
        }
    }

    @Test("responses from another thread to many connections that are all ready at once", arguments: [128, 256])
    func readyAtOnce(_ count: Int) async throws {
        try await withServer { server, handler in
            let clients = try (0..<count).map { _ in try Client(port: server.port) }
            for round in 0..<4 {
                for client in clients { client.request("POST", "/hold", body: [65]) }
                for exchange in try handler.held(count) { #expect(exchange.respond(.text(200, "round \(round)"))) }
                for client in clients { #expect(try client.answer().text == "round \(round)") }
                for (position, client) in clients.enumerated() {
                    client.request("POST", "/later", body: Array("\(position)".utf8))
                }
                for (position, client) in clients.enumerated() { #expect(try client.answer().text == "\(position)") }
            }
            #expect(server.statistics.openConnections == count)
            try eventually("all are counted") { server.statistics.requests == count * 8 }
        }
    }

    @Test("only the first response counts")
    func answeredTwice() async throws {
        try await withServer { server, handler in
            let client = try Client(port: server.port)
            client.request("POST", "/hold")
            let exchange = try #require(try handler.held(1).first)
            #expect(exchange.respond(.text(200, "first")))
            #expect(!exchange.respond(.text(200, "second")))
            #expect(try client.answer().text == "first")
            try eventually("the request is over") { server.statistics.requestsInFlight == 0 }
            #expect(!exchange.respond(.text(200, "third")))
        }
    }
}
