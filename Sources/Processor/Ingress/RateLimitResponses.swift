// Owns the answers to what the limits refuse: what does not change is written once, and what came before is sent again.

import Admission
import Backpressure
import HTTPServer

/// The refusals of one set of policies: 429 with its header fields, and 413 for what no policy ever lets pass.
///
/// Header fields as in draft-ietf-httpapi-ratelimit-headers-11. A bucket's window is the time it takes to fill, so that `q` and `w` say no
/// more than its burst and its rate. `t` is when what was refused would pass; Retry-After is never before it. Units other than requests
/// and bytes have no registered name: `qu="events"` is ours.
struct RateLimitResponses: Sendable {
    /// What tells two refusals apart for a client.
    private struct Shape: Hashable {
        let isTooLarge: Bool
        let violated: UInt32
        let policy: Int
        let remaining: Int
        let reset: Int
        let retryAfter: Int
    }

    /// What all refusals by the same policies share.
    private struct Text: Sendable {
        let title: String
        let type: String
        let detail: String
        let members: [JSONValue.Member]
    }

    /// A refusal as a whole answer, and what is needed of it for one event among others.
    struct Answer: Sendable {
        let response: HTTPResponse
        let type: String
        let detail: String
        let members: [JSONValue.Member]
        /// Header fields beside Retry-After.
        let fields: [EventAnswer.Field]
    }

    /// Answers that are kept. Waits are whole seconds and what is left is mostly nothing, so few are ever needed.
    private static let mostKept = 256
    private static let exceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

    /// What the answers speak of.
    let policies: LimitPolicies
    private let hasFields: Bool
    private let policyField: String
    private var texts: [UInt64: Text] = [:]
    private var kept: [Shape: Answer] = [:]

    /// - Parameter hasFields: RateLimit and RateLimit-Policy are sent.
    init(_ policies: LimitPolicies, hasFields: Bool) {
        self.policies = policies
        self.hasFields = hasFields
        policyField = policies.list.filter { !$0.isShadow }.map(\.field).joined(separator: ", ")
    }

    /// - Parameter retryAfter: seconds until the client should come back.
    mutating func answer(to decision: LimitDecision, retryAfter: Int) -> Answer {
        let shape = Shape(
            isTooLarge: decision.verdict == .tooLarge, violated: decision.violated, policy: decision.policy,
            remaining: decision.remaining, reset: Self.seconds(decision.wait), retryAfter: retryAfter)
        if let known = kept[shape] { return known }
        let text = text(shape)
        var fields = [EventAnswer.Field(name: "Cache-Control", value: "no-store")]
        if hasFields {
            fields.append(.init(name: "RateLimit-Policy", value: policyField))
            if !shape.isTooLarge, policies.list.indices.contains(shape.policy) {
                let name = policies.list[shape.policy].name
                fields.append(.init(name: "RateLimit", value: "\"\(name)\";r=\(shape.remaining);t=\(shape.reset)"))
            }
        }
        let wait = shape.isTooLarge ? [] : [(name: "Retry-After", value: "\(retryAfter)")]
        let response = HTTPResponse.problem(
            status: shape.isTooLarge ? 413 : 429, title: text.title, detail: text.detail, type: text.type,
            extra: text.members, headers: wait + fields.map { ($0.name, $0.value) }
        ).prepared()
        let answer = Answer(
            response: response, type: text.type, detail: text.detail, members: text.members, fields: fields)
        if kept.count >= Self.mostKept { kept.removeAll(keepingCapacity: true) }
        kept[shape] = answer
        return answer
    }

    private mutating func text(_ shape: Shape) -> Text {
        let key = UInt64(shape.violated) << 1 | (shape.isTooLarge ? 1 : 0)
        if let known = texts[key] { return known }
        let violated = policies.named(by: shape.violated)
        let members: [JSONValue.Member] = [
            .init("violated-policies", .array(violated.map { .string($0.name) })), .init("possibly_persisted", .bool(false)),
        ]
        let text: Text
        if shape.isTooLarge {
            let most = violated.map { "\($0.name) (\($0.capacity) \($0.unit.rawValue))" }.joined(separator: ", ")
            text = Text(
                title: "Content Too Large", type: "about:blank",
                detail: "This is more than a policy ever lets pass at once: \(most). Send less at a time. Nothing was written.",
                members: members)
        } else {
            let list = violated.map { "\($0.name) (\($0.sentence))" }.joined(separator: ", ")
            text = Text(
                title: "Too Many Requests", type: Self.exceeded,
                detail: "More than is allowed: \(list). Retry-After says when this would pass. Nothing was written.",
                members: members)
        }
        // As many as there are sets of policies: an attacker chooses few of them.
        if texts.count >= Self.mostKept { texts.removeAll() }
        texts[key] = text
        return text
    }

    /// Whole seconds, rounded up, at least 1.
    static func seconds(_ nanoseconds: UInt64) -> Int {
        Int(clamping: Swift.max(1, nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)))
    }
}

/// An integer of a structured field has at most 15 digits (RFC 9651, section 3.3.1).
private let mostInField = 999_999_999_999_999.0

extension LimitPolicy {
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

    /// `at most 2000 requests at once and 1000 a second, of each client`
    fileprivate var sentence: String {
        let whom =
            switch key {
            case .global: "of all together"
            case .client: "of each client"
            case .route: "for each route"
            }
        switch quota {
        case .bucket(let limit):
            let rate = limit.rate == limit.rate.rounded() && limit.rate < 1e15 ? "\(Int(limit.rate))" : "\(limit.rate)"
            return "at most \(limit.burst) \(unit.rawValue) at once and \(rate) a second, \(whom)"
        case .window(let limit):
            return "at most \(limit.amount) \(unit.rawValue) in \(RateLimitResponses.seconds(limit.span)) s, \(whom)"
        }
    }
}
