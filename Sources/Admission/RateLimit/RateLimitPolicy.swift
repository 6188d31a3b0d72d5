// Says what a policy of the ingress limits: whose requests, in which unit, and how much of it.

public import Backpressure

/// One limit on requests: a quota in one unit, kept for everybody together, for each client or for each route.
public struct RateLimitPolicy: Sendable, Equatable {
    /// Whose requests share one quota.
    public enum Key: String, Sendable, CaseIterable {
        /// All requests.
        case global
        /// Those of one client.
        case client
        /// Those for one route.
        case route
    }

    /// What is counted.
    public enum Unit: String, Sendable, CaseIterable {
        case requests, events, bytes
    }

    /// How much of it may pass.
    public enum Quota: Sendable, Equatable {
        /// In every span of `t` seconds at most `burst + rate · t`.
        case bucket(TokenBucketMachine.Limit)
        /// In every window at most the limit.
        case window(SlidingWindowMachine.Limit)
    }

    /// Its name: in metrics, in header fields and in what refused clients are told. No two policies share one.
    public var name: String
    /// Whose requests share one quota.
    public var key: Key
    /// What is counted.
    public var unit: Unit
    /// How much may pass.
    public var quota: Quota
    /// Counted as if it were in force, but nobody is refused.
    public var isShadow: Bool

    /// A policy.
    public init(_ name: String, key: Key, unit: Unit, _ quota: Quota, isShadow: Bool = false) {
        self.name = name
        self.key = key
        self.unit = unit
        self.quota = quota
        self.isShadow = isShadow
    }

    /// The most that can ever pass at once, in the policy's unit.
    public var capacity: Int {
        switch quota {
        case .bucket(let limit): limit.burst
        case .window(let limit): limit.amount
        }
    }

    /// Seconds in which the capacity comes again: a window's length, or the time a bucket takes to fill; at most 10¹⁵.
    public var seconds: Double {
        switch quota {
        case .bucket(let limit): Swift.min(Double(limit.burst) / limit.rate, 1e15)
        case .window(let limit): Double(limit.span) / 1e9
        }
    }
}

/// The limits on requests, and what it may cost to keep them.
public struct RateLimits: Sendable, Equatable {
    /// Most policies there can be: refusals name them by the bits of a word.
    public static let mostPolicies = 32

    /// All of them are checked before any is charged.
    public var policies: [RateLimitPolicy]
    /// Clients that are known one by one; further ones share one quota.
    public var maxKeys: Int
    /// Nanoseconds after which a client that was not heard of makes room for a new one where there is no other room and it is not
    /// limited.
    public var keyIdle: UInt64

    /// Limits; without a policy nothing is limited.
    public init(policies: [RateLimitPolicy] = [], maxKeys: Int = 100_000, keyIdle: UInt64 = 300_000_000_000) {
        precondition(policies.count <= Self.mostPolicies, "\(policies.count) policies; \(Self.mostPolicies) are the most")
        self.policies = policies
        self.maxKeys = Swift.min(Swift.max(1, maxKeys), 16_000_000)
        self.keyIdle = keyIdle
    }

    /// Bytes that the quotas of all clients may come to take.
    public var clientBytes: Int {
        let (bytes, isBeyond) = QuotaStorage.stride(of: policies, key: .client).multipliedReportingOverflow(by: maxKeys + 1)
        return isBeyond ? .max : bytes
    }

    /// Where nothing is limited by client, no client has to be known.
    var hasClientPolicy: Bool { policies.contains { $0.key == .client } }
}

/// What a request, or a piece of one, costs.
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

    /// Both together; beyond all numbers it is the largest.
    static func + (a: RateLimitCost, b: RateLimitCost) -> RateLimitCost {
        func sum(_ a: Int, _ b: Int) -> Int {
            let (sum, isBeyond) = a.addingReportingOverflow(b)
            return isBeyond ? .max : sum
        }
        return RateLimitCost(requests: sum(a.requests, b.requests), events: sum(a.events, b.events), bytes: sum(a.bytes, b.bytes))
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
