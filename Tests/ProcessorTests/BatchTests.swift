// Proves how requests with many events are answered, and which of their events are in the Kafka log.

import Admission
import Foundation
import HTTPServer
import Kafka
import Platform
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.serialized, .timeLimit(.minutes(2))) struct BatchTests {
    @Test("every event is in the log once, byte for byte and in order by key, however the body is cut", arguments: [false, true])
    func everyEvent(_ isArray: Bool) async throws {
        let seed = testSeed("everyEvent")
        try await BatchWorld.run { world in
            var random = SeededRandom(seed: seed)
            var expected: [String: [String]] = [:]
            var total = 0
            for _ in 0..<12 {
                let events = (0..<Int.random(in: 1...400, using: &random)).map { _ in
                    let id = Int.random(in: 1...50, using: &random)
                    let line = event(id, message: "\(total) ]},{ \\\" " + String(repeating: "x", count: total % 300))
                    expected["\(id)", default: []].append(line)
                    total += 1
                    return line
                }
                let body = isArray ? "[" + events.joined(separator: " ,\n") + "]" : events.joined(separator: "\n")
                let sizes = (0..<7).map { _ in Int.random(in: 1...(1 << Int.random(in: 3...14, using: &random)), using: &random) }
                let reply = try world.post(
                    body, isArray ? "application/json; charset=utf-8" : "application/x-ndjson", chunks: sizes)
                #expect(reply.status == 200, "seed \(seed): \(reply.text.prefix(300))")
                #expect(reply.headers["content-type"] == "application/json")
                #expect(reply.statuses == Array(repeating: 200, count: events.count))
            }
            #expect(world.counted(200) == total)
            let want = expected
            let count = total
            let log = try waiting { try await world.log(count) }
            #expect(log == want, "seed \(seed)")
        }
    }

    @Test("some acknowledged: 207, one result each, in order; blank lines are no events")
    func mixed() async throws {
        var settings = HTTPSettings()
        settings.maxEventBytes = 500
        try await BatchWorld.run(settings) { world in
            let lines = [
                event(1), "", #"{"action":"Upsert"}"#, event(2), "nonsense",
                event(3, message: String(repeating: "x", count: 500)),
                "  \t", event(4) + "\r", event(5, message: String(repeating: "y", count: 100_000)), event(6),
            ]
            let reply = try world.post(lines.joined(separator: "\n"))
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 400, 200, 400, 413, 200, 413, 200])
            #expect(reply.results[1].reason == "missing_field")
            #expect(reply.results[1].detail?.contains("message_id") == true)
            #expect(reply.results[3].reason == "malformed_json")
            #expect(reply.results[4].detail == "The event has more bytes than an event may have (http.max_event_bytes).")
            #expect(world.counted(200) == 4)
            #expect(world.counted(400) == 2)
            #expect(world.counted(413) == 2)
        }
    }

    @Test("none acknowledged: the first problem, with the results in it")
    func none() async throws {
        try await BatchWorld.run { world in
            let reply = try world.post("{}\nx\n")
            #expect(reply.status == 400)
            #expect(reply.headers["content-type"] == "application/problem+json")
            #expect(reply.title == "Bad Request")
            #expect(reply.detail == reply.results[0].detail)
            #expect(reply.statuses == [400, 400])
            #expect(world.counted(200) == 0)
        }
    }

    @Test("a batch without an event is 400", arguments: ["", "\n \n", "[]", " [ ] "])
    func empty(_ body: String) async throws {
        try await BatchWorld.run { world in
            let reply = try world.post(body, body.contains("[") ? "application/json" : "application/jsonl")
            #expect(reply.status == 400)
            #expect(reply.detail == "The request holds no event.")
        }
    }

    @Test(
        "of a malformed array the events before are answered each, and the rest is one 400",
        arguments: [
            ("[E,]", 1), ("[E E]", 1), ("[E]x", 1), ("[E,E", 2), (#"[E,E,{"action"#, 2), ("[E,{\"a\":tru},E]", 1),
            ("[E,E,,E]", 2),
            ("[E}E]", 1),
        ])
    func malformed(_ shape: String, _ sent: Int) async throws {
        try await BatchWorld.run { world in
            let body = shape.replacing("E", with: event(1))
            for sizes in [[1 << 20], [1], [7]] {
                let reply = try world.post(body, "application/json", chunks: sizes)
                #expect(reply.status == 207)
                #expect(reply.statuses == Array(repeating: 200, count: sent) + [400])
                #expect(reply.results.last?.reason == "malformed_json")
                #expect(reply.results.last?.detail?.hasSuffix("What follows was not read.") == true)
            }
            let none = try world.post("[x]", "application/json")
            #expect(none.status == 400)
            #expect(none.statuses == [400])
        }
    }

    @Test("a single event is not a batch, whatever its media type; other media types are refused")
    func single() async throws {
        try await BatchWorld.run { world in
            #expect(try world.post(event(1), "application/json").text == "Message sent!\n")
            #expect(try world.post("  \n" + event(1), "application/x-www-form-urlencoded").status == 200)
            #expect(try world.post("[\(event(1))]", "application/x-www-form-urlencoded").statuses == [200])
            #expect(try world.post("", "application/json").status == 400)
            #expect(try world.post(event(1), "text/plain").status == 415)
            let large = try world.post(event(1, message: String(repeating: "x", count: 1_000_000)), "application/json")
            #expect(large.status == 413)
            #expect(large.detail?.contains("http.max_event_bytes") == true)
            // The last one ends once its connection is closed.
            try until("the last one is counted") { [200, 400, 413].map(world.counted) == [3, 1, 1] }
        }
    }

    @Test("beyond a limit one last result names it; the events before it were produced")
    func bounds() async throws {
        var settings = HTTPSettings()
        settings.maxEventBytes = 200
        settings.maxBodyBytes = 1000
        settings.maxBatchEvents = 3
        let first = settings
        try await BatchWorld.run(first) { world in
            let lines = Array(repeating: event(1), count: 5).joined(separator: "\n")
            let many = try world.post(lines)
            #expect(many.status == 207)
            #expect(many.statuses == [200, 200, 200, 413])
            #expect(many.results[3].detail?.contains("http.max_batch_events") == true)
            let announced = try world.post(String(repeating: event(1) + "\n", count: 50))
            #expect(announced.status == 413)
            #expect(announced.detail?.contains("http.max_body_bytes") == true)
            #expect(announced.results.isEmpty)
            var live = first
            live.maxBatchEvents = 1000
            live.maxEventBytes = 100
            world.bounds.update(live)
            let longer = try world.post(event(1) + "\n" + event(1, message: String(repeating: "x", count: 50)))
            #expect(longer.statuses == [200, 413])
            live.maxEventBytes = 200
            world.bounds.update(live)
            let long = try world.post(String(repeating: event(1) + "\n", count: 50), chunks: [333])
            #expect(long.status == 207)
            let whole = 1000 / (event(1).utf8.count + 1)
            #expect(long.statuses == Array(repeating: 200, count: whole) + [413])
            #expect(long.results.last?.detail?.contains("http.max_body_bytes") == true)
            let large = event(1, message: String(repeating: "x", count: 200))
            let array = try world.post("[\(event(1)),\(large),\(event(1))]", "application/json")
            #expect(array.statuses == [200, 413])
        }
    }

    @Test("after a rate limit's first refusal nothing is produced; an impossible event is refused alone")
    func limited() async throws {
        let two = PolicySettings(name: "two", key: .client, unit: .events, bucket: BucketSettings(rate: 0.125, burst: 2))
        try await BatchWorld.run(limits: limits(two)) { world in
            let reply = try world.post([event(1), "x", event(2), event(3), "x"].joined(separator: "\n"))
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 400, 429, 429, 429])
            #expect(reply.results[2].retry_after == 8)
            #expect(world.counted(429) == 3)
        }
        // Enough bytes for one event: the next request is admitted at its header and refused at its event.
        let bytes = event(1).utf8.count
        let full = PolicySettings(
            name: "full", key: .client, unit: .bytes, bucket: BucketSettings(rate: Double(bytes) / 8, burst: bytes))
        try await BatchWorld.run(limits: limits(full)) { world in
            #expect(try world.post(event(1)).status == 200)
            let reply = try world.post(event(1))
            #expect(reply.status == 429)
            #expect(reply.title == "Too Many Requests")
            // The refused bytes came off the wire: they count as well.
            #expect(reply.headers["retry-after"] == "16")
            #expect(reply.headers["ratelimit"] == #""full";r=0;t=16"#)
            #expect(reply.headers["ratelimit-policy"] == #""full";q=\#(bytes);qu="content-bytes";w=8"#)
            #expect(reply.text.contains("#quota-exceeded"))
            #expect(reply.statuses == [429])
        }
        let small = PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1, burst: 500))
        try await BatchWorld.run(limits: limits(small)) { world in
            let large = event(1, message: String(repeating: "x", count: 1000))
            let reply = try world.post([event(1), large, event(1)].joined(separator: "\n"))
            #expect(reply.statuses == [200, 413, 200])
        }
    }

    @Test("an incomplete event without memory is 503; a small one is kept, and all memory is returned")
    func noMemoryForHalf() async throws {
        try await BatchWorld.run(budget: 10_000) { world in
            let large = event(1, message: String(repeating: "x", count: 20_000))
            let reply = try world.post([event(2), large, event(3)].joined(separator: "\n"), chunks: [8_000])
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 503])
            let small = event(1, message: String(repeating: "x", count: 3_000))
            #expect(try world.post(small + "\n" + small, chunks: [500]).statuses == [200, 200])
            try until("the memory is given back") { world.budget.free == 10_000 }
        }
    }

    @Test("before Kafka is reached, and after the stop, every event is 503")
    func closed() async throws {
        try await BatchWorld.run(isOpen: false) { world in
            let reply = try world.post(event(1) + "\n" + event(2))
            #expect(reply.status == 503)
            #expect(reply.results.isEmpty, "refused at its header")
            #expect(reply.headers["retry-after"] == "1")
            #expect(reply.text.contains(#""possibly_persisted":false"#))
        }
        try await BatchWorld.run { world in
            let open = try world.post(event(1))
            #expect(open.status == 200)
            world.eventProducer.stop()
            let shut = try world.post(event(1))
            #expect(shut.status == 503)
        }
        // In the middle of a body.
        try await BatchWorld.run { world in
            let connection = try LoopbackConnection(port: world.server.port)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
            try connection.sendChunk((event(1) + "\n").utf8)
            try until("it is taken") { world.producer.statistics.delivered == 1 }
            world.eventProducer.stop()
            try connection.sendChunk("\(event(2))\n\(event(3))\n".utf8)
            try connection.sendChunk([])
            let reply = try BatchReply(connection.answer())
            #expect(reply.statuses == [200, 503, 503])
            #expect(reply.results[1].possibly_persisted == false)
        }
    }

    @Test("while the producer's queue is full, the batch waits")
    func waits() async throws {
        try await BatchWorld.run {
            $0.inFlightRecords = 40
        } _: { world in
            try world.broker.setRoundTrip(.milliseconds(20))
            let reply = try world.post(Array(repeating: event(1), count: 600).joined(separator: "\n"))
            #expect(reply.status == 200)
            #expect(reply.results.count == 600)
            // Batches never use the quarter of the queue that is reserved for single events.
            #expect(world.producer.statistics.delivered == 600)
        }
    }

    @Test("if the queue stays full, the remaining events are 503 and none of them is produced")
    func staysFull() async throws {
        try await BatchWorld.run(waitLimit: .milliseconds(300)) {
            $0.inFlightRecords = 40
            $0.messageTimeout = .seconds(2)
        } _: { world in
            try world.broker.setBroker(isDown: true)
            let reply = try world.post(Array(repeating: event(1), count: 100).joined(separator: "\n"))
            #expect(reply.status == 503)
            #expect(reply.results.count == 100)
            #expect(reply.statuses.allSatisfy { $0 == 503 })
            #expect(reply.results[99].detail == KafkaAnswers.problem(.queueFull).detail)
            // Nine go together at this bound, as long as three quarters of it are free.
            #expect(reply.results.filter { $0.detail == reply.results[99].detail }.count == 100 - 4 * 9)
            #expect(world.counted(503) == 100)
        }
    }

    @Test("if nothing was acknowledged and one event may have been written, the whole answer says so")
    func uncertain() async throws {
        try await BatchWorld.run {
            $0.messageTimeout = .seconds(2)
        } _: { world in
            // The first is malformed; the second is taken by a broker that never answers. What has to be asked before a first event can
            // be sent is answered by then: an event that was never sent cannot have been written.
            #expect(try world.post(event(1)).status == 200)
            try world.broker.setRoundTrip(.seconds(5))
            let reply = try world.post("x\n" + event(1))
            #expect(reply.statuses == [400, 503])
            #expect(reply.results[1].possibly_persisted == true)
            #expect(reply.status == 400, "that of the first problem")
            #expect(reply.detail?.hasSuffix("Another event of this request may have been written all the same.") == true)
            let head = reply.text.prefix { $0 != "[" }
            #expect(head.contains(#""possibly_persisted":true"#) && head.contains(#""results":"#))
        }
    }

    @Test("after a disconnect, the events that have arrived are produced and counted")
    func clientGone() async throws {
        try await BatchWorld.run { world in
            let connection = try LoopbackConnection(port: world.server.port)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n")
            try connection.send(Array(repeating: event(1) + "\n", count: 100).joined() + "{\"half")
            try until("it has arrived") { world.producer.statistics.delivered == 100 }
            #expect(world.counted(200) == 0)
            connection.abort()
            try until("it is counted") { world.counted(200) == 100 }
            try until("the results are gone") { world.budget.free == 64 << 20 }
        }
    }

    @Test("all requests share the memory for results; a request that gets none is told so")
    func budget() async throws {
        try await BatchWorld.run(budget: 8192) { world in
            let reply = try world.post(Array(repeating: "x", count: 15_000).joined(separator: "\n"))
            #expect(reply.status == 400)
            // The first block of each batch is not taken from the budget; the budget holds two blocks.
            #expect(reply.results.count == 3 * 4048 + 1)
            #expect(reply.statuses.last == 503)
            #expect(reply.statuses.dropLast().allSatisfy { $0 == 400 })
            #expect(reply.results.allSatisfy { $0.detail?.isEmpty == false })
            try until("the results are gone") { world.budget.free == 8192 }
        }
    }

    @Test("a body of 256 MiB costs no memory")
    func large() async throws {
        try await BatchWorld.run {
            $0.inFlightBytes = 8 << 20
        } _: { world in
            // Warm-up, so that only the body is measured.
            let line = Array((event(1, message: String(repeating: "x", count: 16_000)) + "\n").utf8)
            let piece = Array(repeating: line, count: 16).flatMap(\.self)
            let rounds = (256 << 20) / piece.count
            let connection = try LoopbackConnection(port: world.server.port, timeout: 60)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
            var before = 0
            var most = 0
            for round in 0..<rounds {
                try connection.sendChunk(piece)
                if round == rounds / 8 { before = residentBytes() }
                if round > rounds / 8, round.isMultiple(of: 16) { most = max(most, residentBytes()) }
            }
            try connection.sendChunk([])
            let reply = try BatchReply(connection.answer())
            #expect(reply.status == 200)
            #expect(reply.results.count == rounds * 16)
            #expect(before > 0)
            #expect(most - before < 48 << 20, "grew by \((most - before) >> 20) MiB")
        }
    }
}

@Suite struct BatchAnswerTests {
    @Test("docs/ingress.md has the built-in table of Kafka's errors")
    func documented() throws {
        let text = try String(contentsOfFile: "\(BatchWorld.root)/docs/ingress.md", encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }
        let expected = KafkaError.Code.allCases.map { code in
            let answer = KafkaAnswers.problem(code)
            return "| `\(code.rawValue)` | \(answer.status) | \(answer.detail) |"
        }
        #expect(rows.map(String.init) == expected)
        let uncertain = KafkaAnswers.uncertain
        #expect(text.contains("| any, where the broker may have it | \(uncertain.status) | \(uncertain.detail) |"))
    }

    @Test("a response is the same in buffers of any size, and has its announced length")
    func bufferSizes() throws {
        let seed = testSeed("buffers")
        var random = SeededRandom(seed: seed)
        for round in 0..<60 {
            let counters = EventCounters(MetricsRegistry())
            let budget = ResultBudget()
            func make(_ random: inout SeededRandom) -> HTTPResponseParts {
                let results = BatchResults(budget: budget)
                results.refusal = ProblemDetails(status: 429, detail: "No \"more\".", retryAfter: 3)
                for number in 0..<Int.random(in: 0...6000, using: &random) {
                    switch Int.random(in: 0...9, using: &random) {
                    case 0:
                        _ = results.append(
                            .invalidEvent(reason: "x", detail: "event \(number)"), orElse: ResultTable.tooLarge)
                    case 1: _ = results.append(UInt8.random(in: 4..<UInt8(ResultTable.codes), using: &random))
                    case 2: _ = results.append(ResultTable.refused)
                    default: _ = results.append(ResultTable.sent)
                    }
                }
                if Bool.random(using: &random) { results.rest = ProblemDetails(status: 413, detail: "Too many.") }
                var counts = [Int](repeating: 0, count: ResultTable.codes)
                for event in 0..<results.count { counts[Int(results.code(event))] += 1 }
                BatchAnswer(results).count(in: counters)
                let members: [JSONValue.Member] = round.isMultiple(of: 2) ? [] : [.init("status", 400)]
                return HTTPResponseParts(
                    body: BatchBody(results, members: members, counts: counts),
                    count: results.count + (results.rest == nil ? 0 : 1))
            }
            let start = random
            let whole = make(&random)
            let text = whole.written { _ in 1 << 20 }
            #expect(text.count == whole.body.byteCount, "seed \(seed), round \(round)")
            let object = try #require(try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any])
            #expect((object["results"] as? [Any])?.count == whole.count)
            var again = start
            let cut = make(&again)
            #expect(cut.written { _ in Int.random(in: 1...200, using: &random) } == text, "seed \(seed), round \(round)")
        }
    }
}

/// A response's body, and the number of its results.
private struct HTTPResponseParts {
    let body: BatchBody
    let count: Int

    func written(_ size: (Int) -> Int) -> [UInt8] {
        var text: [UInt8] = []
        while text.count < body.byteCount {
            let size = min(size(text.count), body.byteCount - text.count)
            var piece = [UInt8](repeating: 0, count: size)
            let count = piece.withUnsafeMutableBytes { body.write(from: text.count, into: $0) }
            guard count > 0 else { return text }
            text += piece[..<count]
        }
        return text
    }
}

/// These policies, with a clock that stands still.
private func limits(_ policies: PolicySettings...) -> IngressLimits {
    var settings = SluiceSettings()
    settings.limits.retryJitter = 0
    settings.limits.policies = policies
    return IngressLimits(settings, clock: { 1_000_000_000 })
}

/// Resident memory of this process.
private func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0) * 4096
}
