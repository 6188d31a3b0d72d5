// Owns what the ingress adds to the HTTP server's own refusals.

import HTTPServer

extension HTTPRefusal {
    /// The refusal as problem details; a 503 says whether the request may have been carried out all the same.
    var response: HTTPResponse {
        switch self {
        case .tooManyConnections, .tooManyBodies, .stopping: problem([.init("possibly_persisted", .bool(false))])
        case .unanswered, .bodyTooSlow(isBatch: true): problem([.init("possibly_persisted", .bool(true))])
        case .notFound:
            ProblemDetails(status: 404, detail: "No route has this path; GET /openapi.json names those there are.").response
        case .methodNotAllowed, .bodyTooLarge, .bodyTooSlow(isBatch: false), .ambiguousLength, .ambiguousPath, .unknownCoding,
            .undecodable:
            problem()
        }
    }
}
