// A cumulative histogram of Prometheus.

import Synchronization

/// Counts of observations in fixed buckets. Any thread may observe; no lock, no allocation.
///
/// Bucket counts and sum are separate atomics: a scrape during an observation may see one without the other. The count is always the
/// sum of the buckets.
public final class Histogram: @unchecked Sendable {
    // Licence for @unchecked: `counts` is set once in `init`, freed in `deinit`, and each of its elements is an atomic.

    /// Inclusive upper bounds, ascending, without the last one, +Inf.
    public let bounds: [Double]
    private let counts: UnsafeMutablePointer<Atomic<UInt64>>
    private let sumBits = Atomic<UInt64>(0)

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty, "a histogram needs at least one bucket")
        precondition(bounds.allSatisfy(\.isFinite), "bucket bounds are finite; +Inf comes by itself")
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "bucket bounds ascend")
        self.bounds = bounds
        counts = .allocate(capacity: bounds.count + 1)
        for index in 0...bounds.count { (counts + index).initialize(to: Atomic(0)) }
    }

    deinit {
        counts.deinitialize(count: bounds.count + 1)
        counts.deallocate()
    }

    /// Counts `count` observations of the same value. NaN is not counted.
    public func observe(_ value: Double, count: Int = 1) {
        precondition(count >= 0, "the number of observations is negative")
        guard !value.isNaN, count > 0 else { return }
        counts[bucket(of: value)].wrappingAdd(UInt64(count), ordering: .relaxed)
        sumBits.add(value * Double(count))
    }

    /// The first bucket whose bound is at least `value`, by bisection.
    private func bucket(of value: Double) -> Int {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if value <= bounds[middle] { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Observations so far.
    public var count: UInt64 { (0...bounds.count).reduce(0) { $0 + counts[$1].load(ordering: .relaxed) } }

    /// The sum of all observations.
    public var sum: Double { Double(bitPattern: sumBits.load(ordering: .relaxed)) }

    /// Default bounds in seconds, from 0.5 ms to a minute.
    public static let secondsBounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
}

extension Histogram: Instrument {
    func write(_ name: String, labels: [(String, String)], into text: inout PrometheusText) {
        var total: UInt64 = 0
        for (index, bound) in (bounds + [.infinity]).enumerated() {
            total += counts[index].load(ordering: .relaxed)
            text.sample(name + "_bucket", labels: labels + [("le", PrometheusText.number(bound))], value: total)
        }
        text.sample(name + "_sum", labels: labels, value: sum)
        text.sample(name + "_count", labels: labels, value: total)
    }
}

extension Atomic where Value == UInt64 {
    /// Adds to the `Double` whose bit pattern this holds.
    fileprivate func add(_ amount: Double) {
        var seen = load(ordering: .relaxed)
        while true {
            let sum = (Double(bitPattern: seen) + amount).bitPattern
            let (exchanged, original) = weakCompareExchange(expected: seen, desired: sum, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }
}
