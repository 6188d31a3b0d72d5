// Owns the generator's source of random numbers: one that can be entered at any position.

/// SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, figure 17).
///
/// Its state is a counter, so a stream of its own can be opened for every event: what event number 7,000,000 looks like is known
/// without generating the events before it.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64
    private static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// A stream that starts at `state`.
    init(state: UInt64) { self.state = state }

    /// The stream that belongs to position `index` under `seed`.
    @inline(__always)
    init(seed: UInt64, index: UInt64) { state = Self.mix(seed &+ Self.gamma) ^ Self.mix(index &* Self.gamma &+ 1) }

    /// Scrambles one number into another, one to one.
    @inline(__always)
    static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// The next 64 bits.
    @inline(__always)
    mutating func next() -> UInt64 {
        state &+= Self.gamma
        return Self.mix(state)
    }

    /// The next number in 0 ..< 1, with 53 bits.
    @inline(__always)
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
