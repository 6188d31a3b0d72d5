// A number that goes up and down.

import Synchronization

/// A level. Any thread may set it; no lock, no allocation.
public final class Gauge: Sendable {
    /// The bit pattern of a `Double`, which is exact for whole numbers up to 2^53.
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// Sets the level.
    public func set(_ level: Double) { bits.store(level.bitPattern, ordering: .relaxed) }

    /// Sets the level to a whole number.
    public func set(_ level: Int) { set(Double(level)) }

    /// The level now.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}
