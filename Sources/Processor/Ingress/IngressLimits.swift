// Asks the limits in the name of the HTTP routes, and answers for those that are refused.

import Admission
import Backpressure
import HTTPServer
import Synchronization
import Telemetry

/// The limits of `POST /send`. A request is charged as one when its header is there, events and bytes as they arrive.
///
/// ```swift
/// if let refusal = limits.admit(head, name) { … }                        // at the header: one request
/// let client = limits.client(of: head, name)                             // kept for as long as the body arrives
/// if let refusal = limits.charge(client, events: 1, bytes: count) { … }  // before each event is produced
/// ```
final class IngressLimits: Sendable {
    /// Why something is refused.
    struct Refusal: Sendable {
        /// 429, or 413 where it is more than a policy ever lets pass.
        let status: Int
        /// Seconds after which the same would pass; 0 where it never does.
        let retryAfter: Int
        /// The whole answer, for a request that ends with it.
        let response: HTTPResponse
        /// The same for one event among others.
        let event: EventAnswer
    }

    fileprivate struct State {
        var trustedProxies: Int
        var hasFields: Bool
        var jitter: Double
        /// Of the policies that refused last.
        var answers: RateLimitResponses?
    }

    /// The only route that is limited; policies by route count for it.
    private static let route = 0

    private let limiter: RequestLimiter
    private let state: Mutex<State>
    private let spread = Atomic<UInt64>(.random(in: 0 ... .max))

    /// - Parameter clock: monotonic nanoseconds.
    init(_ settings: SluiceSettings, clock: @escaping @Sendable () -> UInt64 = MonotonicClock.nanoseconds) {
        limiter = RequestLimiter(settings.limits.requests, routes: 1, clock: clock)
        state = Mutex(State(settings))
    }

    /// Other limits are in force; levels are carried over.
    func update(_ settings: SluiceSettings) {
        limiter.update(settings.limits.requests)
        state.withLock { $0 = State(settings) }
    }

    /// Who sent a request, as the limits know it.
    /// - Parameter name: the one that it has proved to have, that of its token; `nil`: none.
    func client(of head: borrowing HTTPRequestHead, _ name: String?) -> LimitKey {
        if let name { return LimitKey(name: name) }
        let trusted = state.withLock { $0.trustedProxies }
        return ClientKeys.key(peer: head.peer, forwarded: trusted > 0 ? head.headers("X-Forwarded-For") : [], trusted: trusted)
    }

    /// A request's header is there: it is charged as a request. Events and bytes are looked at, so that whoever would be refused for them
    /// is refused before its body is read, and charged by ``charge(_:events:bytes:)``.
    /// - Parameter isStreamed: it may hold any number of events, which are charged one by one: nothing is asked of its whole length, since a
    ///   body that takes its time may pass whatever its length.
    func admit(_ head: borrowing HTTPRequestHead, _ name: String?, isStreamed: Bool = false) -> Refusal? {
        guard limiter.isLimited else { return nil }
        let bytes = isStreamed ? 0 : head.contentLength ?? 0
        return ask(client(of: head, name), LimitCost(requests: 1), expecting: LimitCost(events: 1, bytes: bytes))
    }

    /// Events have arrived and are charged, all or none. Whoever comes again with them pays for a request again.
    func charge(_ client: LimitKey, events: Int, bytes: Int) -> Refusal? {
        ask(client, LimitCost(events: events, bytes: bytes), expecting: .none, again: LimitCost(requests: 1))
    }

    /// What would be said of events that came in a request of their own now; nothing is charged.
    func look(_ client: LimitKey, events: Int, bytes: Int) -> Refusal? {
        ask(client, .none, expecting: LimitCost(requests: 1, events: events, bytes: bytes))
    }

    /// Events have arrived and are charged together, where all of them pass; otherwise nothing has happened.
    func chargeTogether(_ client: LimitKey, events: Int, bytes: Int) -> Bool {
        limiter.askTogether(
            LimitSubject(client: client, route: Self.route), LimitCost(events: events, bytes: bytes), pieces: events)
    }

    /// A whole body with one event has arrived and is charged.
    func charge(_ request: borrowing HTTPRequest, _ name: @autoclosure () -> String?) -> Refusal? {
        guard limiter.isLimited else { return nil }
        return charge(client(of: request.head, name()), events: 1, bytes: request.body.count)
    }

    private func ask(
        _ client: LimitKey, _ cost: LimitCost, expecting expected: LimitCost, again: LimitCost = .none
    ) -> Refusal? {
        limiter.ask(LimitSubject(client: client, route: Self.route), cost, expecting: expected, again: again).map(refusal)
    }

    private func refusal(_ refusal: LimitRefusal) -> Refusal {
        let decision = refusal.decision
        return state.withLock { state in
            if state.answers?.policies !== refusal.policies {
                state.answers = RateLimitResponses(refusal.policies, hasFields: state.hasFields)
            }
            let isTooLarge = decision.verdict == .tooLarge
            let retryAfter = isTooLarge ? 0 : later(RateLimitResponses.seconds(decision.wait), state.jitter)
            // Made in the lines above where there was none.
            let answer = state.answers!.answer(to: decision, retryAfter: retryAfter)
            let status = answer.response.status
            return Refusal(
                status: status, retryAfter: retryAfter, response: answer.response,
                event: EventAnswer(
                    status: status, detail: answer.detail, type: answer.type, members: answer.members,
                    retryAfter: isTooLarge ? nil : retryAfter, fields: answer.fields))
        }
    }

    /// Spreads those who were refused together, upwards only and to at most seventeen moments, so that answers can be kept. Steps of the
    /// golden ratio: the next one always falls into the widest gap.
    private func later(_ seconds: Int, _ jitter: Double) -> Int {
        guard jitter > 0 else { return seconds }
        let most = (Double(seconds) * jitter).rounded(.up)
        let step = spread.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue
        let share = Double(step >> 11) * 0x1p-53
        guard most > 16 else { return seconds + Int(share * (most + 1)) }
        return seconds + Int((share * 17).rounded(.down) / 16 * most)
    }
}

extension IngressLimits.State {
    fileprivate init(_ settings: SluiceSettings) {
        self.init(
            trustedProxies: settings.http.trustedProxies, hasFields: settings.limits.headers,
            jitter: settings.limits.retryJitter, answers: nil)
    }
}

extension IngressLimits {
    /// Shows what the policies have decided, and what they are.
    func register(on registry: MetricsRegistry) {
        let states = registry.sharedCollector { [limiter] in limiter.statistics }
        states.family(
            "sluice_ratelimit_decisions_total", type: .counter,
            help:
                "Decisions of each policy: pieces it was charged with, refused, would have refused in shadow mode, or never lets pass."
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
                "What each policy lets pass at once: a bucket's burst, a window's limit; and within how many seconds that comes again."
        ) { sink, statistics in
            for (policy, _) in statistics.policies {
                sink.sample(policy.capacity, ["policy": policy.name, "bound": "amount"])
                sink.sample(policy.seconds, ["policy": policy.name, "bound": "seconds"])
            }
        }
        states.family("sluice_ratelimit_keys", type: .gauge, help: "Clients that have quotas of their own.") { sink, statistics in
            sink.sample(statistics.keys)
        }
        states.family(
            "sluice_ratelimit_overflow_total", type: .counter,
            help: "Pieces that asked the quota which clients share for whom there was no room, refused ones included."
        ) { sink, statistics in sink.sample(statistics.overflowed) }
    }
}
