// Owns the requests that the server itself refuses, with its responses to them.

/// Why the server itself refuses a request.
public enum HTTPRefusal: Sendable, Hashable {
    /// No route has this path.
    case notFound
    /// The path exists, but not with this method. `allow` is the value of the `Allow` header.
    case methodNotAllowed(allow: String)
    /// The body has more bytes than the route takes.
    case bodyTooLarge(limit: Int)
    /// The body came below the minimum transfer rate.
    /// - Parameter isBatch: a reader has taken parts of it.
    case bodyTooSlow(isBatch: Bool)
    /// The request is ambiguous: its length is given twice, in two ways, or in an unknown coding, or a line of it is malformed.
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
    /// The handler's response has a header field that cannot be sent.
    case invalidHeader

    /// The response: its status, what is wrong and what to do about it, and header fields.
    public var parts: (status: Int, detail: String, fields: [(name: String, value: String)]) {
        let close = (name: "Connection", value: "close")
        let again = (name: "Retry-After", value: "1")
        return switch self {
        case .notFound: (404, "No route has this path.", [])
        case .methodNotAllowed(let allow): (405, "This path takes \(allow).", [("Allow", allow)])
        case .bodyTooLarge(let limit): (413, "The body of this request may have at most \(limit) bytes.", [])
        case .bodyTooSlow(isBatch: false): (408, "The body came too slowly.", [close])
        case .bodyTooSlow(isBatch: true):
            (408, "The body came too slowly; what had arrived of it may have been carried out.", [close])
        case .ambiguousLength:
            (
                400,
                "A request names its length once, by one Content-Length, or by Transfer-Encoding: chunked; and one Host. Its lines end with "
                    + "CR LF, and none is folded, has a NUL, or white space before its colon.", [close]
            )
        case .ambiguousPath:
            (400, "Send the path as it is: no character of it is percent-encoded here, and no slash or NUL may be.", [])
        case .unknownCoding:
            (
                415, "A body may be compressed with one of gzip and deflate, or not at all.",
                [("Accept-Encoding", "gzip, deflate")]
            )
        case .undecodable: (400, "The body is not what its Content-Encoding says, or ends too early.", [])
        case .tooManyConnections:
            (
                503, "There are too many connections, of all clients or of yours; nothing was done. Close some, or try again.",
                [again, close]
            )
        case .tooManyBodies: (503, "Too many large bodies are being read; nothing was done. Try again.", [again])
        case .stopping: (503, "The server is stopping; nothing was done. Try again.", [again, close])
        case .unanswered:
            (
                503, "The server stopped before this request was answered: it may or may not have been carried out.",
                [again, close]
            )
        case .invalidHeader: (500, "The answer to this request could not be written.", [])
        }
    }
}
