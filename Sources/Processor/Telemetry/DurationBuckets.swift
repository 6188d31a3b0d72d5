// Sorts durations into the buckets of a histogram, so that it is updated once per bucket and not once per duration.

import Telemetry

/// Durations that are observed together later, without a lock until then.
struct DurationBuckets {
    /// Upper bounds, in the caller's unit.
    private let bounds: [UInt64]
    private let perSecond: Double
    private var counts: [Int]
    private var sums: [UInt64]
    private var isEmpty = true
    /// The bucket of the last duration.
    private var bucket = 0

    /// - Parameters:
    ///   - seconds: the upper bounds of the histogram's buckets.
    ///   - perSecond: how many of the caller's units are a second.
    init(_ seconds: [Double] = Histogram.secondsBounds, perSecond: Double) {
        self.perSecond = perSecond
        bounds = seconds.map { UInt64($0 * perSecond) }
        counts = [Int](repeating: 0, count: bounds.count + 1)
        sums = [UInt64](repeating: 0, count: bounds.count + 1)
    }

    mutating func add(_ durations: some Sequence<UInt64>) {
        // In local variables: with properties in their place a record costs three times as much.
        let bounds = bounds
        var bucket = self.bucket
        for duration in durations {
            // Neighbours are mostly in the same bucket, so the search begins where the last one ended.
            while bucket > 0, duration <= bounds[bucket - 1] { bucket -= 1 }
            while bucket < bounds.count, duration > bounds[bucket] { bucket += 1 }
            counts[bucket] += 1
            sums[bucket] += duration
        }
        self.bucket = bucket
        isEmpty = false
    }

    /// Observes each bucket's mean, as often as the bucket was hit, and empties them.
    mutating func flush(into histogram: Histogram) {
        guard !isEmpty else { return }
        for bucket in counts.indices where counts[bucket] > 0 {
            histogram.observe(Double(sums[bucket]) / Double(counts[bucket]) / perSecond, count: counts[bucket])
            (counts[bucket], sums[bucket]) = (0, 0)
        }
        isEmpty = true
    }
}
