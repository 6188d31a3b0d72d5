// Numbers that only grow: a single one, or one for each combination of label values.

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

/// A metric name with labels: one counter for each combination of label values.
///
/// ``child(_:)`` takes a lock and may allocate: look counters up once and keep them.
public final class CounterFamily: Sendable {
    private let header: MetricHeader
    private let series = Mutex<[(values: [String], counter: Counter)]>([])

    init(_ header: MetricHeader) { self.header = header }

    /// The counter for these label values, in the order of the family's label names; made at zero when first asked for.
    @discardableResult
    public func child(_ values: String...) -> Counter {
        precondition(values.count == header.labels.count, "\(header.name) takes the labels \(header.labels)")
        return series.withLock { series in
            if let found = series.first(where: { $0.values == values }) { return found.counter }
            let counter = Counter()
            series.append((values, counter))
            return counter
        }
    }

    func write(into text: inout PrometheusText) {
        for (values, counter) in series.withLock({ $0 }) {
            text.sample(header.name, labels: Array(zip(header.labels, values)), value: String(counter.value))
        }
    }
}
