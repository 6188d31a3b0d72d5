// Waits until the worker has applied what the run wrote.

import Platform
import Synchronization

extension Database {
    /// Waits at most as long as `--verify-timeout`, then compares.
    /// - Parameter report: called about once a second with what is missing.
    func verify(_ ledger: RunLedger, since: String, report: @Sendable (String) -> Void) async throws(LoadError)
        -> VerificationResult
    {
        let start = MonotonicClock.nanoseconds()
        let deadline = start + UInt64(options.verifyTimeout * 1e9)
        var behind: String?
        switch options.target {
        case .kafka: behind = try await waitForOffsets(ledger, deadline: deadline, report: report)
        case .http: try await waitForTotals(ledger, deadline: deadline, report: report)
        }
        let waited = Double(MonotonicClock.nanoseconds() - start) / 1e9
        var result = try await compare(ledger, since: since)
        result.waitedSeconds = waited
        result.partitions = ledger.state.withLock { $0.written.compactMap(\.self).count }
        if let behind { result.findings.insert("not applied after \(options.verifyTimeout) s: " + behind, at: 0) }
        return result
    }

    /// Waits until every partition's applied offset has reached what was written. Returns the partitions that have not.
    private func waitForOffsets(
        _ ledger: RunLedger, deadline: UInt64, report: (String) -> Void
    ) async throws(LoadError) -> String? {
        let written = ledger.state.withLock { $0.written }
        var interval = Interval()
        while true {
            let applied = try await appliedOffsets()
            var behind = Findings("partitions")
            var events: Int64 = 0
            for (partition, range) in written.enumerated() {
                guard let range else { continue }
                let missing = range.next - max(range.first, applied[Int32(partition)] ?? range.first)
                guard missing > 0 else { continue }
                events += missing
                behind.add("\(partition) (\(missing) events)")
            }
            if behind.count == 0 { return nil }
            if MonotonicClock.nanoseconds() >= deadline { return behind.line }
            if interval.reportsNow() { report("waiting: the worker is \(events) events behind") }
            await interval.sleep()
        }
    }

    /// Over HTTP the offsets of the events are not known, so the totals must be reached; with uncertain keys they must not have changed
    /// for three seconds.
    private func waitForTotals(_ ledger: RunLedger, deadline: UInt64, report: (String) -> Void) async throws(LoadError) {
        let (expected, hasUncertain) = ledger.state.withLock { state in
            (Totals(rows: state.model.rowCount, captured: state.model.captureCount), state.model.uncertainCount > 0)
        }
        let expectsCapture = !options.captureTable.isEmpty
        var interval = Interval()
        var last: Totals?
        var lastChange = MonotonicClock.nanoseconds()
        while true {
            let began = MonotonicClock.nanoseconds()
            let totals = try await totals()
            let now = MonotonicClock.nanoseconds()
            if totals != last { (last, lastChange) = (totals, now) }
            let isReached = totals.rows == expected.rows && (!expectsCapture || totals.captured == expected.captured)
            // Without a capture equal counts do not suffice: rows may still change.
            let needsStillness = hasUncertain || !expectsCapture
            if isReached && !needsStillness || needsStillness && now - lastChange >= 3_000_000_000 { return }
            if now >= deadline { return }
            if interval.reportsNow() {
                report(
                    "waiting: \(totals.rows) of \(expected.rows) rows"
                        + (expectsCapture ? ", \(totals.captured) of \(expected.captured) captured changes" : ""))
            }
            // Counting a large table must not become the load.
            await interval.sleep(atLeast: 3 * (now - began))
        }
    }
}

/// How often a query is repeated and progress is reported.
private struct Interval {
    private var reportedAt = MonotonicClock.nanoseconds()

    mutating func reportsNow() -> Bool {
        let now = MonotonicClock.nanoseconds()
        guard now - reportedAt >= 1_000_000_000 else { return false }
        reportedAt = now
        return true
    }

    /// A cancelled task does not sleep: the caller's loop has a deadline.
    func sleep(atLeast nanoseconds: UInt64 = 0) async {
        try? await Task.sleep(nanoseconds: max(nanoseconds, 50_000_000))
    }
}
