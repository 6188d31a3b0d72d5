// What a list of runs comes to, and how a figure is shown.

import Testing

@testable import sluice_bench

@Suite struct StatisticsTests {
    @Test func aMedianLiesBetweenTheMiddleTwo() {
        #expect(Runs([3, 1, 2]).median == 2)
        #expect(Runs([4, 1, 2, 3]).median == 2.5)
        #expect(Runs([4, 1, 2]).lowest == 1 && Runs([4, 1, 2]).highest == 4)
    }

    @Test func roundsAreComparedOneByOne() {
        // In a machine that gives a tenth every other time, the ratio of the medians would be 10.
        #expect(Runs([10, 100, 100]).ratio(to: Runs([10, 100, 10])) == 1)
        #expect(Runs([1, 2, 3]).ratio(to: Runs([2, 4, 2])) == 0.5)
    }

    @Test func figuresAreRoundedAndThousandsSeparated() {
        #expect(1.2.shown == "1.20", "1.2 is a little less than that as a binary fraction")
        #expect(0.0.shown == "0.00" && 0.05.shown == "0.05" && 9.994.shown == "9.99" && 9.996.shown == "10")
        #expect(999.5.shown == "1 000" && 1_234_567.0.shown == "1 234 567")
    }
}
