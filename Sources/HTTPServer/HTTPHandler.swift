// Says what a server asks of the code that answers its requests.

/// Answers the requests of a server. Every method is called on the server's one loop thread: none may block.
public protocol HTTPHandler: Sendable {
    /// The routes that exist. Read once, when the server starts.
    var routes: HTTPRoutes { get }

    /// Whether a route, by its position, is served also to connections beyond the limits of connections: health checks and operators. Asked
    /// once for each route, when the server starts.
    func isPriority(_ route: Int) -> Bool

    /// The header of a request for a known route is there: read its body, or answer at once.
    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission

    /// The first bytes of a body are there whose request was admitted with ``HTTPAdmission/peek(limit:)``: say how it is to be read.
    func choose(_ head: borrowing HTTPRequestHead, firstBytes: UnsafeRawBufferPointer) -> HTTPBodyChoice

    /// The whole request is there. `exchange` takes the answer, now or later, from any thread; the request is valid during the
    /// call only.
    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange)

    /// The answer to what the server refuses by itself. Asked once per kind when the server starts, and per request for
    /// ``HTTPRefusal/bodyTooLarge(limit:)``.
    func response(to refusal: HTTPRefusal) -> HTTPResponse

    /// Everything that had arrived has been handled: the loop looks for more. Called once a turn of the loop.
    func iterationEnded()

    /// A request is over: for counting. Called once per request whose header was understood.
    func ended(_ outcome: HTTPOutcome)
}

extension HTTPHandler {
    /// No route is.
    public func isPriority(_ route: Int) -> Bool { false }

    /// Reads every body up to the server's limit.
    public func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission { .readBody() }

    /// Does nothing.
    public func iterationEnded() {}

    /// Collects every body.
    public func choose(_ head: borrowing HTTPRequestHead, firstBytes: UnsafeRawBufferPointer) -> HTTPBodyChoice { .collect() }

    /// Problem details (RFC 9457).
    public func response(to refusal: HTTPRefusal) -> HTTPResponse { refusal.problem }

    /// Counts nothing.
    public func ended(_ outcome: HTTPOutcome) {}
}

/// What becomes of a request whose header is there.
public enum HTTPAdmission: Sendable {
    /// Read the body, then call ``HTTPHandler/handle(_:_:)``. A body of more than `limit` bytes is refused with
    /// ``HTTPRefusal/bodyTooLarge(limit:)``; `nil` stands for the server's ``HTTPServerConfiguration/maxBodyBytes``.
    case readBody(limit: Int? = nil)
    /// Read the body piece by piece. One whose announced length is above `limit` is refused at once; of one that turns out longer the
    /// reader sees `limit` bytes. `nil`: as above.
    case stream(any HTTPBodyReader, limit: Int? = nil)
    /// Ask ``HTTPHandler/choose(_:firstBytes:)`` when the first bytes are there. `limit` bounds the body whatever is chosen. A body
    /// without bytes is collected.
    case peek(limit: Int? = nil)
    /// Answer with this. The body is read and dropped where it is short, so that the connection can be kept.
    case respond(HTTPResponse)
}

/// What the server refuses by itself.
public enum HTTPRefusal: Sendable, Equatable {
    /// No route has this path.
    case notFound
    /// The path exists, but not with this method. `allow` is the value of the `Allow` header.
    case methodNotAllowed(allow: String)
    /// The body has more bytes than the route takes.
    case bodyTooLarge(limit: Int)
    /// Where the request ends can be read in two ways: its length is given twice, or in two ways, or in a coding nobody knows.
    case ambiguousLength
    /// There are too many connections, of all clients or of this one.
    case tooManyConnections
    /// The memory for bodies is used up by others that have not ended.
    case tooManyBodies
    /// The server is stopping and takes no new requests.
    case stopping
    /// The server stopped before the request was answered: what became of it is not known.
    case unanswered

    /// The refusal as problem details (RFC 9457).
    public var problem: HTTPResponse {
        switch self {
        case .notFound:
            .problem(status: 404, title: "Not Found", detail: "No route has this path.")
        case .methodNotAllowed(let allow):
            .problem(
                status: 405, title: "Method Not Allowed", detail: "This path takes \(allow).", headers: [("Allow", allow)])
        case .bodyTooLarge(let limit):
            .problem(
                status: 413, title: "Content Too Large", detail: "The body of this request may have at most \(limit) bytes.")
        case .ambiguousLength:
            .problem(
                status: 400, title: "Bad Request",
                detail: "A request names its length once: by one Content-Length, or by Transfer-Encoding: chunked; and one Host.",
                headers: [("Connection", "close")])
        case .tooManyConnections:
            .problem(
                status: 503, title: "Service Unavailable",
                detail: "There are too many connections, of all clients or of yours; nothing was done. Close some, or try again.",
                extra: [.init("possibly_persisted", .bool(false))], headers: [("Retry-After", "1"), ("Connection", "close")])
        case .tooManyBodies:
            .problem(
                status: 503, title: "Service Unavailable",
                detail: "Too many large bodies are being read; nothing was done. Try again.",
                extra: [.init("possibly_persisted", .bool(false))], headers: [("Retry-After", "1")])
        case .stopping:
            .problem(
                status: 503, title: "Service Unavailable", detail: "The server is stopping; nothing was done. Try again.",
                extra: [.init("possibly_persisted", .bool(false))], headers: [("Retry-After", "1"), ("Connection", "close")])
        case .unanswered:
            .problem(
                status: 503, title: "Service Unavailable",
                detail: "The server stopped before this request was answered: it may or may not have been carried out.",
                extra: [.init("possibly_persisted", .bool(true))], headers: [("Retry-After", "1"), ("Connection", "close")])
        }
    }
}

/// How a request ended.
public struct HTTPOutcome: Sendable, Equatable {
    /// Its route's position in the handler's routes; `nil` where it had none.
    public let route: Int?
    /// The status it was answered with; `nil` where its connection ended before there was an answer.
    public let status: Int?
    /// The whole answer was handed to the kernel.
    public let isDelivered: Bool
}
