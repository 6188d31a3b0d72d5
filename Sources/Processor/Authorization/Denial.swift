// Owns the answers to requests that are not authorized.

import HTTPServer

/// Why a request is not authorized.
enum Denial: Int, Error, CaseIterable {
    case tokenMissing, tokenUnknown
    case sendWithoutTokens, foreignOrigin
    /// The settings open the route to nobody: it is as if it did not exist.
    case noSuchRoute
    case metricsNotLocal
    case adminTokenMissing, adminTokenUnknown, adminNotLocal

    /// 401, 403 or 404, made once.
    var response: HTTPResponse { Self.responses[rawValue] }

    private static let responses = allCases.map { $0.makeResponse().prepared() }

    private func makeResponse() -> HTTPResponse {
        switch self {
        case .noSuchRoute: HTTPRefusal.notFound.response
        case .tokenMissing:
            Self.unauthorized("This route requires the header Authorization: Bearer TOKEN.", #"Bearer realm="sluice""#)
        case .tokenUnknown:
            Self.unauthorized("The bearer token is not configured.", #"Bearer realm="sluice", error="invalid_token""#)
        case .adminTokenMissing:
            Self.unauthorized(
                "This route requires the header Authorization: Bearer with the token of http.admin_token.", "Bearer")
        case .adminTokenUnknown:
            Self.unauthorized("The bearer token is not the one of http.admin_token.", #"Bearer error="invalid_token""#)
        case .sendWithoutTokens:
            Self.forbidden(
                "The server listens on an address other than loopback and has no tokens: set http.tokens, or "
                    + "http.allow_unauthenticated.")
        case .foreignOrigin:
            Self.forbidden(
                "Without tokens, web pages may not send events, except those of this machine while the server listens on loopback. Set "
                    + "http.tokens and send one as a bearer token.")
        case .metricsNotLocal: Self.notLocal("metrics")
        case .adminNotLocal: Self.notLocal("admin")
        }
    }

    /// - Parameter purpose: of the token, as its key and its variable name it.
    private static func notLocal(_ purpose: String) -> HTTPResponse {
        forbidden(
            "Without a token, this route takes only requests of the server's own machine: to localhost or 127.0.0.1, not through a proxy, "
                + "and not from a web page of another host. Set http.\(purpose)_token (a file: "
                + "SLUICE_HTTP_\(purpose.uppercased())_TOKEN_FILE) and send it as a bearer token.")
    }

    private static func unauthorized(_ detail: String, _ challenge: String) -> HTTPResponse {
        ProblemDetails(status: 401, detail: detail, fields: [.init(name: "WWW-Authenticate", value: challenge)]).response
    }

    private static func forbidden(_ detail: String) -> HTTPResponse { ProblemDetails(status: 403, detail: detail).response }
}
