// A number that only grows.

import Synchronization

/// A count since the process started. Any thread may add to it; no lock, no allocation.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    init() {}

    /// Adds `amount`, which is not negative.
    public func increment(by amount: Int = 1) {
        precondition(amount >= 0, "a counter only grows")
        count.wrappingAdd(UInt64(amount), ordering: .relaxed)
    }

    /// The count.
    public var value: UInt64 { count.load(ordering: .relaxed) }
}

extension Counter: Instrument {
    func write(_ name: String, labels: [(String, String)], into text: inout PrometheusText) {
        text.sample(name, labels: labels, value: value)
    }
}
