// Applies the rate limits to POST /send.

import Admission
import Backpressure
import HTTPServer
import Platform
import Synchronization
import Telemetry

/// The rate limits of `POST /send`. A request is charged when its header has arrived, events and bytes as they arrive.
final class IngressLimits: Sendable {
    /// The answer to a request or an event over a limit.
    struct Refusal: Sendable {
        /// 429, or 413 if a policy can never let it pass.
        let status: Int
        /// Seconds after which the same would pass; 0: it never does.
        let retryAfter: Int
        /// The whole response of a request.
        let response: HTTPResponse
        /// The same for one event of a batch.
        let problem: ProblemDetails
    }

    fileprivate struct State {
        var trustedProxies: Int
        var hasFields: Bool
        var jitter: Double
        /// Of the policies that refused last.
        var responses: RateLimitResponses?
    }

    /// The only route with rate limits.
    private static let route = 0

    private let limiter: RateLimiter
    private let state: Mutex<State>
    private let jitterState = Atomic<UInt64>(.random(in: 0 ... .max))

    /// - Parameter clock: monotonic nanoseconds.
    init(_ settings: SluiceSettings, clock: @escaping @Sendable () -> UInt64 = MonotonicClock.nanoseconds) {
        limiter = RateLimiter(settings.limits.requests, routes: 1, clock: clock)
        state = Mutex(State(settings))
    }

    /// Applies other limits; what clients have used stays used.
    func update(_ settings: SluiceSettings) {
        limiter.update(settings.limits.requests)
        state.withLock { $0 = State(settings) }
    }

    /// The key of a request's client.
    /// - Parameter name: of its token; `nil`: it has none.
    func client(of head: borrowing HTTPRequestHead, _ name: String?) -> RateLimitKey {
        if let name { return RateLimitKey(name: name) }
        let trusted = state.withLock { $0.trustedProxies }
        return ClientKeys.key(peer: head.peer, forwarded: trusted > 0 ? head.headers("X-Forwarded-For") : [], trusted: trusted)
    }

    /// Charges a request whose header has arrived. If its first event or its length would already exceed a limit, it is refused before its
    /// body is read; events and bytes are charged by ``charge(_:events:bytes:)``.
    /// - Parameter isStreamed: the body is a batch, whose events are charged one by one. Its length is not checked: a quota may be refilled
    ///   while the body arrives.
    func admit(_ head: borrowing HTTPRequestHead, _ name: String?, isStreamed: Bool = false) -> Refusal? {
        guard limiter.isLimited else { return nil }
        let bytes = isStreamed ? 0 : head.contentLength ?? 0
        return ask(client(of: head, name), RateLimitCost(requests: 1), expecting: RateLimitCost(events: 1, bytes: bytes))
    }

    /// Charges events that have arrived, all or none. The wait in a refusal counts the request of another attempt.
    func charge(_ client: RateLimitKey, events: Int, bytes: Int) -> Refusal? {
        ask(client, RateLimitCost(events: events, bytes: bytes), expecting: .none, again: RateLimitCost(requests: 1))
    }

    /// The answer to a request with these events now; charges nothing.
    func preview(_ client: RateLimitKey, events: Int, bytes: Int) -> Refusal? {
        ask(client, .none, expecting: RateLimitCost(requests: 1, events: events, bytes: bytes))
    }

    /// Charges events together if all of them pass.
    /// - Returns: `false`: nothing was charged.
    func chargeTogether(_ client: RateLimitKey, events: Int, bytes: Int) -> Bool {
        limiter.admitTogether(
            RateLimitSubject(client: client, route: Self.route), RateLimitCost(events: events, bytes: bytes), pieces: events)
    }

    /// Charges a body with one event.
    func charge(_ request: borrowing HTTPRequest, _ name: @autoclosure () -> String?) -> Refusal? {
        guard limiter.isLimited else { return nil }
        return charge(client(of: request.head, name()), events: 1, bytes: request.body.count)
    }

    private func ask(
        _ client: RateLimitKey, _ cost: RateLimitCost, expecting expected: RateLimitCost, again: RateLimitCost = .none
    ) -> Refusal? {
        limiter.admit(RateLimitSubject(client: client, route: Self.route), cost, expecting: expected, alreadyCharged: again).map(
            refusal)
    }

    private func refusal(_ refusal: RateLimitRefusal) -> Refusal {
        let decision = refusal.decision
        return state.withLock { state in
            if state.responses?.policies !== refusal.policies {
                state.responses = RateLimitResponses(refusal.policies, hasFields: state.hasFields)
            }
            let isTooLarge = decision.verdict == .tooLarge
            let retryAfter = isTooLarge ? 0 : spread(RateLimitResponses.seconds(decision.wait), state.jitter)
            // Set above.
            let answer = state.responses!.answer(to: decision, retryAfter: retryAfter)
            return Refusal(
                status: answer.response.status, retryAfter: retryAfter, response: answer.response, problem: answer.problem)
        }
    }

    /// Spreads the retries of clients that were refused together: adds up to the share `jitter` of `seconds`, in at most 17 steps, so that
    /// few responses are distinct. Steps of the golden ratio always fall into the widest gap.
    private func spread(_ seconds: Int, _ jitter: Double) -> Int {
        guard jitter > 0 else { return seconds }
        let most = (Double(seconds) * jitter).rounded(.up)
        let step = jitterState.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue
        let share = Double(step >> 11) * 0x1p-53
        guard most > 16 else { return seconds + Int(share * (most + 1)) }
        return seconds + Int((share * 17).rounded(.down) / 16 * most)
    }
}

extension IngressLimits.State {
    fileprivate init(_ settings: SluiceSettings) {
        self.init(
            trustedProxies: settings.http.trustedProxies, hasFields: settings.limits.headers,
            jitter: settings.limits.retryJitter, responses: nil)
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
        states.family(
            "sluice_ratelimit_quota", type: .gauge,
            help:
                "Quota of each policy (a bucket's burst, a window's limit), and the seconds in which it is refilled."
        ) { sink, statistics in
            for (policy, _) in statistics.policies {
                sink.sample(policy.capacity, ["policy": policy.name, "bound": "amount"])
                sink.sample(policy.seconds, ["policy": policy.name, "bound": "seconds"])
            }
        }
        states.family("sluice_ratelimit_keys", type: .gauge, help: "Clients with quotas of their own.") { sink, statistics in
            sink.sample(statistics.keys)
        }
        states.family(
            "sluice_ratelimit_overflow_total", type: .counter,
            help: "Charges to the quota shared by clients beyond limits.max_keys, refused ones included."
        ) { sink, statistics in sink.sample(statistics.overflowed) }
    }
}
