// Knows how long the backlog is between two answers of the brokers: what was let in meanwhile is known here first.

/// The backlog as measured last, and what this process has added to it since.
///
/// ```
/// estimate = measured + max(0, taken since − drain rate · time since)
/// ```
///
/// A backlog that is asked for once a second is known up to a second late, and a fast ingress lets in a lot in a second. What it took is
/// counted here from one look before the new answer was seen, so rather too much is counted than too little. What others write is known
/// with the next answer.
public struct BacklogEstimateMachine: ~Copyable {
    /// Answers that are closer together are one, nanoseconds.
    private static let grain: UInt64 = 1_000_000

    private var measuredAt: UInt64?
    private var base = 0
    private var taken = 0

    /// Nothing was measured yet.
    public init() {}

    /// Looked without an answer that counts.
    public mutating func unmeasured(taken: Int) { self.taken = taken }

    /// Looked at `now`, monotonic nanoseconds.
    /// - Parameters:
    ///   - measured: the backlog in the last answer.
    ///   - at: when that came, monotonic nanoseconds.
    ///   - taken: records this process has handed to the brokers since its start, those under way included.
    ///   - drainRate: records applied a second, lately.
    public mutating func measured(_ measured: Double, at: UInt64, taken: Int, drainRate: Double, now: UInt64) -> Double {
        if measuredAt.map({ at > $0 + Self.grain || at + Self.grain < $0 }) ?? true {
            base = measuredAt == nil ? taken : self.taken
            measuredAt = at
        }
        self.taken = taken
        let since = now > at ? Double(now - at) / 1e9 : 0
        return measured + Swift.max(0, Double(taken - base) - Swift.max(0, drainRate) * since)
    }
}
