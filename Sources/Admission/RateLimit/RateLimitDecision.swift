// Owns the decisions of rate limits about requests.

/// The decision about a request, or about a piece of one. Policies are named by their position, sets of policies by bits.
public struct RateLimitDecision: Sendable, Equatable {
    /// The outcome.
    public enum Verdict: Sendable, Equatable {
        /// It is admitted, and was charged.
        case admitted
        /// It is refused for now. Nothing was charged.
        case refused
        /// It costs more than the capacity of a policy. Nothing was charged.
        case tooLarge
    }

    /// The outcome.
    public var verdict = Verdict.admitted
    /// The policies that refuse it; for `tooLarge` those whose capacity it exceeds.
    public var violated: UInt32 = 0
    /// The policies in shadow mode that would have refused it.
    public var shadowed: UInt32 = 0
    /// Nanoseconds after which the same request is admitted, if nothing else is charged meanwhile. 0 for `admitted` and `tooLarge`.
    public var wait: UInt64 = 0
    /// The violated policy with the longest wait; −1: none.
    public var policy = -1
    /// What is left of that policy, in its unit.
    public var remaining = 0
}

/// A refusal, with the policies it refers to.
public struct RateLimitRefusal: Sendable {
    /// The decision.
    public let decision: RateLimitDecision
    /// The policies in force at that time.
    public let policies: [RateLimitPolicy]
}

/// Counts of a policy's decisions.
public struct RateLimitCounts: Sendable, Equatable {
    /// Admitted, and charged.
    public var allowed = 0
    /// Refused.
    public var refused = 0
    /// Would have been refused outside shadow mode.
    public var shadowRefused = 0
    /// Refused because the cost exceeds the capacity.
    public var tooLarge = 0
}
