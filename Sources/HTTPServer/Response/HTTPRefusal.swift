// Owns the requests that the server itself refuses, with its responses to them.

/// Why the server itself refuses a request.
public enum HTTPRefusal: Sendable, Equatable {
    /// No route has this path.
    case notFound
    /// The path exists, but not with this method. `allow` is the value of the `Allow` header.
    case methodNotAllowed(allow: String)
    /// The body has more bytes than the route takes.
    case bodyTooLarge(limit: Int)
    /// The body came below the minimum transfer rate.
    case bodyTooSlow
    /// The end of the request is ambiguous: its length is given twice, in two ways, or in an unknown coding.
    case ambiguousLength
    /// The path is percent-encoded in a way that other servers may read as another path.
    case ambiguousPath
    /// The body has a Content-Encoding that is not decoded.
    case unknownCoding
    /// The body is not what its Content-Encoding says.
    case undecodable
    /// There are too many connections, of all clients or of this one.
    case tooManyConnections
    /// The memory for bodies is in use by other requests.
    case tooManyBodies
    /// The server is stopping and takes no new requests.
    case stopping
    /// The server stopped before the handler responded: the request may have been carried out.
    case unanswered

    /// The refusal as problem details (RFC 9457).
    /// - Parameter members: further members of the JSON object.
    public func problem(_ members: [JSONValue.Member] = []) -> HTTPResponse {
        switch self {
        case .notFound:
            .problem(status: 404, title: "Not Found", detail: "No route has this path.", extra: members)
        case .methodNotAllowed(let allow):
            .problem(
                status: 405, title: "Method Not Allowed", detail: "This path takes \(allow).", extra: members,
                headers: [("Allow", allow)])
        case .bodyTooLarge(let limit):
            .problem(
                status: 413, title: "Content Too Large", detail: "The body of this request may have at most \(limit) bytes.",
                extra: members)
        case .bodyTooSlow:
            .problem(
                status: 408, title: "Request Timeout", detail: "The body came too slowly.", extra: members, headers: [Self.close])
        case .ambiguousLength:
            .problem(
                status: 400, title: "Bad Request",
                detail:
                    "A request names its length once, by one Content-Length, or by Transfer-Encoding: chunked; and one Host. Its lines end "
                    + "with CR LF, and none is folded.",
                extra: members, headers: [Self.close])
        case .ambiguousPath:
            .problem(
                status: 400, title: "Bad Request",
                detail: "Send the path as it is: no character of it is percent-encoded here, and no slash or NUL may be.",
                extra: members)
        case .unknownCoding:
            .problem(
                status: 415, title: "Unsupported Media Type",
                detail: "A body may be compressed with one of gzip and deflate, or not at all.",
                extra: members, headers: [("Accept-Encoding", "gzip, deflate")])
        case .undecodable:
            .problem(
                status: 400, title: "Bad Request", detail: "The body is not what its Content-Encoding says, or ends too early.",
                extra: members)
        case .tooManyConnections:
            unavailable(
                "There are too many connections, of all clients or of yours; nothing was done. Close some, or try again.", members
            )
        case .tooManyBodies:
            unavailable("Too many large bodies are being read; nothing was done. Try again.", members, isClosing: false)
        case .stopping:
            unavailable("The server is stopping; nothing was done. Try again.", members)
        case .unanswered:
            unavailable("The server stopped before this request was answered: it may or may not have been carried out.", members)
        }
    }

    private static let close = ("Connection", "close")

    private func unavailable(_ detail: String, _ members: [JSONValue.Member], isClosing: Bool = true) -> HTTPResponse {
        .problem(
            status: 503, title: "Service Unavailable", detail: detail, extra: members,
            headers: [("Retry-After", "1")] + (isClosing ? [Self.close] : []))
    }
}
