// Waits until the worker has applied what the run wrote, or says how far it came.

import Synchronization
import Telemetry

extension Database {
    /// Waits as long as `--verify-timeout` says, then compares.
    /// - Parameter tell: called about once a second with what is still missing.
    func verify(_ ledger: RunLedger, since: String, tell: @Sendable (String) -> Void) async throws(LoadError)
        -> VerificationResult
    {
        let start = MonotonicClock.nanoseconds()
        let deadline = start + UInt64(options.verifyTimeout * 1e9)
        var behind: String?
        switch options.target {
        case .kafka: behind = try await waitForOffsets(ledger, deadline: deadline, tell: tell)
        case .http: try await waitForTotals(ledger, deadline: deadline, tell: tell)
        }
        let waited = Double(MonotonicClock.nanoseconds() - start) / 1e9
        var result = try await compare(ledger, since: since)
        result.waitedSeconds = waited
        result.partitions = ledger.state.withLock { $0.written.compactMap(\.self).count }
        if let behind { result.findings.insert("not applied after \(options.verifyTimeout) s: " + behind, at: 0) }
        return result
    }

    /// Every partition's next offset must reach what was written there. Answers which ones did not.
    private func waitForOffsets(
        _ ledger: RunLedger, deadline: UInt64, tell: (String) -> Void
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
            if interval.tellsNow() { tell("waiting: the worker is \(events) events behind") }
            await interval.sleep()
        }
    }

    /// Over HTTP nobody says which offsets the events got, so the totals must be reached; where some keys are uncertain, they
    /// must have been still for three seconds.
    private func waitForTotals(_ ledger: RunLedger, deadline: UInt64, tell: (String) -> Void) async throws(LoadError) {
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
            // Without a capture equal counts say little: rows may still be changing.
            let needsStillness = hasUncertain || !expectsCapture
            if isReached && !needsStillness || needsStillness && now - lastChange >= 3_000_000_000 { return }
            if now >= deadline { return }
            if interval.tellsNow() {
                tell(
                    "waiting: \(totals.rows) of \(expected.rows) rows"
                        + (expectsCapture ? ", \(totals.captured) of \(expected.captured) captured changes" : ""))
            }
            // Counting a large table must not become the load.
            await interval.sleep(atLeast: 3 * (now - began))
        }
    }
}

/// How often a question is repeated, and how often one tells about it.
private struct Interval {
    private var told = MonotonicClock.nanoseconds()

    mutating func tellsNow() -> Bool {
        let now = MonotonicClock.nanoseconds()
        guard now - told >= 1_000_000_000 else { return false }
        told = now
        return true
    }

    /// A cancelled wait ends at once: the deadline of the caller's loop still holds.
    func sleep(atLeast nanoseconds: UInt64 = 0) async {
        try? await Task.sleep(nanoseconds: max(nanoseconds, 50_000_000))
    }
}
