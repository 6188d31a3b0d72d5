// Random numbers that can be had again: the seed is printed, and taken from the environment where it is given.

import Foundation

/// SplitMix64 (Steele, Lea, Flood 2014).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// Seeded from `SLUICE_SEED` or anew, and printed.
    static func printed(_ what: String) -> SeededRandom {
        let given = ProcessInfo.processInfo.environment["SLUICE_SEED"].flatMap { UInt64($0) }
        let random = SeededRandom(seed: given ?? UInt64.random(in: 0..<1 << 32))
        print("\(what): SLUICE_SEED=\(random.seed)")
        return random
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }
}
