// Estimates the backlog between two measurements, from what this process produced since the last one.

/// The backlog in records: the last measurement, and what this process has added since. Pure; times in monotonic nanoseconds.
///
/// ```
/// estimate = measured + max(0, produced since − drain rate · time since)
/// ```
///
/// The backlog is measured about once a second, in which a fast ingress admits many records. What it produced counts from the check before
/// a new measurement was seen: the estimate is rather too high than too low. Records of other producers are known with the next
/// measurement.
struct BacklogEstimateMachine: ~Copyable {
    /// Measurements closer together are the same one, nanoseconds.
    private static let grain: UInt64 = 1_000_000

    private var measuredAt: UInt64?
    private var base = 0
    private var produced = 0

    /// There is no valid measurement.
    mutating func unmeasured(produced: Int) { self.produced = produced }

    /// Returns the estimate at `now`.
    /// - Parameters:
    ///   - measured: the last measurement.
    ///   - at: its instant.
    ///   - produced: records that this process has produced since its start, those in flight included.
    ///   - drainRate: recent rate of applied records, per second.
    mutating func measured(_ measured: Double, at: UInt64, produced: Int, drainRate: Double, now: UInt64) -> Double {
        if measuredAt.map({ at > $0 + Self.grain || at + Self.grain < $0 }) ?? true {
            base = measuredAt == nil ? produced : self.produced
            measuredAt = at
        }
        self.produced = produced
        let since = now > at ? Double(now - at) / 1e9 : 0
        return measured + Swift.max(0, Double(produced - base) - Swift.max(0, drainRate) * since)
    }
}
