// Compares drawn ranks with the probabilities of the Zipf law, computed the slow way.

import Foundation
import Platform
import Testing

@testable import sluice_loadtest

@Suite struct ZipfTests {
    @Test(arguments: [(10, 0.0), (10, 1.0), (1000, 0.8), (1000, 1.1), (50, 2.5), (1, 1.0), (2, 12.0)])
    func ranksFollowTheLaw(count: Int, exponent: Double) {
        let sampler = ZipfSampler(count: count, exponent: exponent)
        var random = SplitMix64(seed: 42)
        let total = 300_000
        var counts = [Int](repeating: 0, count: count)
        for _ in 0..<total { counts[sampler.sample(&random)] += 1 }
        let weights = (1...count).map { pow(Double($0), -exponent) }
        let sum = weights.reduce(0, +)
        // Pearson's statistic over ranks with enough expected draws, the others taken together; its mean is the number of classes
        // less one, and six standard deviations above it are no accident.
        var statistic = 0.0
        var classes = 0
        var restExpected = 0.0
        var restSeen = 0.0
        for (rank, weight) in weights.enumerated() {
            let expected = weight / sum * Double(total)
            if expected >= 20 {
                statistic += (Double(counts[rank]) - expected) * (Double(counts[rank]) - expected) / expected
                classes += 1
            } else {
                restExpected += expected
                restSeen += Double(counts[rank])
            }
        }
        if restExpected >= 20 {
            statistic += (restSeen - restExpected) * (restSeen - restExpected) / restExpected
            classes += 1
        }
        let degrees = Double(max(classes - 1, 1))
        #expect(statistic < degrees + 6 * (2 * degrees).squareRoot(), "chi square \(statistic) for \(classes) classes")
    }

    @Test func aHugeRangeIsDrawnWithoutATable() {
        let sampler = ZipfSampler(count: 2_000_000_000, exponent: 1)
        var random = SplitMix64(seed: 1)
        var first = 0
        for _ in 0..<100_000 {
            let rank = sampler.sample(&random)
            #expect(rank >= 0 && rank < 2_000_000_000)
            if rank == 0 { first += 1 }
        }
        // 1 / H(2e9) = 1 / (ln 2e9 + 0.5772) = 0.0455
        #expect((4200...4900).contains(first))
    }
}
