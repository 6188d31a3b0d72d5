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
    fileprivate let limiter: RateLimiter
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

    /// The quota of a request's client.
    /// - Parameter name: of its token; `nil`: it has none.
    func quota(of head: borrowing HTTPRequestHead, _ name: String?) -> ClientQuota {
        if let name { return ClientQuota(limits: self, client: RateLimitKey(name: name)) }
        let trusted = settings.withLock { $0.http.trustedProxies }
        let forwarded = trusted.isEmpty ? [] : head.headers("X-Forwarded-For")
        return ClientQuota(limits: self, client: ClientKeys.key(peer: head.peer, forwarded: forwarded, trusted: trusted))
    }

    /// Charges a request whose header has arrived. If its first event or its length would already exceed a limit, it is refused before its
    /// body is read; events and bytes are charged as they arrive.
    /// - Parameter isStreamed: the body is a batch, whose events are charged one by one. Its length is not checked: a quota may be refilled
    ///   while the body arrives.
    func admit(_ head: borrowing HTTPRequestHead, _ name: String?, isStreamed: Bool = false) -> ProblemDetails? {
        guard limiter.isLimited else { return nil }
        let bytes = isStreamed ? 0 : head.contentLength ?? 0
        return ask(quota(of: head, name).client, RateLimitCost(requests: 1), expecting: RateLimitCost(events: 1, bytes: bytes))
    }

    /// Charges a body with one event.
    func charge(_ request: borrowing HTTPRequest, _ name: @autoclosure () -> String?) -> ProblemDetails? {
        guard limiter.isLimited else { return nil }
        return quota(of: request.head, name()).charge(events: 1, bytes: request.body.count)
    }

    fileprivate func ask(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost = .none, again: RateLimitCost = .none
    ) -> ProblemDetails? {
        guard let refusal = limiter.admit(client, cost, expecting: expected, alreadyCharged: again) else { return nil }
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

/// The quota of one request's client, which is determined once; the events of a batch are charged as they arrive.
struct ClientQuota {
    fileprivate let limits: IngressLimits
    fileprivate let client: RateLimitKey

    /// Charges further events of the request, `bytes` together, all or none; without an event bytes that belong to none, such as white
    /// space. The wait in a refusal counts the request of another attempt. Not called after a 429.
    func charge(events: Int, bytes: Int) -> ProblemDetails? {
        limits.ask(client, RateLimitCost(events: events, bytes: bytes), again: RateLimitCost(requests: 1))
    }

    /// Charges events together if all of them pass.
    /// - Returns: `false`: nothing was charged; charge each event.
    func chargeTogether(events: Int, bytes: Int) -> Bool {
        limits.limiter.admitTogether(client, RateLimitCost(events: events, bytes: bytes), pieces: events)
    }

    /// The answer to a request with these events now; charges nothing.
    func preview(events: Int, bytes: Int) -> ProblemDetails? {
        limits.ask(client, .none, expecting: RateLimitCost(requests: 1, events: events, bytes: bytes))
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
        states.gauge(
            "sluice_ratelimit_quota",
            "Quota of each policy (a bucket's burst, a window's limit), and the seconds in which it is refilled."
        ) { sink, statistics in
            for (policy, _) in statistics.policies {
                sink.sample(policy.capacity, ["policy": policy.name, "bound": "amount"])
                sink.sample(policy.seconds, ["policy": policy.name, "bound": "seconds"])
            }
        }
        states.gauge("sluice_ratelimit_keys", "Clients with quotas of their own.") { $0.sample($1.keys) }
        states.family(
            "sluice_ratelimit_overflow_total", type: .counter,
            help: "Charges to the quota shared by clients beyond limits.max_keys, refused ones included."
        ) { sink, statistics in sink.sample(statistics.overflowed) }
    }
}
