// Owns the responses to requests over a rate limit.

import Admission
import Backpressure
import HTTPServer

/// The refusals by one set of policies: 429 with its header fields, and 413 for a request that no policy can ever let pass. They are kept,
/// because most are alike.
///
/// Header fields as in draft-ietf-httpapi-ratelimit-headers-11. A bucket's window is the time it takes to fill, so `q` and `w` follow from
/// its burst and its rate. `t` is when the refused request would pass; Retry-After is never earlier. Quota units other than requests and
/// bytes have no registered name: `qu="events"` is Sluice's own.
struct RateLimitResponses: Sendable {
    /// What distinguishes two refusals for a client.
    private struct Shape: Hashable {
        let isTooLarge: Bool
        let violated: UInt32
        let policy: Int
        let remaining: Int
        let reset: Int
        let retryAfter: Int
    }

    /// A refusal as a whole response, and as the result of one event of a batch.
    struct Answer: Sendable {
        let response: HTTPResponse
        let problem: ProblemDetails
    }

    /// Most responses that are kept. Waits are whole seconds and mostly nothing remains of a quota, so few are distinct.
    private static let mostKept = 256
    private static let exceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

    let policies: RateLimitPolicies
    private let hasFields: Bool
    private let policyField: String
    private var kept: [Shape: Answer] = [:]

    /// - Parameter hasFields: RateLimit and RateLimit-Policy are sent.
    init(_ policies: RateLimitPolicies, hasFields: Bool) {
        self.policies = policies
        self.hasFields = hasFields
        policyField = policies.list.filter { !$0.isShadow }.map(\.field).joined(separator: ", ")
    }

    /// - Parameter retryAfter: seconds; not used if the request can never pass.
    mutating func answer(to decision: RateLimitDecision, retryAfter: Int) -> Answer {
        let shape = Shape(
            isTooLarge: decision.verdict == .tooLarge, violated: decision.violated, policy: decision.policy,
            remaining: decision.remaining, reset: Self.seconds(decision.wait), retryAfter: retryAfter)
        if let known = kept[shape] { return known }
        let problem = problem(shape)
        let answer = Answer(response: problem.response.prepared(), problem: problem)
        if kept.count >= Self.mostKept { kept.removeAll(keepingCapacity: true) }
        kept[shape] = answer
        return answer
    }

    private func problem(_ shape: Shape) -> ProblemDetails {
        let violated = policies.policies(in: shape.violated)
        var fields = [ProblemDetails.Field(name: "Cache-Control", value: "no-store")]
        if hasFields {
            fields.append(.init(name: "RateLimit-Policy", value: policyField))
            if !shape.isTooLarge, policies.list.indices.contains(shape.policy) {
                let name = policies.list[shape.policy].name
                fields.append(.init(name: "RateLimit", value: "\"\(name)\";r=\(shape.remaining);t=\(shape.reset)"))
            }
        }
        let detail: String
        if shape.isTooLarge {
            let most = violated.map { "\($0.name) (\($0.capacity) \($0.unit.rawValue))" }.joined(separator: ", ")
            detail = "The request is larger than a policy ever allows at once: \(most). Send less at a time. Nothing was written."
        } else {
            let list = violated.map { "\($0.name) (\($0.sentence))" }.joined(separator: ", ")
            detail = "Rate limit exceeded: \(list). Try again after the time in Retry-After. Nothing was written."
        }
        return ProblemDetails(
            status: shape.isTooLarge ? 413 : 429, detail: detail, type: shape.isTooLarge ? "about:blank" : Self.exceeded,
            members: [.init("violated-policies", .array(violated.map { .string($0.name) }))], possiblyPersisted: false,
            retryAfter: shape.isTooLarge ? nil : shape.retryAfter, fields: fields)
    }

    /// Whole seconds, rounded up, at least 1.
    static func seconds(_ nanoseconds: UInt64) -> Int {
        Int(clamping: Swift.max(1, nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)))
    }
}

/// An integer of a structured field has at most 15 digits (RFC 9651, section 3.3.1).
private let mostInField = 999_999_999_999_999.0

extension RateLimitPolicy {
    /// The policy as an item of the field RateLimit-Policy.
    fileprivate var field: String {
        let unit =
            switch unit {
            case .requests: ""
            case .events: ";qu=\"events\""
            case .bytes: ";qu=\"content-bytes\""
            }
        return "\"\(name)\";q=\(capacity)\(unit);w=\(Int(Swift.min(seconds.rounded(.up), mostInField)))"
    }

    /// `at most 2000 requests at once and 1000 a second, for each client`
    fileprivate var sentence: String {
        let scope =
            switch key {
            case .global: "for all clients together"
            case .client: "for each client"
            case .route: "for each route"
            }
        switch quota {
        case .bucket(let limit):
            let rate = limit.rate == limit.rate.rounded() && limit.rate < 1e15 ? "\(Int(limit.rate))" : "\(limit.rate)"
            return "at most \(limit.burst) \(unit.rawValue) at once and \(rate) a second, \(scope)"
        case .window(let limit):
            return "at most \(limit.amount) \(unit.rawValue) in \(RateLimitResponses.seconds(limit.span)) s, \(scope)"
        }
    }
}
