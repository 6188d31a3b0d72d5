// Tracks since when the pipeline as a whole has been without credits, over assignments.

/// Since when the pipeline has been without credits, without a break. A newly assigned partition inherits it.
public struct StarvationMachine: ~Copyable {
    /// Monotonic nanoseconds; `nil`: there are credits.
    public private(set) var since: UInt64?

    /// A pipeline with credits.
    public init() {}

    /// The level was read at `now` (monotonic nanoseconds).
    public mutating func levelRead(isStarved: Bool, now: UInt64) {
        if !isStarved { since = nil } else if since == nil { since = now }
    }
}
