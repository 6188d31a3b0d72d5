// Checks what a run says about itself: samples, lines, JSON and page.

import Foundation
import Testing

@testable import sluice_loadtest

@Suite struct ReportTests {
    private func summary() -> Summary {
        var state = RunState(model: TableModel(keys: 10))
        state.counts = EventCounts(acknowledged: 900, bad: 10, failed: 3, unknown: 2)
        for _ in 0..<3 { state.errors.add("a <broken> & \"odd\" thing") }
        state.latencies.add(nanoseconds: 1_500_000, count: 900)
        var progress = ProgressMachine(start: 0)
        _ = progress.sampled(issued: 500, counts: EventCounts(acknowledged: 450), lag: 70, at: 1_000_000_000)
        _ = progress.sampled(issued: 915, counts: state.counts, lag: 5, at: 2_000_000_000)
        return Summary(Options(), produced: 915, seconds: 2, heldSeconds: 0.5, samples: progress.samples, state: state)
    }

    @Test func aSampleIsDueEachSecondAndCountsWhatCameSince() {
        var progress = ProgressMachine(start: 1_000_000_000)
        #expect(progress.isDue(at: 1_999_999_999) == false)
        #expect(progress.isDue(at: 2_000_000_000) == true)
        let first = progress.sampled(issued: 100, counts: EventCounts(acknowledged: 80, bad: 10), lag: nil, at: 2_000_000_000)
        #expect(first.line == "1.0 s  produced 100  acknowledged 90  90/s  errors 0")
        // A late sample does not bring the missed ones after it.
        let late = progress.sampled(
            issued: 500, counts: EventCounts(acknowledged: 480, bad: 10, limited: 2, shed: 1, unknown: 4), lag: 12,
            at: 6_000_000_000)
        #expect(late.line == "5.0 s  produced 500  acknowledged 490  100/s  lag 12  refused 3  errors 4")
        #expect(progress.isDue(at: 6_500_000_000) == false)
        #expect(progress.samples == [first, late])
    }

    @Test func theLinesAtTheEndSayEverythingThatHappened() {
        #expect(
            summary().text == """
                produced 915 events in 2.00 s, acknowledged 900 good and 10 bad: 455/s
                latency from due to acknowledged, ms: median 1.50, p90 1.50, p99 1.50, p99.9 1.50, longest 1.50
                3 failed, 2 with an unknown outcome
                waited 0.5 s for the backlog
                3 × a <broken> & "odd" thing
                """)
    }

    @Test func theJSONHoldsTheNumbers() throws {
        let object = try #require(JSONSerialization.jsonObject(with: summary().json()) as? [String: Any])
        #expect(object["acknowledged"] as? Int == 900 && object["unknown"] as? Int == 2 && object["key_base"] as? Int == 1)
        #expect(object["acknowledged_per_second"] as? Double == 455)
        #expect((object["latency_microseconds"] as? [String: Any])?["p99"] as? Double == 1500)
        #expect((object["samples"] as? [[String: Any]])?.map { $0["lag"] as? Int } == [70, 5])
    }

    @Test func thePageShowsTextAsText() {
        let page = HTMLReport(summary: summary()).text
        #expect(page.contains("a &lt;broken&gt; &amp;") && !page.contains("<broken>"))
        #expect(page.components(separatedBy: "<polyline").count - 1 == 2)
    }

    @Test func theVerdictIsLoud() {
        var result = VerificationResult(events: 5, rows: 3, captured: 4, deadLetters: 1, partitions: 2)
        #expect(result.text(hasCapture: true) == "VERIFIED: 5 events, 3 rows, 4 captured changes, 1 dead letters, 2 partitions")
        result.uncertainKeys = 7
        #expect(
            result.text(hasCapture: false)
                == "VERIFIED: 5 events, 3 rows, 1 dead letters, 2 partitions, 7 keys could not be judged")
        result.findings = ["2 rows missing: message_id 1, message_id 2"]
        #expect(result.text(hasCapture: true).hasPrefix("FAILED: 1 kind of difference\n  2 rows missing"))
    }

    @Test func numbersAreWrittenWithFixedDigits() {
        #expect(fixed(0, 2) == "0.00" && fixed(1.005, 1) == "1.0" && fixed(-0.26, 1) == "-0.3" && fixed(-0.01, 1) == "0.0")
        #expect(fixed(12.999, 2) == "13.00" && fixed(1e300, 1) == "1e+300" && fixed(.infinity, 1) == "inf")
    }

    @Test func thousandsOfTheSameErrorAreOneLine() {
        var errors = ErrorCounts()
        for index in 0..<1000 { errors.add(index % 100 == 0 ? "rare" : "common") }
        for index in 0..<20 { errors.add("kind \(index)") }
        #expect(errors.count == 1020)
        #expect(errors.lines.prefix(2) == ["990 × common", "10 × rare"])
        #expect(errors.lines.count == 11 && errors.lines.last == "12 × something else")
    }
}
