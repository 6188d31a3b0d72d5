// Owns the answer to a request or an event over a rate limit.

import Admission
import Backpressure
import HTTPServer
import Platform

/// An integer of a structured field has at most 15 digits (RFC 9651, section 3.3.1).
private let mostInField = 999_999_999_999_999.0

extension RateLimitRefusal {
    /// 429 with its header fields, or 413 where a policy can never let it pass.
    ///
    /// Header fields as in draft-ietf-httpapi-ratelimit-headers-11. A bucket's window is the time it takes to fill, so `q` and `w` follow
    /// from its burst and its rate. `t` is when the refused request would pass; Retry-After is never earlier. Quota units other than
    /// requests and bytes have no registered name: `qu="events"` is Sluice's own.
    /// - Parameters:
    ///   - hasFields: RateLimit and RateLimit-Policy are sent.
    ///   - delay: added to Retry-After, as a function of the least wait in seconds.
    func problem(hasFields: Bool, delay: (Int) -> Int) -> ProblemDetails {
        let isTooLarge = decision.verdict == .tooLarge
        let reset = Self.seconds(decision.wait)
        let violated = policies.indices.filter { decision.violated >> $0 & 1 == 1 }.map { policies[$0] }
        var fields = [ProblemDetails.Field(name: "Cache-Control", value: "no-store")]
        if hasFields {
            let inForce = policies.filter { !$0.isShadow }.map(\.field).joined(separator: ", ")
            fields.append(.init(name: "RateLimit-Policy", value: inForce))
            if !isTooLarge, policies.indices.contains(decision.policy) {
                let name = policies[decision.policy].name
                fields.append(.init(name: "RateLimit", value: "\"\(name)\";r=\(decision.remaining);t=\(reset)"))
            }
        }
        let members: [JSONValue.Member] = [.init("violated-policies", .array(violated.map { .string($0.name) }))]
        if isTooLarge {
            let most = violated.map { "\($0.name) (\($0.capacity) \($0.unit.rawValue))" }.joined(separator: ", ")
            return ProblemDetails(
                status: 413,
                detail:
                    "The request is larger than a policy ever allows at once: \(most). Send less at a time. Nothing was written.",
                members: members, possiblyPersisted: false, fields: fields)
        }
        let list = violated.map { "\($0.name) (\($0.sentence))" }.joined(separator: ", ")
        return ProblemDetails(
            status: 429,
            detail: "Rate limit exceeded: \(list). Try again after the time in Retry-After. Nothing was written.",
            type: "https://iana.org/assignments/http-problem-types#quota-exceeded", members: members, possiblyPersisted: false,
            retryAfter: reset + delay(reset), fields: fields)
    }

    /// Whole seconds, rounded up, at least 1.
    fileprivate static func seconds(_ nanoseconds: UInt64) -> Int {
        Int(clamping: Swift.max(1, nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)))
    }
}

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
            return "at most \(limit.amount) \(unit.rawValue) in \(RateLimitRefusal.seconds(limit.span)) s, \(scope)"
        }
    }
}
