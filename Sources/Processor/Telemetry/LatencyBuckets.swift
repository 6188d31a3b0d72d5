// Sorts the latencies of a batch into buckets, so that the histogram is updated once per bucket and not once per record.

import Records
import Telemetry

struct LatencyBuckets {
    /// Upper bounds in seconds. Record timestamps are milliseconds, so finer buckets make no sense.
    static let seconds: [Double] = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600,
    ]
    private static let milliseconds: [Int64] = seconds.map { Int64($0 * 1000) }

    private var counts = [Int](repeating: 0, count: Self.seconds.count + 1)
    private var sums = [Int64](repeating: 0, count: Self.seconds.count + 1)

    /// Adds every record of a batch that carries a timestamp.
    mutating func add(_ batch: RecordBatch, now: Int64) {
        var bucket = 0
        for record in batch.records where record.timestamp >= 0 {
            // A producer's clock may be ahead of this process's.
            let latency = Swift.max(0, now - record.timestamp)
            // Neighbours are mostly in the same bucket, so the search begins where the last one ended.
            while bucket > 0, latency <= Self.milliseconds[bucket - 1] { bucket -= 1 }
            while bucket < Self.milliseconds.count, latency > Self.milliseconds[bucket] { bucket += 1 }
            counts[bucket] += 1
            sums[bucket] += latency
        }
    }

    /// Observes each bucket's mean, as often as the bucket was hit.
    func flush(into histogram: Histogram) {
        for bucket in counts.indices where counts[bucket] > 0 {
            histogram.observe(Double(sums[bucket]) / Double(counts[bucket]) / 1000, count: counts[bucket])
        }
    }
}
