// Draws ranks from a Zipf distribution in constant time, whatever the number of keys.

import Glibc
import Platform

/// Ranks 1 … `count` with probability proportional to rank^−`exponent`.
///
/// Rejection-inversion: W. Hörmann and G. Derflinger, Rejection-inversion to generate variates from monotone discrete
/// distributions, ACM Transactions on Modeling and Computer Simulation 6 (3), 1996. It needs no table of `count` entries and, for
/// these distributions, fewer than 1.2 draws a sample. Exponent 0 is drawn directly: uniform.
struct ZipfSampler: Sendable {
    /// Number of ranks.
    let count: Int
    /// How skewed: 0 uniform, 1 the classic law.
    let exponent: Double
    private let lowest: Double
    private let highest: Double
    private let shortcut: Double

    /// - Parameters:
    ///   - count: number of ranks, at least 1.
    ///   - exponent: at least 0.
    init(count: Int, exponent: Double) {
        precondition(count >= 1 && exponent >= 0, "a Zipf distribution has ranks and an exponent that is not negative")
        self.count = count
        self.exponent = exponent
        lowest = Self.area(1.5, exponent) - 1
        highest = Self.area(Double(count) + 0.5, exponent)
        shortcut = 2 - Self.areaInverse(Self.area(2.5, exponent) - Self.height(2, exponent), exponent)
    }

    /// One rank, counted from 0.
    @inline(__always)
    func sample(_ random: inout SplitMix64) -> Int {
        if exponent == 0 { return Int(random.next().multipliedFullWidth(by: UInt64(count)).high) }
        while true {
            let area = highest + random.unit() * (lowest - highest)
            let x = Self.areaInverse(area, exponent)
            let rank = min(max((x + 0.5).rounded(.down), 1), Double(count))
            if rank - x <= shortcut || area >= Self.area(rank + 0.5, exponent) - Self.height(rank, exponent) {
                return Int(rank) - 1
            }
        }
    }

    /// The density at x, not normalised.
    private static func height(_ x: Double, _ exponent: Double) -> Double { exp(-exponent * log(x)) }

    /// Its integral from 1 to x: (x^(1−s) − 1) / (1 − s), and log x where s = 1, without cancellation near 1.
    private static func area(_ x: Double, _ exponent: Double) -> Double {
        let logarithm = log(x)
        let power = (1 - exponent) * logarithm
        return abs(power) > 1e-8 ? expm1(power) / power * logarithm : (1 + power / 2) * logarithm
    }

    /// The inverse of the integral.
    private static func areaInverse(_ area: Double, _ exponent: Double) -> Double {
        // Below −1 there is no logarithm; rounding can lead there at the far end of large exponents.
        let power = max(area * (1 - exponent), -1 + 0x1p-52)
        return exp(abs(power) > 1e-8 ? log1p(power) / power * area : (1 - power / 2) * area)
    }
}
