// Proves that a batch's latencies are in the same buckets as single observations.

import Records
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite struct LatencyBucketsTests {
    @Test func agreesWithSingleObservations() {
        var random = SeededRandom(seed: testSeed("latency buckets"))
        let now: Int64 = 1_800_000_000_000
        let batch = RecordBatch(source: TopicPartition("t", 0), generation: 1)
        let registry = MetricsRegistry()
        let single = registry.histogram("a_seconds", help: "a", buckets: LatencyBuckets.seconds)
        for offset in 0..<2_000 {
            let latency = Int64(pow10(random.unit() * 7)) - 5
            batch.append(offset: Int64(offset), timestamp: now - latency, key: nil, value: nil)
            single.observe(Double(Swift.max(0, latency)) / 1000)
        }
        batch.append(offset: 3_000, timestamp: -1, key: nil, value: nil)
        var buckets = LatencyBuckets()
        buckets.add(batch, now: now)
        let together = registry.histogram("b_seconds", help: "b", buckets: LatencyBuckets.seconds)
        buckets.flush(into: together)
        let page = String(decoding: registry.render(), as: UTF8.self)
        let lines = page.split(separator: "\n").filter { $0.contains("_bucket{") }.map { $0.dropFirst() }
        #expect(lines.count == 2 * (LatencyBuckets.seconds.count + 1))
        #expect(Array(lines.prefix(lines.count / 2)) == Array(lines.suffix(lines.count / 2)))
        let sums = page.split(separator: "\n").filter { $0.contains("_seconds_sum ") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
        #expect(sums.count == 2 && abs(sums[0] - sums[1]) < 1e-6 * sums[0])
    }

    private func pow10(_ exponent: Double) -> Double {
        var value = 1.0
        for _ in 0..<Int(exponent) { value *= 10 }
        return value * (1 + 9 * (exponent - exponent.rounded(.down)))
    }
}
