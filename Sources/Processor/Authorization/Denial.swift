// Owns the answers to requests that are not authorized.

import HTTPServer

/// Why a request is not authorized.
enum Denial: Int, Error, CaseIterable {
    case tokenMissing, tokenUnknown
    case sendWithoutTokens, foreignOrigin
    case metricsNotLocal
    case adminTokenMissing, adminTokenUnknown
    case adminNotOnLoopback, adminNotLocal, adminHostNotLoopback

    /// 401 or 403, made once.
    var response: HTTPResponse { Self.responses[rawValue] }

    private static let responses = allCases.map { $0.makeResponse().prepared() }

    private func makeResponse() -> HTTPResponse {
        let admin = "Set http.admin_token (a file: SLUICE_HTTP_ADMIN_TOKEN_FILE) and send it as a bearer token."
        return switch self {
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
                "Without tokens, web pages of other hosts may not send events. Set http.tokens and send one as a bearer token.")
        case .metricsNotLocal:
            Self.forbidden(
                "Without a token, metrics are served to local requests only. Set http.metrics_token (a file: "
                    + "SLUICE_HTTP_METRICS_TOKEN_FILE) and send it as a bearer token.")
        case .adminNotOnLoopback:
            Self.forbidden("Without a token, this route works only while the server listens on loopback. \(admin)")
        case .adminNotLocal:
            Self.forbidden("Without a token, this route takes only requests from the server's own machine. \(admin)")
        case .adminHostNotLoopback:
            Self.forbidden("Without a token, this route must be requested as localhost or 127.0.0.1. \(admin)")
        }
    }

    private static func unauthorized(_ detail: String, _ challenge: String) -> HTTPResponse {
        ProblemDetails(status: 401, detail: detail, fields: [.init(name: "WWW-Authenticate", value: challenge)]).response
    }

    private static func forbidden(_ detail: String) -> HTTPResponse { ProblemDetails(status: 403, detail: detail).response }
}
