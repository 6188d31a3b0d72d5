// A cumulative histogram of Prometheus.

import Synchronization

/// Counts of observations in fixed buckets. Any thread may observe: observations are rare (one for each batch), so a lock suffices.
public final class Histogram: Sendable {
    private struct State {
        /// By bucket; the last one is +Inf.
        var counts: [UInt64]
        var sum = 0.0
    }

    /// Inclusive upper bounds, ascending, without the last one, +Inf.
    private let bounds: [Double]
    private let state: Mutex<State>

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty, "a histogram needs at least one bucket")
        precondition(bounds.allSatisfy(\.isFinite), "bucket bounds are finite; +Inf comes by itself")
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "bucket bounds ascend")
        self.bounds = bounds
        state = Mutex(State(counts: Array(repeating: 0, count: bounds.count + 1)))
    }

    /// Counts `count` observations of the same value. NaN is not counted.
    public func observe(_ value: Double, count: Int = 1) {
        precondition(count >= 0, "the number of observations is negative")
        guard !value.isNaN, count > 0 else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[bucket] += UInt64(count)
            state.sum += value * Double(count)
        }
    }

    /// Default bounds in seconds, from 0.5 ms to a minute.
    public static let secondsBounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    func write(_ name: String, into text: inout PrometheusText) {
        let state = state.withLock { $0 }
        var total: UInt64 = 0
        for (bound, count) in zip(bounds + [.infinity], state.counts) {
            total += count
            text.sample(name + "_bucket", labels: [("le", PrometheusText.number(bound))], value: String(total))
        }
        text.sample(name + "_sum", value: PrometheusText.number(state.sum))
        text.sample(name + "_count", value: String(total))
    }
}
