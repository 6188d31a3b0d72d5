// A random generator that can be started again from its seed, and the seed a test run uses.

import Glibc

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same sequence for the same seed everywhere.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The generator that `seed` starts.
    public init(seed: UInt64) { state = seed }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in 0..<1.
    public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// The seed of a random test: `SLUICE_TEST_SEED` where it is set, else a fresh one. It is printed, so that a failure can be replayed.
public func testSeed(_ test: String) -> UInt64 {
    let seed = getenv("SLUICE_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1_000_000_000)
    print("\(test): SLUICE_TEST_SEED=\(seed)")
    return seed
}
