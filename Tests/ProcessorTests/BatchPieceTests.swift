// Proves that batches are read alike wherever they are cut, however their lines end, and however many arrive at once.

import Admission
import Backpressure
import Foundation
import HTTPServer
import Kafka
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.serialized, .timeLimit(.minutes(2))) struct BatchPieceTests {
    @Test("a thousand events in several pieces: a thousand results, a thousand records", arguments: [false, true])
    func thousand(_ isArray: Bool) async throws {
        try await BatchWorld.run { world in
            let events = (0..<1000).map { event($0, message: "number \($0)") }
            let body = Array(
                (isArray ? "[" + events.joined(separator: ",") + "]" : events.joined(separator: "\r\n") + "\r\n").utf8)
            let connection = try LoopbackConnection(port: world.server.port)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: \(isArray ? "application/json" : "application/x-ndjson")\r\n"
                    + "Content-Length: \(body.count)\r\n\r\n")
            for start in stride(from: 0, to: body.count, by: 9973) {
                try connection.send(body[start..<min(start + 9973, body.count)])
                usleep(2000)
            }
            let reply = try BatchReply(connection.answer())
            #expect(reply.status == 200)
            #expect(reply.statuses == Array(repeating: 200, count: 1000))
            let log = try waiting { try await world.log(1000) }
            #expect(log == Dictionary(uniqueKeysWithValues: events.enumerated().map { ("\($0)", [$1]) }))
            #expect(world.producer.statistics.delivered == 1000)
            // The request and each record are in their histograms.
            let page = String(decoding: world.registry.render(), as: UTF8.self)
            #expect(page.contains("\nsluice_produce_ack_seconds_count 1000\n"))
            try until("the request has ended") {
                String(decoding: world.registry.render(), as: UTF8.self).contains("\nsluice_http_request_seconds_count 1\n")
            }
            #expect(!page.contains("sluice_http_request_seconds_sum 0\nsluice_http_request_seconds_count 1"))
        }
    }

    @Test("one bad event among a thousand is one 400, and the others are in the log")
    func oneBad() async throws {
        try await BatchWorld.run { world in
            var lines = (0..<1000).map { event($0) }
            lines[617] = #"{"action":"Upsert","message_id":617}"#
            let reply = try world.post(lines.joined(separator: "\n"), chunks: [1000, 77, 5000])
            #expect(reply.status == 207)
            #expect(reply.statuses == (0..<1000).map { $0 == 617 ? 400 : 200 })
            #expect(world.producer.statistics.delivered == 999)
        }
    }

    @Test("a line's end is no part of its event, wherever it is cut", arguments: [[1 << 20], [1], [7, 50]])
    func lineEnds(_ sizes: [Int]) async throws {
        try await BatchWorld.run { world in
            let reply = try world.post("\r\n " + event(1) + "\r\n" + event(2) + " \t\n\n" + event(3) + "\r", chunks: sizes)
            #expect(reply.statuses == [200, 200, 200])
            let log = try waiting { try await world.log(3) }
            #expect(log == ["1": [event(1)], "2": [event(2)], "3": [event(3)]])
        }
    }

    @Test("a last line that is cut off is one 400", arguments: [[1 << 20], [3]])
    func cutOff(_ sizes: [Int]) async throws {
        try await BatchWorld.run { world in
            let reply = try world.post(event(1) + "\n" + event(2) + "\n" + event(3).dropLast(), chunks: sizes)
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 200, 400])
            #expect(reply.results[2].reason == "malformed_json")
        }
    }

    @Test("a body that is refused at its header is no event, also where an event may be as long as a body")
    func equalBounds() async throws {
        var settings = HTTPSettings()
        settings.maxEventBytes = 1_000
        settings.maxBodyBytes = 1_000
        try await BatchWorld.run(settings) { world in
            let large = event(1, message: String(repeating: "x", count: 1_000))
            let announced = try world.post(large, "application/json")
            #expect(announced.status == 413)
            #expect(announced.detail?.contains("http.max_body_bytes") == true)
            #expect(world.counted(413) == 0)
            let chunked = try world.post(large, "application/json", chunks: [500])
            #expect(chunked.status == 413)
            #expect(chunked.detail?.contains("http.max_event_bytes") == true)
            try until("it is counted") { world.counted(413) == 1 }
        }
    }

    @Test("a byte order mark is passed over, however the body is cut", arguments: [[1 << 20], [1], [2], [3]])
    func byteOrderMark(_ sizes: [Int]) async throws {
        try await BatchWorld.run { world in
            let mark = "\u{FEFF}"
            #expect(try world.post(mark + event(1) + "\n" + event(2), chunks: sizes).statuses == [200, 200])
            #expect(try world.post(mark + "\n" + event(3), chunks: sizes).statuses == [200])
            #expect(
                try world.post(mark + " [\(event(4)),\(event(5))]", "application/json", chunks: sizes).statuses == [200, 200])
            #expect(try world.post(mark + "[\(event(10))]", "application/json", chunks: sizes).statuses == [200])
            #expect(try world.post(mark + event(6), "application/json", chunks: sizes).text == "Message sent!\n")
            #expect(
                try world.post(" " + mark + event(7), "application/json", chunks: sizes).status == 400, "not at the beginning")
            #expect(try world.post(event(8) + "\n" + mark + event(9), chunks: sizes).statuses == [200, 400])
            let log = try waiting { try await world.log(8) }
            #expect(log == Dictionary(uniqueKeysWithValues: [1, 2, 3, 4, 5, 6, 8, 10].map { ("\($0)", [event($0)]) }))
        }
    }

    @Test("a part of a byte order mark is malformed", arguments: [[1 << 20], [1]])
    func halfMark(_ sizes: [Int]) async throws {
        try await BatchWorld.run { world in
            for half in [[0xEF], [0xEF, 0xBB]] as [[UInt8]] {
                for type in ["application/json", "application/x-ndjson"] {
                    let reply = try world.post(bytes: half + event(1).utf8, type, chunks: sizes)
                    #expect(reply.status == 400)
                }
                #expect(try world.post(bytes: half + "[\(event(1))]".utf8, "application/json", chunks: sizes).status == 400)
            }
            #expect(world.producer.statistics.delivered == 0)
        }
    }

    @Test("a body that holds nothing but a byte order mark, or a part of one, is malformed", arguments: [[1 << 20], [1], [2]])
    func nothingButAMark(_ sizes: [Int]) async throws {
        try await BatchWorld.run { world in
            for bytes in [[0xEF], [0xEF, 0xBB], [0xEF, 0xBB, 0xBF], [0xEF, 0xBB, 0xBF, 0x20, 0x0A]] as [[UInt8]] {
                for type in ["application/json", "application/x-ndjson"] {
                    let reply = try world.post(bytes: bytes, type, chunks: sizes)
                    #expect(reply.status == 400, "\(bytes) \(type)")
                }
            }
            #expect(try world.post(event(1), "application/json").status == 200)
        }
    }

    @Test("where one document was expected, a second one is named")
    func secondDocument() async throws {
        try await BatchWorld.run { world in
            let (first, second) = (event(1), event(2))
            let sentence = "A second document begins at byte \(first.utf8.count)."
            let single = try world.post(first + second, "application/json")
            #expect(single.status == 400)
            #expect(single.detail?.contains(sentence) == true && single.detail?.contains("--data-binary") == true)
            // As `curl -d @FILE` makes it of three lines.
            let line = try world.post(event(3) + "\n" + first + second + first)
            #expect(line.statuses == [200, 400])
            #expect(line.results[1].detail?.contains(sentence) == true)
            for other in ["{\"a\":1} x", "{\"a\":tru", "x {}", "{}"] {
                #expect(try world.post(other, "application/json").detail?.contains("second document") == false)
            }
        }
    }

    @Test("problems are kept for the first refused events; the others still have a reason")
    func manyBad() async throws {
        try await BatchWorld.run { world in
            let reply = try world.post(Array(repeating: #"{"action":"Upsert"}"#, count: 3000).joined(separator: "\n"))
            #expect(reply.status == 400)
            #expect(reply.statuses == Array(repeating: 400, count: 3000))
            #expect(reply.results.allSatisfy { $0.reason == "missing_field" })
            #expect((50...500).contains(reply.results.prefix { $0.detail?.contains("message_id") == true }.count))
            #expect(world.counted(400) == 3000)
        }
    }

    @Test("many batches that wait for the producer's queue all finish")
    func manyWaiting() async throws {
        try await BatchWorld.run {
            $0.inFlightRecords = 40
        } _: { world in
            try world.broker.setRoundTrip(.milliseconds(5))
            let body = (0..<50).map { event($0) + "\n" }.joined()
            let clients = try (0..<40).map { _ in try LoopbackConnection(port: world.server.port) }
            for client in clients {
                try client.send(
                    "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            }
            for client in clients {
                let reply = try BatchReply(client.answer())
                #expect(reply.statuses == Array(repeating: 200, count: 50))
            }
            #expect(world.producer.statistics.delivered == 2000)
            try until("the results are gone") { world.budget.free == 64 << 20 }
            #expect(world.eventProducer.waitingBatches == 0)
        }
    }

    @Test("rate limits charge each event; after the first refusal nothing is produced")
    func charged() async throws {
        var settings = SluiceSettings()
        settings.limits.retryJitter = 0
        settings.limits.policies = [
            PolicySettings(name: "few", key: .client, unit: .events, window: WindowSettings(limit: 3, seconds: 60)),
            PolicySettings(name: "small", key: .client, unit: .bytes, bucket: BucketSettings(rate: 1000, burst: 1000)),
        ]
        try await BatchWorld.run(limits: IngressLimits(settings)) { world in
            let large = event(9, message: String(repeating: "x", count: 1000))
            let reply = try world.post([event(1), large, event(2), "x", event(3), event(4)].joined(separator: "\n"))
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 413, 200, 400, 429, 429])
            #expect(reply.results[1].retry_after == nil)
            #expect((1...63).contains(reply.results[4].retry_after ?? 0))
            #expect(reply.results[4].detail?.contains("few") == true)
            #expect([200, 400, 413, 429].map(world.counted) == [2, 1, 1, 2])
            let again = try world.post("[" + event(1) + "]", "application/json")
            #expect(again.status == 429)
            #expect(again.headers["retry-after"] != nil)
            #expect(again.headers["ratelimit"]?.hasPrefix(#""few";r=0;t="#) == true)
            #expect(again.headers["ratelimit-policy"]?.contains(#""few";q=3;qu="events";w=60"#) == true)
            #expect(again.text.contains("#quota-exceeded"))
            #expect(world.producer.statistics.delivered == 2)
        }
    }

    @Test("after a hundred thousand refused events the rest has one result")
    func refusedForLong() async throws {
        var settings = SluiceSettings()
        settings.limits.policies = [
            PolicySettings(name: "few", key: .client, unit: .events, window: WindowSettings(limit: 3, seconds: 60))
        ]
        try await BatchWorld.run(limits: IngressLimits(settings)) { world in
            let connection = try LoopbackConnection(port: world.server.port)
            let body = "\(event(1))\n" + String(repeating: "x\n", count: 150_000)
            try connection.send(
                "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            )
            let answer = try connection.answer()
            #expect(answer.status == 207)
            let end = String(decoding: answer.body.suffix(400), as: UTF8.self)
            #expect(end.contains("What follows was not read."))
            #expect(end.contains(#""status":429"#))
            #expect((100_000...101_000).contains(world.counted(429)))
            #expect(world.counted(200) == 1 && world.counted(400) == 2)
        }
    }

    @Test("after an event that the producer refuses, every later event is refused")
    func producerClosed() async throws {
        try await BatchWorld.run { world in
            _ = try waiting { await world.producer.close(deadline: .seconds(2)) }
            let reply = try world.post([event(1), event(2), "x", event(3)].joined(separator: "\n"))
            #expect(reply.status == 503)
            // They were produced together, and one of them was malformed.
            #expect(reply.statuses == [503, 503, 400, 503])
            #expect(reply.detail == KafkaAnswers.problem(.closed).detail)
        }
    }

    /// Load shedding with a lag set by the test; a thousand records are allowed.
    private func shedding() -> (shedding: IngressShedding, check: @Sendable (_ lag: Double, _ second: UInt64) -> Void) {
        let shedding = IngressShedding(SheddingLimits(lagRecords: 1_000), registry: MetricsRegistry())
        return (
            shedding,
            { lag, second in
                var inputs = SheddingInputs()
                let now = second * 1_000_000_000
                inputs.lag = SheddingInputs.Lag(records: lag, seconds: nil, measuredAt: now, drainRate: 0)
                shedding.check(inputs, now: now)
            }
        )
    }

    private static let head = Array(
        "POST /send HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)

    @Test("load shedding suspends a batch that is being read, and resumes it")
    func suspended() async throws {
        let (shedding, check) = shedding()
        try await BatchWorld.run(waitLimit: .seconds(20), shedding: shedding) { world in
            let connection = try LoopbackConnection(port: world.server.port)
            try connection.send(Self.head)
            try connection.sendChunk((event(1) + "\n").utf8)
            try until("it is taken") { world.producer.statistics.delivered == 1 }
            check(5_000, 1)
            try connection.sendChunk((event(2) + "\n").utf8)
            try connection.sendChunk([])
            usleep(300_000)
            #expect(world.producer.statistics.delivered == 1)
            check(0, 100)
            let reply = try BatchReply(connection.answer())
            #expect(reply.statuses == [200, 200])
        }
    }

    @Test("a batch that is suspended for too long is refused with Retry-After")
    func suspendedForTooLong() async throws {
        let (shedding, check) = shedding()
        try await BatchWorld.run(waitLimit: .milliseconds(200), shedding: shedding) { world in
            let connection = try LoopbackConnection(port: world.server.port)
            try connection.send(Self.head)
            try connection.sendChunk((event(1) + "\n").utf8)
            try until("it is taken") { world.producer.statistics.delivered == 1 }
            check(5_000, 1)
            try connection.sendChunk("\(event(2))\n\(event(3))\n".utf8)
            try connection.sendChunk([])
            let reply = try BatchReply(connection.answer())
            #expect(reply.status == 207)
            #expect(reply.statuses == [200, 503, 503])
            #expect(reply.results[1].detail?.contains("limits.shed.lag_records") == true)
            #expect(reply.results[1].possibly_persisted == false)
            #expect((1...2_000).contains(reply.results[1].retry_after ?? 0))
            #expect(world.producer.statistics.delivered == 1)
            // Further requests are refused at the header.
            let next = try world.post(event(4))
            #expect(next.status == 503 && next.results.isEmpty)
        }
    }
}
