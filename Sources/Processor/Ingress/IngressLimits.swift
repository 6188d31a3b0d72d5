// Applies the rate limits to POST /send.

import Admission
import Backpressure
import HTTPServer
import Platform
import Synchronization
import Telemetry

/// The rate limits of `POST /send`. A request is charged when its header has arrived, events and bytes as they arrive.
///
/// A refusal is 429, or 413 if a policy can never let the request or event pass.
final class IngressLimits: Sendable {
    let limiter: RateLimiter
    private let settings: Mutex<SluiceSettings>
    private let jitterState = Atomic<UInt64>(.random(in: 0 ... .max))

    /// - Parameter clock: monotonic nanoseconds.
    init(_ settings: SluiceSettings, clock: @escaping @Sendable () -> UInt64 = MonotonicClock.nanoseconds) {
        limiter = RateLimiter(settings.limits.requests, clock: clock)
        self.settings = Mutex(settings)
    }

    /// Applies other limits; what clients have used stays used.
    func update(_ settings: SluiceSettings) {
        limiter.update(settings.limits.requests)
        self.settings.withLock { $0 = settings }
    }

    /// The client of a request.
    /// - Parameter name: of its token; `nil`: it has none.
    func client(of head: borrowing HTTPRequestHead, _ name: String?) -> RateLimitKey {
        // Nobody asks who it is. Policies that come before the body has arrived charge it to one client for all such requests.
        guard limiter.isLimited else { return .unknown }
        if let name { return RateLimitKey(name: name) }
        let trusted = settings.withLock { $0.http.trustedProxies }
        let forwarded = trusted.isEmpty ? [] : head.headers("X-Forwarded-For")
        return ClientKeys.key(peer: head.peer, forwarded: forwarded, trusted: trusted)
    }

    /// The answer to a cost that the limits do not admit; `nil`: it was charged.
    /// - Parameters: as of ``RateLimiter/admit(_:_:expecting:alreadyCharged:lost:)``.
    func ask(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none, again: RateLimitCost = .none,
        lost: Int = 0
    ) -> ProblemDetails? {
        guard let refusal = limiter.admit(client, cost, expecting: expected, alreadyCharged: again, lost: lost) else {
            return nil
        }
        let (hasFields, jitter) = settings.withLock { ($0.limits.headers, $0.limits.retryJitter) }
        return refusal.problem(hasFields: hasFields) { delay($0, jitter) }
    }

    /// Spreads the retries of clients that were refused together: up to the share `jitter` of `seconds`. Steps of the golden ratio always
    /// fall into the widest gap.
    private func delay(_ seconds: Int, _ jitter: Double) -> Int {
        guard jitter > 0 else { return 0 }
        let most = (Double(seconds) * jitter).rounded(.up)
        let step = jitterState.wrappingAdd(SplitMix64.gamma, ordering: .relaxed).newValue
        return Int(Double(step >> 11) * 0x1p-53 * (most + 1))
    }
}

extension IngressLimits {
    /// Registers the metrics of the policies.
    func register(on registry: MetricsRegistry) {
        let states = registry.sharedCollector { [limiter] in limiter.statistics }
        states.family(
            "sluice_ratelimit_decisions_total", type: .counter,
            help:
                "Decisions of each policy: charges it allowed, refused, would have refused in shadow mode, or can never allow."
        ) { sink, statistics in
            for (policy, counts) in statistics.policies {
                for (decision, count) in [
                    ("allowed", counts.allowed), ("refused", counts.refused), ("shadow_refused", counts.shadowRefused),
                    ("too_large", counts.tooLarge),
                ] { sink.sample(count, ["policy": policy.name, "decision": decision]) }
            }
        }
        let quotas: [(name: String, unit: RateLimitPolicy.Unit)] = [
            ("sluice_ratelimit_quota_requests", .requests), ("sluice_ratelimit_quota_events", .events),
            ("sluice_ratelimit_quota_bytes", .bytes),
        ]
        for (name, unit) in quotas {
            states.gauge(name, "Quota of each policy in \(unit): a bucket's burst, a window's limit.") {
                for (policy, _) in $1.policies where policy.unit == unit { $0.sample(policy.capacity, ["policy": policy.name]) }
            }
        }
        states.gauge("sluice_ratelimit_refill_seconds", "Seconds in which the quota of a policy is refilled.") {
            for (policy, _) in $1.policies { $0.sample(policy.seconds, ["policy": policy.name]) }
        }
        states.gauge("sluice_ratelimit_keys", "Clients with quotas of their own.") { $0.sample($1.keys) }
        states.family(
            "sluice_ratelimit_overflow_total", type: .counter,
            help: "Charges to the quota shared by clients beyond limits.max_keys, refused ones included."
        ) { sink, statistics in sink.sample(statistics.overflowed) }
    }
}
