// Checks the percentiles of the latency histogram against sorted arrays.

import TestSupport
import Testing

@testable import sluice_loadtest

@Suite struct LatencyHistogramTests {
    @Test func percentilesStayWithinATenthOfAPercentOfTheTruth() throws {
        let seed = UInt64.random(in: .min ... .max)
        print("LatencyHistogram seed \(seed)")
        var random = SeededRandom(seed: seed)
        for _ in 0..<20 {
            var truth: [UInt64] = []
            var halves = [LatencyHistogram(), LatencyHistogram()]
            for index in 0..<Int.random(in: 1...3000, using: &random) {
                let value = UInt64.random(in: 0..<(1 << UInt64.random(in: 1...42, using: &random)), using: &random)
                truth.append(value)
                halves[index % 2].add(nanoseconds: value)
            }
            truth.sort()
            var histogram = halves[0]
            histogram.merge(halves[1])
            #expect(histogram.count == UInt64(truth.count))
            #expect(histogram.min == truth.first)
            #expect(histogram.max == truth.last)
            let mean = truth.reduce(0.0) { $0 + Double($1) } / Double(truth.count)
            #expect(abs(try #require(histogram.mean) - mean) <= mean * 1e-9)
            for percent in [0, 0.1, 1, 10, 50, 90, 99, 99.9, 99.99, 100] {
                let rank = max(1, Int((percent / 100 * Double(truth.count)).rounded(.up)))
                let exact = truth[rank - 1]
                let answer = try #require(histogram.percentile(percent))
                #expect(answer >= exact && answer <= exact + exact / 1024, "seed \(seed), p\(percent): \(answer) for \(exact)")
            }
        }
    }

    @Test func emptyAnswersNothing() {
        let empty = LatencyHistogram()
        #expect(empty.percentile(50) == nil && empty.min == nil && empty.max == nil && empty.mean == nil)
    }

    @Test func countsWeighAndGiantsAreClipped() {
        var histogram = LatencyHistogram()
        histogram.add(nanoseconds: 1_000, count: 98)
        histogram.add(nanoseconds: 5_000_000)
        histogram.add(nanoseconds: UInt64.max / 2)
        #expect(histogram.percentile(98) == 1_000)
        #expect(histogram.percentile(100) == UInt64.max / 2)
        #expect(histogram.count == 100)
    }
}
