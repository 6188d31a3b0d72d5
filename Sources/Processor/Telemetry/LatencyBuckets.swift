// The latencies of a batch of records.

import Records
import Telemetry

struct LatencyBuckets {
    /// Upper bounds in seconds. Record timestamps are milliseconds, so finer buckets make no sense.
    static let seconds: [Double] = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600,
    ]
    // An empty one to copy: the bounds are computed once.
    private static let empty = DurationBuckets(seconds, perSecond: 1000)

    private var durations = Self.empty

    /// Adds every record of a batch that carries a timestamp.
    mutating func add(_ batch: RecordBatch, now: Int64) {
        let stamped = batch.records.lazy.filter { $0.timestamp >= 0 }
        // A producer's clock may be ahead of this process's.
        durations.add(stamped.map { UInt64(Swift.max(0, now - $0.timestamp)) })
    }

    /// Observes each bucket's mean, as often as the bucket was hit.
    mutating func flush(into histogram: Histogram) { durations.flush(into: histogram) }
}
