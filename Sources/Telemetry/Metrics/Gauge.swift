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

    /// Sets the level to 1 or 0.
    public func set(_ flag: Bool) { set(flag ? 1.0 : 0.0) }

    /// The level now.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

extension Gauge: Instrument {
    func write(_ name: String, labels: [(String, String)], into text: inout PrometheusText) {
        text.sample(name, labels: labels, value: value)
    }
}
