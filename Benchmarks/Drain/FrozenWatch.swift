// Observes a worker while its database is stopped and continued: its metrics, and its memory in /proc.

import Foundation
import Glibc
import Platform

/// Samples a worker several times a second. Methods block: not for cooperative threads.
struct FrozenWatch: Sendable {
    let child: Child
    let metrics: WorkerMetrics
    private(set) var applied = 0.0
    private(set) var pauses = 0
    private(set) var resumes = 0
    private(set) var paused = 0.0
    /// The lag of the partition with the fewest records left.
    private(set) var leastLag = 0.0
    var rebalances = 0
    private(set) var residentMebibytes = 0.0
    private(set) var peakResident = 0.0
    private(set) var peakUsed = 0.0
    private(set) var budgetMebibytes = 0.0
    /// Seconds without an applied record after which a worker has failed.
    private static let patience = 60.0

    init(child: Child, metrics: WorkerMetrics) {
        self.child = child
        self.metrics = metrics
    }

    /// Takes one sample.
    mutating func sample() throws {
        guard child.isRunning, let usage = child.usage() else { throw child.failure("has ended") }
        let page = try metrics.read()
        applied = page.sum("sluice_events_total") ?? 0
        pauses = Int(page.sum("sluice_partition_pauses_total") ?? 0)
        resumes = Int(page.sum("sluice_partition_resumes_total") ?? 0)
        paused = page.sum("sluice_partition_paused") ?? 0
        leastLag = page.series("kafka_consumergroup_lag").min() ?? 0
        rebalances = Int(page.sum("sluice_rebalances_total") ?? 0)
        residentMebibytes = Double(usage.residentKibibytes) / 1024
        peakResident = max(peakResident, residentMebibytes)
        peakUsed = max(peakUsed, (page.sum("sluice_memory_used_bytes") ?? 0) / 1_048_576)
        budgetMebibytes = (page.sum("sluice_memory_budget_bytes") ?? 0) / 1_048_576
    }

    /// Samples ten times a second for some seconds.
    mutating func sample(for seconds: Double) throws {
        let end = Self.now() + seconds
        while Self.now() < end {
            try sample()
            usleep(100_000)
        }
    }

    /// Records a second, in each of some seconds.
    mutating func rates(seconds: Int) throws -> [Double] {
        try sample()
        return try (0..<seconds).map { _ in
            let (start, first) = (Self.now(), applied)
            try sample(for: 1)
            try sample()
            return (applied - first) / (Self.now() - start)
        }
    }

    mutating func waitUntil(applied goal: Double) throws {
        var (last, since) = (applied, Self.now())
        while true {
            try sample()
            if applied >= goal { return }
            if applied > last { (last, since) = (applied, Self.now()) }
            if Self.now() - since > Self.patience { throw child.failure("has applied nothing for \(Int(Self.patience)) s") }
            usleep(100_000)
        }
    }

    /// Waits until no partition is paused any more.
    mutating func waitUntilResumed() throws {
        let end = Self.now() + Self.patience
        repeat {
            try sample()
            if paused == 0 { return }
            usleep(100_000)
        } while Self.now() < end
        throw child.failure("has partitions that stay paused: \(Int(paused))")
    }

    private static func now() -> Double { Double(MonotonicClock.nanoseconds()) / 1e9 }
}
