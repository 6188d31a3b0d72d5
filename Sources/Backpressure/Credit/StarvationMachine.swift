// Decides since when the pipeline as a whole has been without credits, over assignments.

/// Since when there has been no room in the pipeline, without a break. What a newly assigned partition inherits.
public struct StarvationMachine: ~Copyable {
    /// Monotonic nanoseconds; `nil`: there is room.
    public private(set) var since: UInt64?

    /// There is room.
    public init() {}

    /// The level was read at `now` (monotonic nanoseconds).
    public mutating func levelRead(isStarved: Bool, now: UInt64) {
        if !isStarved { since = nil } else if since == nil { since = now }
    }
}
