// Watches an ingress from outside while the database behind it comes and goes.

import Foundation
import Glibc
import Telemetry

/// The metrics of an ingress at one moment.
struct SheddingSample: Codable, Sendable {
    /// Seconds since the watch began.
    let at: Double
    /// Events answered 200, and requests refused, since the start of the process.
    let admitted: Double
    let refused: Double
    /// Records that wait, of all partitions.
    let lag: Double
    /// Share of the requests that is refused.
    let share: Double
    /// Seconds refused callers are told to wait.
    let retryAfter: Double
}

/// Looks five times a second. Methods block: not for cooperative threads.
struct SheddingWatch: Sendable {
    let child: Child
    let metrics: WorkerMetrics
    private let begun = MonotonicClock.nanoseconds()
    private(set) var samples: [SheddingSample] = []

    init(child: Child, metrics: WorkerMetrics) {
        self.child = child
        self.metrics = metrics
    }

    /// Seconds since the watch began.
    var now: Double { Double(MonotonicClock.nanoseconds() - begun) / 1e9 }

    /// One look.
    @discardableResult
    mutating func look() throws -> SheddingSample {
        guard child.isRunning else { throw child.failure("has ended") }
        let page = try metrics.read()
        let sample = SheddingSample(
            at: now, admitted: page.value(#"sluice_http_requests_total{route="/send",status="200"}"#) ?? 0,
            refused: page.sum("sluice_shed_requests_total") ?? 0, lag: page.sum("kafka_consumergroup_lag") ?? 0,
            share: page.sum("sluice_shed_share") ?? 0, retryAfter: page.sum("sluice_shed_retry_after_seconds") ?? 0)
        samples.append(sample)
        return sample
    }

    /// Looks for so long.
    mutating func look(for seconds: Double) throws {
        let end = now + seconds
        while now < end {
            try look()
            usleep(200_000)
        }
    }

    /// Looks until something is so, or `limit` seconds have passed. Answers how long it took.
    mutating func look(within limit: Double, until isSo: (SheddingSample) -> Bool) throws -> Double {
        let start = now
        while now < start + limit {
            if isSo(try look()) { return now - start }
            usleep(200_000)
        }
        throw child.failure("did not come to what was waited for within \(Int(limit)) s")
    }
}
