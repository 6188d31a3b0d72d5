// Owns the declaration of rate limits: policies, their quotas, the cost of a request, and the key of its client.

public import Backpressure

/// One rate limit: a quota in one unit, for all requests together, for each client, or for the route.
public struct RateLimitPolicy: Sendable, Equatable {
    /// Which requests share one quota.
    public enum Key: String, Sendable, CaseIterable {
        /// All requests.
        case global
        /// The requests of one client.
        case client
        /// The requests for one route. Only one has rate limits, so this is the same as `global`.
        case route
    }

    /// What is counted.
    public enum Unit: String, Sendable, CaseIterable {
        case requests, events, bytes
    }

    /// How much is admitted.
    public enum Quota: Sendable, Equatable {
        /// Token bucket: at most `burst + rate · t` in every span of `t` seconds.
        case bucket(TokenBucketMachine.Limit)
        /// Sliding window: at most `amount` in every span.
        case window(SlidingWindowLimit)
    }

    /// Its name in metrics, header fields and responses. Unique.
    public var name: String
    /// Which requests share one quota.
    public var key: Key
    /// What is counted.
    public var unit: Unit
    /// How much is admitted.
    public var quota: Quota
    /// Shadow mode: counted as if it were in force, but nothing is refused.
    public var isShadow: Bool

    /// A policy.
    public init(_ name: String, key: Key, unit: Unit, _ quota: Quota, isShadow: Bool = false) {
        self.name = name
        self.key = key
        self.unit = unit
        self.quota = quota
        self.isShadow = isShadow
    }

    /// The most that can be admitted at once, in the policy's unit.
    public var capacity: Int {
        switch quota {
        case .bucket(let limit): limit.burst
        case .window(let limit): limit.amount
        }
    }

    /// Seconds in which the capacity is restored: a window's span, or the time a bucket takes to fill; at most 10¹⁵.
    public var seconds: Double {
        switch quota {
        case .bucket(let limit): Swift.min(Double(limit.burst) / limit.rate, 1e15)
        case .window(let limit): Double(limit.span) / 1e9
        }
    }
}

/// All rate limits, with the bounds of their memory.
public struct RateLimits: Sendable, Equatable {
    /// Most policies: decisions name them by the bits of a word.
    public static let mostPolicies = 32

    /// The policies. All are checked before any is charged.
    public var policies: [RateLimitPolicy]
    /// Clients with quotas of their own; further clients share one quota.
    public var maxKeys: Int
    /// Nanoseconds without a request after which a client that is not limited may be evicted for a new one, where no row is free.
    public var keyIdle: UInt64

    /// Without a policy nothing is limited.
    public init(policies: [RateLimitPolicy] = [], maxKeys: Int = 100_000, keyIdle: UInt64 = 300_000_000_000) {
        precondition(policies.count <= Self.mostPolicies, "\(policies.count) policies; \(Self.mostPolicies) are the most")
        self.policies = policies
        self.maxKeys = Swift.min(Swift.max(1, maxKeys), 16_000_000)
        self.keyIdle = keyIdle
    }

    /// Most bytes of the quotas of all clients.
    public var clientBytes: Int {
        let (bytes, isBeyond) = QuotaLayout(policies, isByClient: true).size.multipliedReportingOverflow(by: maxKeys + 1)
        return isBeyond ? .max : bytes
    }
}

/// The cost of a request, or of a piece of one.
public struct RateLimitCost: Sendable, Equatable {
    /// Requests.
    public var requests: Int
    /// Events.
    public var events: Int
    /// Bytes of the body.
    public var bytes: Int

    /// A cost; negative parts count as 0.
    public init(requests: Int = 0, events: Int = 0, bytes: Int = 0) {
        self.requests = Swift.max(0, requests)
        self.events = Swift.max(0, events)
        self.bytes = Swift.max(0, bytes)
    }

    /// No cost.
    public static let none = RateLimitCost()

    /// The sum; saturates.
    static func + (a: RateLimitCost, b: RateLimitCost) -> RateLimitCost {
        RateLimitCost(
            requests: a.requests.addingSaturated(b.requests), events: a.events.addingSaturated(b.events),
            bytes: a.bytes.addingSaturated(b.bytes))
    }

    @inline(__always)
    subscript(unit: RateLimitPolicy.Unit) -> Int {
        switch unit {
        case .requests: requests
        case .events: events
        case .bytes: bytes
        }
    }
}

extension FixedWidthInteger {
    /// The sum; the largest value where that is less. For values that are not negative.
    func addingSaturated(_ other: Self) -> Self {
        let (sum, isBeyond) = addingReportingOverflow(other)
        return isBeyond ? .max : sum
    }
}

/// A client's key in 64 bits, so that no key allocates memory: a hash with the process's random seed, so that nobody can construct two
/// clients with one key. Among four million clients two share a key by chance once in two million processes.
public struct RateLimitKey: Hashable, Sendable {
    /// The key of all clients of which nothing is known, or nothing is asked.
    public static let unknown = RateLimitKey(name: "")

    private let hash: Int

    /// The key of an address: all of it, or the part that belongs to one client.
    public init(address: UInt64, isIPv6: Bool) {
        var hasher = Hasher()
        hasher.combine(isIPv6)
        hasher.combine(address)
        hash = hasher.finalize()
    }

    /// The key of a name.
    public init(name: String) {
        var hasher = Hasher()
        hasher.combine(2 as UInt8)
        hasher.combine(name)
        hash = hasher.finalize()
    }
}
