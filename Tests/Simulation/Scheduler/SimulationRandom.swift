// Draws all random numbers of a schedule from its seed.

import Platform

/// SplitMix64 (Steele, Lea, Flood 2014), started from a seed and the number of a stream: streams do not influence each other.
struct SimulationRandom {
    private var generator: SplitMix64

    init(seed: UInt64, stream: UInt64) {
        generator = SplitMix64(seed: seed &* 0xD1B5_4A32_D192_ED03 ^ stream &* 0x8CB9_2BA7_2F3D_8DD7)
        _ = next()
    }

    mutating func next() -> UInt64 { generator.next() }

    /// A number in 0..<1.
    mutating func unit() -> Double { generator.unit() }
    mutating func below(_ bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }
    mutating func chance(_ share: Double) -> Bool { share > 0 && unit() < share }
    mutating func within(_ range: ClosedRange<Int>) -> Int { range.lowerBound + below(range.count) }
    /// A time in nanoseconds, between these milliseconds.
    mutating func milliseconds(_ range: ClosedRange<Int>) -> UInt64 {
        UInt64(range.lowerBound) * millisecond + next() % (UInt64(range.upperBound - range.lowerBound) * millisecond + 1)
    }
    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
    mutating func shuffle<T>(_ values: inout [T]) {
        for index in stride(from: values.count - 1, to: 0, by: -1) { values.swapAt(index, below(index + 1)) }
    }
}

/// Nanoseconds of a millisecond.
let millisecond: UInt64 = 1_000_000
