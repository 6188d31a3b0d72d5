// Watches an ingress from outside while the database behind it comes and goes.

import Foundation
import Glibc
import Platform

/// The metrics of an ingress at one moment.
struct SheddingSample: Codable, Sendable {
    /// Seconds since the observation began.
    let at: Double
    /// Events answered 200, and requests refused, since the start of the process.
    let admitted: Double
    let refused: Double
    /// Consumer lag of all partitions, in records.
    let lag: Double
    /// Share of the requests that is refused.
    let share: Double
    /// Seconds of Retry-After.
    let retryAfter: Double
}

/// Samples five times a second. Methods block: not for cooperative threads.
struct SheddingWatch: Sendable {
    let child: Child
    let metrics: WorkerMetrics
    private let begun = MonotonicClock.nanoseconds()
    private(set) var samples: [SheddingSample] = []

    init(child: Child, metrics: WorkerMetrics) {
        self.child = child
        self.metrics = metrics
    }

    /// Seconds since the observation began.
    var now: Double { Double(MonotonicClock.nanoseconds() - begun) / 1e9 }

    /// Takes one sample.
    @discardableResult
    mutating func sample() throws -> SheddingSample {
        guard child.isRunning else { throw child.failure("has ended") }
        let page = try metrics.read()
        let sample = SheddingSample(
            at: now, admitted: page.value(#"sluice_http_requests_total{route="/send",status="200"}"#) ?? 0,
            refused: page.sum("sluice_shed_requests_total") ?? 0, lag: page.sum("kafka_consumergroup_lag") ?? 0,
            share: page.sum("sluice_shed_share") ?? 0, retryAfter: page.sum("sluice_shed_retry_after_seconds") ?? 0)
        samples.append(sample)
        return sample
    }

    /// Samples for some seconds.
    mutating func sample(for seconds: Double) throws {
        let end = now + seconds
        while now < end {
            try sample()
            usleep(200_000)
        }
    }

    /// Samples until a condition holds and returns how long it took; fails after `limit` seconds.
    mutating func sample(within limit: Double, until isSo: (SheddingSample) -> Bool) throws -> Double {
        let start = now
        while now < start + limit {
            if isSo(try sample()) { return now - start }
            usleep(200_000)
        }
        throw child.failure("did not reach the expected state within \(Int(limit)) s")
    }
}
