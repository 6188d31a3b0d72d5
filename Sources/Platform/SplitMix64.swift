// The seeded random generator of the load generator, the simulation and the tests.

/// SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, figure 17).
///
/// The same seed always gives the same sequence. The state is a counter, so any position of a sequence can be entered directly.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64
    /// 2^64 divided by the golden ratio, made odd: the step of the counter.
    public static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// The sequence of `seed`.
    public init(seed: UInt64) { state = seed }

    /// The sequence number `index` of those that belong to `seed`.
    @inline(__always)
    public init(seed: UInt64, index: UInt64) {
        state = Self.mix(seed &+ Self.gamma) ^ Self.mix(index &* Self.gamma &+ 1)
    }

    /// Scrambles one number into another, one to one.
    @inline(__always)
    public static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// The next 64 bits.
    @inline(__always)
    public mutating func next() -> UInt64 {
        state &+= Self.gamma
        return Self.mix(state)
    }

    /// The next number in 0 ..< 1, with 53 bits.
    @inline(__always)
    public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
