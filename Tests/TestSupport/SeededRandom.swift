// A random generator that can be restarted from its seed, and the seed a test run uses.

import Glibc
import Platform

/// SplitMix64 with the seed it was started from. The same seed gives the same sequence.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    /// The seed of the sequence.
    public let seed: UInt64
    private var generator: SplitMix64

    /// The sequence of `seed`.
    public init(seed: UInt64) {
        self.seed = seed
        generator = SplitMix64(seed: seed)
    }

    /// A sequence whose seed is ``testSeed(_:)``.
    public static func printed(_ test: String) -> SeededRandom { SeededRandom(seed: testSeed(test)) }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 { generator.next() }

    /// A number in 0..<1.
    public mutating func unit() -> Double { generator.unit() }

    /// Whether something of this probability (0...1) happens.
    public mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }
}

/// The seed of a random test: `SLUICE_TEST_SEED` where it is set, else a random one. It is printed, so that a failure can be replayed.
public func testSeed(_ test: String) -> UInt64 {
    let seed = getenv("SLUICE_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1_000_000_000)
    print("\(test): SLUICE_TEST_SEED=\(seed)")
    return seed
}
