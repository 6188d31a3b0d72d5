// Measures how fast records are applied and arrive, and estimates when a backlog will be applied.

import Records

/// Rates over a sliding window: what was counted since the window began, divided by the time since then.
///
/// A window, not an average that decays: it forgets completely, so a drain that has stopped is measured as 0 one window later. A window
/// counts changes of partitions that stay in one assignment; what another worker has applied meanwhile, or the backlog of a partition
/// that is assigned, is not a change. A young window divides by at least a twelfth of its length, so that a start makes no peak.
struct DrainRateMachine: ~Copyable {
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

    /// All partitions were sampled.
    /// - Parameters:
    ///   - records: records applied since the start of the pipeline.
    ///   - now: monotonic nanoseconds.
    ///   - window: the window's length in nanoseconds; some intervals between the questions for the ends.
    mutating func sampled(
        _ samples: [PartitionSample], records: Int, now: UInt64, window: UInt64
    ) {
        totals.records = records
        var present: [TopicPartition: Baseline] = [:]
        for sample in samples {
            if let old = baselines[sample.source], old.generation == sample.generation {
                totals.drained += Swift.max(0, sample.applied - old.applied)
                if let end = sample.end, let before = old.end { totals.arrived += Swift.max(0, end - before) }
            }
            present[sample.source] = Baseline(
                generation: sample.generation, applied: sample.applied, end: sample.end)
        }
        baselines = present
        let step = Swift.max(1, window / Self.steps)
        if marks.isEmpty || now - marks[marks.count - 1].at >= step { marks.append((now, totals)) }
        while marks.count > 1, now - marks[1].at >= window { marks.removeFirst() }
        span = Double(Swift.max(step, now - marks[0].at)) / 1e9
    }

    /// Records applied per second.
    var drainRate: Double { marks.isEmpty ? 0 : Double(totals.records - marks[0].totals.records) / span }

    /// Offsets by which the logs' ends grow per second.
    var arrivalRate: Double { marks.isEmpty ? 0 : Double(totals.arrived - marks[0].totals.arrived) / span }

    /// Seconds until a backlog of so many offsets is applied at the window's rates: 0 without one, infinity while nothing drains or more
    /// arrives than drains.
    ///
    /// A backlog that drains within a sixth of the window, arrivals left out, is what a worker that keeps up has under way: that time is
    /// returned. In a steady flow drain and arrival are equal, and their difference means nothing.
    func secondsToDrain(_ backlog: Int64) -> Double {
        guard backlog > 0 else { return 0 }
        guard let first = marks.first else { return .infinity }
        // Offsets, not records: a backlog can only be counted in offsets, and a compacted log has fewer records.
        let drained = Double(totals.drained - first.totals.drained)
        let arrived = Double(totals.arrived - first.totals.arrived)
        guard drained > 0 else { return .infinity }
        if Double(backlog) * Double(Self.steps) <= 2 * drained { return Double(backlog) * span / drained }
        return drained > arrived ? Double(backlog) * span / (drained - arrived) : .infinity
    }

    /// The rates, and the time to drain these partitions together; unknown where one of them is, or there is none.
    func rates(backlogs: [Int64?]) -> PipelineSnapshot.Rates {
        let known = backlogs.compactMap(\.self)
        let isKnown = !backlogs.isEmpty && known.count == backlogs.count
        return PipelineSnapshot.Rates(
            drain: drainRate, arrival: arrivalRate, secondsToDrain: isKnown ? secondsToDrain(known.reduce(0, +)) : nil)
    }
}
