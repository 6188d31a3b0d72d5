// The way to the highest rate that can be sustained, try by try.

import Testing

@testable import sluice_bench

@Suite struct RateSearchTests {
    /// All rates that are tried where everything up to `limit` is sustained, and what comes of it.
    private func search(from first: Double, limit: Double) -> (tried: [Int], best: Double?) {
        var machine = RateSearchMachine(first: first)
        var tried: [Int] = []
        while let rate = machine.next, tried.count < 100 {
            tried.append(Int(rate.rounded()))
            machine.tried(keptUp: rate <= limit)
        }
        return (tried, machine.best)
    }

    @Test func growsUntilTooHighThenClosesIn() {
        let (tried, best) = search(from: 40_000, limit: 100_000)
        #expect(tried == [40_000, 60_000, 90_000, 135_000, 110_227, 99_601, 104_780])
        #expect(best.map { Int($0.rounded()) } == 99_601)
    }

    @Test func fallsWhereTheFirstIsTooHigh() {
        let (tried, best) = search(from: 40_000, limit: 24_000)
        #expect(tried == [40_000, 20_000, 28_284, 23_784, 25_937])
        #expect(best.map { Int($0.rounded()) } == 23_784)
    }

    @Test func endsAtTheMostAndAtTheLeast() {
        #expect(search(from: 300_000, limit: .infinity).tried == [300_000, 450_000])
        let nothing = search(from: 40_000, limit: 0)
        #expect(nothing.tried == [40_000, 20_000, 10_000])
        #expect(nothing.best == nil)
    }

    @Test func percentilesAreOfTheNearestRank() {
        let latencies = Latencies(milliseconds: (1...200).map { Double($0) }.shuffled())
        #expect(latencies.percentile(0.5) == 100)
        #expect(latencies.percentile(0.99) == 198)
        #expect(Latencies(milliseconds: [7]).percentile(0.99) == 7)
    }
}
