// Owns what one event is answered, alone or among the results of a batch.

import HTTPServer

/// Why an event was not acknowledged.
struct EventAnswer: Sendable, Equatable {
    let status: Int
    /// This occurrence, and what to do about it. Never a payload.
    let detail: String
    /// What kind of problem it is, a URI.
    var type = "about:blank"
    /// Further members for machines.
    var members: [JSONValue.Member] = []
    /// Seconds after which trying again can help; `nil`: it cannot, or nobody knows.
    var retryAfter: Int?
    /// Further header fields, of an answer that has nothing else to say.
    var fields: [Field] = []

    /// A header field.
    struct Field: Sendable, Equatable {
        let name: String
        let value: String
    }

    var title: String {
        switch status {
        case 400: "Bad Request"
        case 413: "Content Too Large"
        case 429: "Too Many Requests"
        case 503: "Service Unavailable"
        default: "Internal Server Error"
        }
    }

    var headers: [(name: String, value: String)] {
        (retryAfter.map { [("Retry-After", "\($0)")] } ?? []) + fields.map { ($0.name, $0.value) }
    }

    /// The answer to a request with this event alone.
    var response: HTTPResponse {
        .problem(status: status, title: title, detail: detail, type: type, extra: members, headers: headers)
    }

    /// One element of a batch's `results`.
    var result: JSONValue {
        var all: [JSONValue.Member] = [.init("status", .integer(status)), .init("detail", .string(detail))] + members
        if let retryAfter { all.append(.init("retry_after", .integer(retryAfter))) }
        return .object(all)
    }

    /// 400: the event breaks a rule of the mapping.
    static func bad(reason: String, detail: String) -> EventAnswer {
        EventAnswer(status: 400, detail: detail, members: [.init("reason", .string(reason))])
    }

    /// 503: a retry can help. Whether it could write the event twice is there for machines, too.
    static func unavailable(_ detail: String, mayBePersisted: Bool = false) -> EventAnswer {
        EventAnswer(status: 503, detail: detail, members: [persisted(mayBePersisted)], retryAfter: 1)
    }

    /// 500: a retry is useless until an operator has done something.
    static func failed(_ code: String, _ detail: String) -> EventAnswer {
        EventAnswer(status: 500, detail: detail, members: [.init("code", .string(code)), persisted(false)])
    }

    private static func persisted(_ isPossible: Bool) -> JSONValue.Member { .init("possibly_persisted", .bool(isPossible)) }
}
