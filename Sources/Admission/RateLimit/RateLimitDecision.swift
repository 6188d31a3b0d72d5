// Says what became of a request that asked the limits.

/// Who asks: which client, for which route.
public struct RateLimitSubject: Sendable, Equatable {
    /// The client.
    public var client: RateLimitKey
    /// The route's number, from 0.
    public var route: Int

    /// A client and the route it asks for.
    public init(client: RateLimitKey, route: Int) {
        self.client = client
        self.route = route
    }
}

/// What is decided about a request, or about a piece of one. Policies are named by their position, sets of them by bits.
public struct RateLimitDecision: Sendable, Equatable {
    /// What becomes of it.
    public enum Verdict: Sendable, Equatable {
        /// It passes, and has been charged.
        case admitted
        /// It does not pass now. Nothing was charged.
        case refused
        /// It costs more than a policy ever has. Nothing was charged.
        case tooLarge
    }

    /// What becomes of it.
    public var verdict = Verdict.admitted
    /// The policies that refuse it; those it is too large for where it is.
    public var violated: UInt32 = 0
    /// The policies in shadow mode that would have refused it.
    public var shadowed: UInt32 = 0
    /// Nanoseconds after which the same passes, if nobody else asks. 0 where it passes, or never does.
    public var wait: UInt64 = 0
    /// The violated policy that takes longest; −1: none.
    public var policy = -1
    /// What that policy has left, in its unit.
    public var remaining = 0

    /// It passes.
    public init() {}
}

/// A refusal, with the policies it speaks of.
public struct RateLimitRefusal: Sendable {
    /// What was decided.
    public let decision: RateLimitDecision
    /// The policies in force when it was.
    public let policies: RateLimitPolicies
}

/// The policies in force for a while. Its identity tells one configuration from the next.
public final class RateLimitPolicies: Sendable {
    /// The policies, in the order of their positions.
    public let list: [RateLimitPolicy]

    /// The policies of a configuration.
    public init(_ list: [RateLimitPolicy]) { self.list = list }

    /// The policies of a set.
    public func named(by bits: UInt32) -> [RateLimitPolicy] { list.indices.filter { bits >> $0 & 1 == 1 }.map { list[$0] } }
}

/// How often a policy has decided what.
public struct RateLimitCounts: Sendable, Equatable {
    /// Passed, and charged.
    public var allowed = 0
    /// Refused.
    public var refused = 0
    /// Would have been refused, were it not in shadow mode.
    public var shadowRefused = 0
    /// Refused as larger than all it ever has.
    public var tooLarge = 0

    /// Nothing decided yet.
    public init() {}
}
