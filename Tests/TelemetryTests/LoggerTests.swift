// Checks log lines character by character, and that each of them is written once and whole.

import Foundation
import Glibc
import Synchronization
import Telemetry
import Testing

/// Keeps lines for inspection.
private final class RecordingSink: LogSink {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
}

@Suite struct LoggerTests {
    private let sink = RecordingSink()

    private func logger(_ format: LogFormat, level: LogLevel = .info) -> Logger {
        Logger(label: "sluice", level: level, format: format, sink: sink) { 1_709_164_800_123 }
    }

    @Test func textLinesQuoteOnlyWhatNeedsIt() {
        let partition: Int32 = 3
        logger(.text).child("kafka", ["member": "m-1"]).info(
            "Partition assigned",
            [
                "topic": "messages", "partition": partition, "isFirst": true, "seconds": Duration.milliseconds(1500),
                "ratio": 0.25,
                "note": "two words", "empty": "", "path": "a=b", "quote": "say \"x\"\n\u{1B}[31m",
            ])
        #expect(
            sink.lines == [
                #"2024-02-29T00:00:00.123Z info    sluice.kafka Partition assigned member=m-1 topic=messages partition=3 isFirst=true "#
                    + #"seconds=1.5 ratio=0.25 note="two words" empty="" path="a=b" quote="say \"x\"\n\u001b[31m""# + "\n"
            ])
    }

    @Test func aChangedLevelHoldsForTheWholeFamily() {
        let parent = logger(.text)
        let child = parent.child("kafka")
        child.debug("Unheard.")
        parent.setLevel(.debug)
        child.child("deep").debug("Heard.")
        child.setLevel(.error)
        parent.warning("Unheard.")
        #expect(parent.level == .error)
        #expect(sink.lines.count == 1)
        #expect(sink.lines.first?.contains("debug   sluice.kafka.deep Heard.") == true)
    }

    @Test func jsonLinesAreJSON() throws {
        logger(.json).child("http", ["request": UInt64.max]).warning(
            "Slow \"client\"\n", ["level": "mine", "ratio": Double.nan, "count": -7, "ok": false, "text": "é\u{2028}\\"])
        let line = try #require(sink.lines.first)
        #expect(line.hasSuffix("}\n") && line.filter { $0 == "\n" }.count == 1)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(object["time"] as? String == "2024-02-29T00:00:00.123Z")
        #expect(object["level"] as? String == "warning")
        #expect(object["label"] as? String == "sluice.http")
        #expect(object["message"] as? String == "Slow \"client\"\n")
        #expect(object["level_"] as? String == "mine")
        #expect(object["request"] as? String == "18446744073709551615")
        #expect(object["ratio"] as? String == "nan")
        #expect(object["count"] as? Int == -7)
        #expect(object["ok"] as? Bool == false)
        #expect(object["text"] as? String == "é\u{2028}\\")
    }

    @Test func theMessageOfALibraryIsTheFieldMessage() throws {
        logger(.json).handler("librdkafka logged a message.")(.error, "FAIL: broker down")
        logger(.text).handler("librdkafka logged a message.")(.error, "FAIL: broker down")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(sink.lines[0].utf8)) as? [String: Any])
        #expect(object["message"] as? String == "FAIL: broker down")
        #expect(object["event"] as? String == "librdkafka logged a message.")
        #expect(sink.lines[1].hasSuffix("sluice librdkafka logged a message. message=\"FAIL: broker down\"\n"))
    }

    @Test func quietLevelsAreNotEvenEvaluated() {
        let calls = Atomic(0)
        func expensive() -> Int { calls.add(1, ordering: .relaxed).newValue }
        let logger = logger(.text, level: .warning)
        logger.debug("No", ["a": expensive()])
        logger.info("No", ["a": expensive()])
        logger.warning("Yes", ["a": expensive()])
        logger.error("Yes", ["a": expensive()])
        #expect(sink.lines.count == 2)
        #expect(calls.load(ordering: .relaxed) == 2)
    }

    @Test func timestampsAgreeWithFoundation() throws {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        let seed = UInt64.random(in: 0..<1 << 32)
        print("timestamps seed \(seed)")
        for step in 0..<500 {
            // A stride that is prime to the calendar, from the year 1800 to the year 2650.
            let milliseconds = Int64(seed) - 5_364_662_400_000 + Int64(step) * 53_687_091_379
            Logger(label: "", sink: sink) { milliseconds }.info("x")
            let expected = Date(timeIntervalSince1970: (Double(milliseconds) / 1000).rounded(.down)).formatted(style).prefix(19)
            #expect(try #require(sink.lines.last).hasPrefix(expected), "seed \(seed), \(milliseconds)")
        }
    }

    @Test func linesOfManyThreadsArriveWhole() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        let sink = DescriptorLogSink(descriptor: writing, limit: 1 << 20)
        let logger = Logger(label: "t", sink: sink)
        let long = String(repeating: "x", count: 6_000)
        let all = startReading(reading)
        await withTaskGroup(of: Void.self) { writers in
            for _ in 0..<4 { writers.addTask { for _ in 0..<20 { logger.info("Line", ["text": long]) } } }
        }
        sink.flush(within: .seconds(60))
        close(writing)
        let text = await all.first { _ in true } ?? []
        close(reading)
        let lines = text.split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 80 && sink.droppedLines == 0)
        #expect(lines.allSatisfy { $0.count == lines[0].count && $0.last == UInt8(ascii: "x") })
    }

    @Test func linesThatCannotBeWrittenAreCounted() {
        let sink = DescriptorLogSink(descriptor: -1)
        Logger(label: "t", sink: sink).error("Nobody reads this")
        sink.flush(within: .seconds(60))
        #expect(sink.droppedLines == 1)
    }

    /// The pipe is full, and nobody reads it: neither the writers nor the end wait. Once somebody reads, lines are written again.
    @Test func nobodyWaitsForAReader() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        let sink = DescriptorLogSink(descriptor: writing)
        let registry = MetricsRegistry()
        registry.registerLogMetrics(sink)
        let logger = Logger(label: "t", sink: sink)
        let long = String(repeating: "x", count: 6_000)
        let begin = ContinuousClock.now
        for _ in 0..<200 { logger.info("Line", ["text": long]) }
        sink.flush(within: .milliseconds(100))
        #expect(ContinuousClock.now - begin < .seconds(5))
        // The pipe takes 64 KiB, and as much waits, twice: what the thread writes, and what came after it.
        let dropped = sink.droppedLines
        #expect(dropped > 150 && dropped < 200)
        #expect(String(decoding: registry.render(), as: UTF8.self).contains("\nsluice_log_lines_dropped_total \(dropped)\n"))
        let all = startReading(reading)
        sink.flush(within: .seconds(60))
        logger.info("The last line")
        sink.flush(within: .seconds(60))
        close(writing)
        let lines = (await all.first { _ in true } ?? []).split(separator: UInt8(ascii: "\n"))
        close(reading)
        #expect(lines.count == 200 - dropped + 1)
        #expect(sink.droppedLines == dropped)
    }
}

/// Reads a pipe to its end on a thread of its own.
private func startReading(_ descriptor: Int32) -> AsyncStream<[UInt8]> {
    let (stream, continuation) = AsyncStream.makeStream(of: [UInt8].self)
    Thread.detachNewThread {
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count <= 0 { break }
            all += piece[..<count]
        }
        continuation.yield(all)
        continuation.finish()
    }
    return stream
}
