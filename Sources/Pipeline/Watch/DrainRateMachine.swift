// Measures how fast records are applied and arrive, and says when a backlog will be gone.

import Records

/// Rates over a sliding window: what was counted since the window began, divided by the time since then.
///
/// A window, not an average that decays: it forgets completely, so a drain that has stopped is measured as 0 one window later. A window
/// counts changes of partitions that stay in one assignment; what another worker has applied meanwhile, or what a partition brings
/// along, is never a change. A young window divides by at least a twelfth of its length, so a start makes no peak.
public struct DrainRateMachine: ~Copyable {
    private struct Totals {
        var records = 0
        var drained: Int64 = 0
        var arrived: Int64 = 0
    }

    private struct Baseline {
        let generation: UInt64
        let applied: Int64
        let end: Int64?
    }

    private static let steps: UInt64 = 12
    private var totals = Totals()
    private var marks: [(at: UInt64, totals: Totals)] = []
    private var baselines: [TopicPartition: Baseline] = [:]
    /// Seconds the present window covers.
    private var span = 1.0

    /// Nothing was counted yet.
    public init() {}

    /// All partitions were looked at.
    /// - Parameters:
    ///   - records: records applied since the start of the pipeline.
    ///   - now: monotonic nanoseconds.
    ///   - window: the window's length in nanoseconds; some intervals between the questions for the ends.
    public mutating func sampled(
        _ positions: [OffsetLedgerMachine.Position], records: Int, now: UInt64, window: UInt64
    ) {
        totals.records = records
        var present: [TopicPartition: Baseline] = [:]
        for position in positions {
            if let old = baselines[position.source], old.generation == position.entry.generation {
                totals.drained += Swift.max(0, position.applied - old.applied)
                if let end = position.end, let before = old.end { totals.arrived += Swift.max(0, end - before) }
            }
            present[position.source] = Baseline(
                generation: position.entry.generation, applied: position.applied, end: position.end)
        }
        baselines = present
        let step = Swift.max(1, window / Self.steps)
        if marks.isEmpty || now - marks[marks.count - 1].at >= step { marks.append((now, totals)) }
        while marks.count > 1, now - marks[1].at >= window { marks.removeFirst() }
        span = Double(Swift.max(step, now - marks[0].at)) / 1e9
    }

    /// Records applied a second.
    public var drainRate: Double { marks.isEmpty ? 0 : Double(totals.records - marks[0].totals.records) / span }

    /// Offsets by which the logs' ends grow a second.
    public var arrivalRate: Double { marks.isEmpty ? 0 : Double(totals.arrived - marks[0].totals.arrived) / span }

    /// Seconds until a backlog of so many offsets is gone if all goes on as in the window: 0 without one, infinity while nothing drains or
    /// more arrives than drains.
    ///
    /// A backlog that drains within a sixth of the window, arrivals or not, is what a worker that keeps up has under way: the time it
    /// takes is its answer. In a steady flow drain and arrival are equal, and their difference would say nothing.
    public func secondsToDrain(_ backlog: Int64) -> Double {
        guard backlog > 0 else { return 0 }
        guard let first = marks.first else { return .infinity }
        // Offsets, not records: a backlog can only be counted in offsets, and a compacted log has fewer records.
        let drained = Double(totals.drained - first.totals.drained)
        let arrived = Double(totals.arrived - first.totals.arrived)
        guard drained > 0 else { return .infinity }
        if Double(backlog) * Double(Self.steps) <= 2 * drained { return Double(backlog) * span / drained }
        return drained > arrived ? Double(backlog) * span / (drained - arrived) : .infinity
    }
}
