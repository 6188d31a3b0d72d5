// Owns problem details (RFC 9457): the answer to a request that failed, or to one event of a batch.

import HTTPServer
import Platform
import Records

/// Why a request or an event failed.
struct ProblemDetails: Error, Equatable {
    let status: Int
    /// This occurrence, and what to do about it. Never a payload.
    var detail: String
    /// A URI that names the kind of problem.
    var type = "about:blank"
    /// The kind of problem; empty: that of the status.
    var ownTitle = ""
    /// Further members for programs.
    var members: [JSONValue.Member] = []
    /// Whether what was asked for may have been written although the request failed; `nil`: the problem does not say.
    var possiblyPersisted: Bool?
    /// Seconds after which trying again can help; `nil`: it cannot, or it is not known.
    var retryAfter: Int?
    /// Further header fields of a whole response.
    var fields: [Field] = []

    /// A header field.
    struct Field: Sendable, Equatable {
        let name: String
        let value: String
    }

    private var allMembers: [JSONValue.Member] {
        members + (possiblyPersisted.map { [.init("possibly_persisted", .bool($0))] } ?? [])
    }

    /// The header fields of a whole response, without its content type.
    var headers: [(name: String, value: String)] {
        (retryAfter.map { [("Retry-After", "\($0)")] } ?? []) + fields.map { ($0.name, $0.value) }
    }

    /// The members of a whole response.
    var object: [JSONValue.Member] {
        [
            .init("type", .string(type)), .init("title", .string(ownTitle.isEmpty ? HTTPResponse.reason(status) : ownTitle)),
            .init("status", .integer(status)),
            .init("detail", .string(detail)),
        ] + allMembers
    }

    /// A whole response: `application/problem+json`.
    var response: HTTPResponse {
        HTTPResponse(
            status: status, headers: [("Content-Type", "application/problem+json")] + headers,
            body: JSONValue.object(object).utf8)
    }

    /// One element of a batch's `results`.
    var result: JSONValue {
        let wait: [JSONValue.Member] = retryAfter.map { [.init("retry_after", .integer($0))] } ?? []
        return .object([.init("status", .integer(status)), .init("detail", .string(detail))] + allMembers + wait)
    }

    /// 400: the event breaks a rule of the mapping.
    static func invalidEvent(reason: String, detail: String) -> ProblemDetails {
        ProblemDetails(status: 400, detail: detail, members: [.init("reason", .string(reason))])
    }

    /// 503: trying again can help.
    static func unavailable(_ detail: String, possiblyPersisted: Bool = false) -> ProblemDetails {
        ProblemDetails(status: 503, detail: detail, possiblyPersisted: possiblyPersisted, retryAfter: 1)
    }

    /// 500: trying again is useless until an operator has done something.
    static func failed(_ code: String, _ detail: String) -> ProblemDetails {
        ProblemDetails(status: 500, detail: detail, members: [.init("code", .string(code))], possiblyPersisted: false)
    }
}

extension DecodeFault {
    /// The event is not JSON.
    var isMalformed: Bool { reason == "malformed_json" || reason == "too_deep" }
}

extension ProblemDetails {
    /// 400: `event` breaks a rule of the mapping.
    static func invalidEvent(_ fault: DecodeFault, in event: UnsafeRawBufferPointer) -> ProblemDetails {
        var problem = invalidEvent(reason: fault.reason, detail: fault.detail)
        if fault.isMalformed, let second = BoundaryMachine.secondDocument(in: event) {
            problem.detail +=
                " A second document begins at byte \(second). Send one event a line as application/x-ndjson, with curl"
                + " by --data-binary: -d removes the ends of lines."
        }
        return problem
    }
}

extension HTTPRefusal {
    /// The refusal as problem details; a 503 says whether the request may have been carried out all the same.
    var response: HTTPResponse {
        let (status, detail, fields) = parts
        var problem = ProblemDetails(status: status, detail: detail, fields: fields.map(ProblemDetails.Field.init))
        switch self {
        case .tooManyConnections, .tooManyBodies, .stopping: problem.possiblyPersisted = false
        case .unanswered, .bodyTooSlow(isBatch: true): problem.possiblyPersisted = true
        case .notFound: problem.detail = "No route has this path; GET /openapi.json names those there are."
        default: break
        }
        return problem.response
    }
}
