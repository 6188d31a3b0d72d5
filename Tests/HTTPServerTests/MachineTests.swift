// Transcripts of the machines of requests, bodies and shutdown, and of small pure parts.

import Foundation
import Platform
import Testing

@testable import HTTPServer

@Suite struct ExchangeMachineTests {
    @Test("a response during the handler needs no wake-up")
    func synchronous() {
        var machine = ExchangeMachine<Int>()
        #expect(machine.responded(1) == .keep)
        #expect(machine.responded(2) == .refuse)
        #expect(machine.handlerReturned() == .send(1))
        machine.requestEnded()
        #expect(machine.responded(3) == .refuse)
    }

    @Test("a response after the handler wakes the loop once")
    func deferred() {
        var machine = ExchangeMachine<Int>()
        #expect(machine.handlerReturned() == .suspend)
        #expect(machine.connectionResumed() == nil)
        #expect(machine.responded(1) == .wake)
        #expect(machine.responded(2) == .refuse)
        #expect(machine.connectionResumed() == 1)
        #expect(machine.connectionResumed() == nil)
        machine.requestEnded()
        #expect(machine.responded(3) == .refuse)
    }

    @Test("a request that ends before its response was taken takes none")
    func endedEarly() {
        var machine = ExchangeMachine<Int>()
        #expect(machine.handlerReturned() == .suspend)
        machine.requestEnded()
        #expect(machine.responded(1) == .refuse)
        var answered = ExchangeMachine<Int>()
        #expect(answered.responded(1) == .keep)
        answered.requestEnded()
        #expect(answered.connectionResumed() == nil)
        #expect(answered.responded(2) == .refuse)
    }
}

extension ExchangeMachine.ReturnAction: Equatable where Response: Equatable {
    static func == (a: Self, b: Self) -> Bool {
        switch (a, b) {
        case (.send(let x), .send(let y)): x == y
        case (.suspend, .suspend): true
        default: false
        }
    }
}

@Suite struct BodyMachineTests {
    private func machine(_ limit: Int = 10, refusal: BodyMachine.Refusal? = nil) -> BodyMachine {
        BodyMachine(limit: limit, discardBytes: 5, refusal: refusal)
    }

    @Test("a body within its limit is read")
    func read() {
        var machine = machine()
        #expect(machine.headerReceived(length: 10, expectsContinue: true) == .read(expecting: 10))
        #expect(machine.pieceReceived(4) == .append)
        #expect(machine.pieceReceived(6) == .append)
        #expect(machine.isDropped == false)
    }

    @Test("a body with a Content-Length above the limit is refused at once, and not asked for where the client waits for 100")
    func announced() {
        var long = machine()
        #expect(long.headerReceived(length: 11, expectsContinue: false) == .respondEarly)
        var waiting = machine()
        #expect(waiting.headerReceived(length: 11, expectsContinue: true) == .respondNow)
        var coded = machine()
        #expect(coded.headerReceived(length: 11, isCoded: true, expectsContinue: false) == .read(expecting: 11))
        coded.limitLowered(to: 5)
        #expect(coded.pieceReceived(5) == .append)
        #expect(coded.pieceReceived(1) == .refuse)
    }

    @Test("a chunked body is read up to its limit, then refused; 64 KiB are dropped, then the connection is closed")
    func chunked() {
        var machine = machine()
        #expect(machine.headerReceived(length: nil, expectsContinue: true) == .read(expecting: 0))
        #expect(machine.pieceReceived(10) == .append)
        #expect(machine.pieceReceived(1) == .refuse)
        machine.answered()
        #expect(machine.pieceReceived(BodyMachine.drainBytes) == .discard)
        #expect(machine.pieceReceived(1) == .close)
    }

    @Test("a body that is refused inside for a reason that passes is dropped if the rest is short")
    func refusedInside() {
        var short = machine(100)
        #expect(short.headerReceived(length: 55, expectsContinue: false) == .read(expecting: 55))
        #expect(short.pieceReceived(50) == .append)
        #expect(short.refused() == true)
        #expect(short.offered(1) == 0)
        #expect(short.pieceReceived(5) == .discard)
        for length in [56, nil] {
            var long = machine(100)
            #expect(long.headerReceived(length: length, expectsContinue: false) == .read(expecting: length ?? 0))
            #expect(long.pieceReceived(50) == .append)
            #expect(long.refused() == false)
        }
    }

    @Test("buffers grow to twice their size, to the size needed, or not at all, and release what they held")
    func bodyMemory() {
        var buffers = BodyBuffers(limit: 100_000)
        let first = buffers.take(expecting: 10)
        #expect(first.capacity == BodyBuffers.firstBytes)
        #expect(buffers.held == 0)
        var hasGrown = buffers.grow(first, to: 60_000)
        #expect(hasGrown && buffers.held == 60_000 - 4_096)
        let second = buffers.take(expecting: 60_000)
        #expect(second.capacity == BodyBuffers.firstBytes, "a Content-Length alone is not refused")
        hasGrown = buffers.grow(second, to: 40_000)
        #expect(hasGrown && second.capacity == 40_000)
        hasGrown = buffers.grow(second, to: 50_000)
        #expect(!hasGrown && second.capacity == 40_000, "neither twice as much nor what is needed fits")
        hasGrown = buffers.grow(second, to: 48_000)
        #expect(hasGrown && second.capacity == 48_000, "twice as much does not fit")
        buffers.giveBack(first)
        hasGrown = buffers.grow(second, to: 60_000)
        #expect(hasGrown)
        buffers.giveBack(second)
        #expect(buffers.held == 0)
    }

    @Test("a refusal that passes lets a short body come, so that the connection is kept; every other is sent at once")
    func refused() {
        for refusal in [BodyMachine.Refusal.passing, .final] {
            var none = machine(refusal: refusal)
            #expect(none.headerReceived(length: 0, expectsContinue: false) == .discard)
            var waiting = machine(refusal: refusal)
            #expect(waiting.headerReceived(length: 1, expectsContinue: true) == .respondNow)
            for length in [6, nil] {
                var long = machine(refusal: refusal)
                #expect(long.headerReceived(length: length, expectsContinue: false) == .respondEarly)
            }
        }
        var short = machine(refusal: .passing)
        #expect(short.headerReceived(length: 5, expectsContinue: false) == .discard)
        #expect(short.pieceReceived(5) == .discard)
        var final = machine(refusal: .final)
        #expect(final.headerReceived(length: 1, expectsContinue: false) == .respondEarly)
    }

    @Test("a reader is offered the body up to the limit, or until it stops")
    func offered() {
        var machine = machine()
        #expect(machine.headerReceived(length: nil, expectsContinue: false) == .read(expecting: 0))
        #expect(machine.offered(4) == 4)
        #expect(machine.pieceReceived(4) == .append)
        #expect(machine.offered(8) == 6)
        #expect(machine.pieceReceived(8) == .refuse)
        #expect(machine.offered(1) == 0)
        #expect(machine.isCut == true)
        var stopped = self.machine(100)
        #expect(stopped.pieceReceived(20) == .append)
        stopped.readerStopped()
        #expect(stopped.offered(1) == 0)
        #expect(stopped.pieceReceived(5) == .discard)
        #expect(stopped.isCut == false)
        #expect(stopped.pieceReceived(1) == .close)
    }

    @Test("a limit that is lowered at the first bytes applies to the Content-Length")
    func lowered() {
        var machine = machine(100)
        #expect(machine.headerReceived(length: 20, expectsContinue: false) == .read(expecting: 20))
        machine.limitLowered(to: 200)
        #expect(machine.limit == 100)
        machine.limitLowered(to: 10)
        #expect(machine.isDropped == true)
        #expect(machine.pieceReceived(5) == .refuse)
    }
}

@Suite struct ShutdownMachineTests {
    @Test("without a stop nothing happens")
    func serving() {
        var machine = ShutdownMachine(grace: 10)
        #expect(machine.iterationEnded(now: .max, inFlight: 0) == .none)
        #expect(machine.wakeAt == nil)
        #expect(machine.isDraining == false)
    }

    @Test("the listener closes at once; the server ends with the last request")
    func drained() {
        var machine = ShutdownMachine(grace: 10)
        #expect(machine.stopRequested(deadline: 100) == .closeListener)
        #expect(machine.isDraining == true)
        #expect(machine.iterationEnded(now: 50, inFlight: 1) == .none)
        #expect(machine.wakeAt == 100)
        #expect(machine.iterationEnded(now: 60, inFlight: 0) == .end)
    }

    @Test("at the earlier of two deadlines waiting requests get a response; the server ends after the grace")
    func dismissed() {
        var machine = ShutdownMachine(grace: 10)
        #expect(machine.stopRequested(deadline: 100) == .closeListener)
        #expect(machine.stopRequested(deadline: 200) == .none)
        #expect(machine.stopRequested(deadline: 80) == .none)
        #expect(machine.iterationEnded(now: 79, inFlight: 2) == .none)
        #expect(machine.iterationEnded(now: 80, inFlight: 2) == .answerWaiting)
        #expect(machine.iterationEnded(now: 89, inFlight: 1) == .none)
        #expect(machine.iterationEnded(now: 90, inFlight: 1) == .end)
    }
}

@Suite struct LogRateLimitTests {
    @Test("messages beyond the limit of a second are dropped, and the next one says how many")
    func limit() {
        var limit = LogRateLimit(limit: 2)
        #expect(limit.messageLogged(now: 1_000_000_000) == 0)
        #expect(limit.messageLogged(now: 1_100_000_000) == 0)
        #expect(limit.messageLogged(now: 1_200_000_000) == nil)
        #expect(limit.messageLogged(now: 1_999_999_999) == nil)
        #expect(limit.messageLogged(now: 2_000_000_000) == 2)
        #expect(limit.messageLogged(now: 2_000_000_001) == 0)
    }
}

@Suite struct RoutesTests {
    @Test("routes are found by method and whole path")
    func match() {
        let routes = HTTPRoutes([
            HTTPRoute(.get, "/"), HTTPRoute(.post, "/send"), HTTPRoute(.get, "/send"), HTTPRoute(.head, "/send"),
        ])
        #expect(routes.match(.get, "/") == .route(0))
        #expect(routes.match(.head, "/") == .route(0))
        #expect(routes.match(.post, "/send") == .route(1))
        #expect(routes.match(.get, "/send") == .route(2))
        #expect(routes.match(.head, "/send") == .route(3))
        #expect(routes.match(.post, "/sen") == .notFound)
        #expect(routes.match(.post, "/send/") == .notFound)
        #expect(routes.match(.other, "/send") == .wrongMethod(allow: "POST, GET, HEAD"))
        #expect(routes.match(.other, "/") == .wrongMethod(allow: "GET, HEAD"))
        // An absolute URI names the same path (RFC 9112, section 3.2.2).
        #expect(routes.match(.post, "http://host:80/send") == .route(1))
        #expect(routes.match(.get, "HTTPS://host") == .route(0))
        #expect(routes.match(.get, "ftp://host/send") == .notFound)
        for path in ["/%73end", "/send%2F", "/send%2f", "/send%00", "/send%", "/send%2", "/send%zz", "/%7e", "/a%20%41"] {
            #expect(routes.match(.post, path) == .ambiguous, "\(path)")
        }
        #expect(routes.match(.post, "/send%20%C3%A9") == .notFound)
    }

    @Test("methods are read exactly", arguments: [HTTPMethod.get, .head, .post])
    func methods(_ method: HTTPMethod) {
        #expect(HTTPMethod(method.rawValue) == method)
        #expect(HTTPMethod(method.rawValue + "X") == .other)
        #expect(HTTPMethod(method.rawValue.lowercased()) == .other)
    }
}

@Suite struct JSONValueTests {
    @Test("every byte below 128 and some beyond survive a reader")
    func escaping() throws {
        let text = String(decoding: (0..<128).map { UInt8($0) }, as: UTF8.self) + "é☃😀"
        let value: JSONValue = ["k\"ey\n": .string(text), "n": [1, .number(2.5), true, nil], "nan": .number(.nan), "o": [:]]
        let read = try JSONSerialization.jsonObject(with: Data(value.utf8)) as? [String: Any]
        #expect(read?["k\"ey\n"] as? String == text)
        #expect((read?["n"] as? [Any])?.count == 4)
        #expect(read?["nan"] is NSNull)
        #expect(String(decoding: value.utf8, as: UTF8.self).hasSuffix(#""n":[1,2.5,true,null],"nan":null,"o":{}}"#))
    }
}
