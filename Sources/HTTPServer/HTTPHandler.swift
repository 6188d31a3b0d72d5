// Owns the protocol between a server and the code that handles its requests.

/// Handles the requests of a server. Every method is called on the server's one loop thread and must not block.
public protocol HTTPHandler: Sendable {
    /// The routes. Read once, when the server starts.
    var routes: HTTPRoutes { get }

    /// Whether a route, by its position, is a priority route: it is served to connections in reserved slots as well. For health checks and
    /// operators. Asked once for each route, when the server starts.
    func isPriority(_ route: Int) -> Bool

    /// The header of a request for a known route was received: read its body, or respond at once.
    func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission

    /// The first bytes of a body were received whose request was admitted with ``HTTPAdmission/peek(limit:context:)``: choose how it is read.
    func choose(
        _ head: borrowing HTTPRequestHead, _ exchange: HTTPExchange, firstBytes: UnsafeRawBufferPointer
    ) -> HTTPBodyChoice

    /// The whole request was received. `exchange` takes the response, now or later, from any thread; the request is valid during the
    /// call only.
    func handle(_ request: borrowing HTTPRequest, _ exchange: HTTPExchange)

    /// The response to a request that the server itself refuses. Asked once for each kind, and for each body that is too long.
    func response(to refusal: HTTPRefusal) -> HTTPResponse

    /// The response to a request whose body is longer than `limit`.
    func responseToLongBody(of exchange: HTTPExchange, limit: Int) -> HTTPResponse

    /// Everything that had been received is handled. Called at the end of each iteration of the loop.
    func iterationEnded()

    /// A request is over. Called once for each request whose header was understood.
    func ended(_ outcome: HTTPOutcome, _ exchange: HTTPExchange)
}

extension HTTPHandler {
    /// There are no priority routes.
    public func isPriority(_ route: Int) -> Bool { false }

    /// Reads every body up to the server's limit.
    public func admit(_ head: borrowing HTTPRequestHead) -> HTTPAdmission { .readBody() }

    /// Does nothing.
    public func iterationEnded() {}

    /// Collects every body.
    public func choose(
        _ head: borrowing HTTPRequestHead, _ exchange: HTTPExchange, firstBytes: UnsafeRawBufferPointer
    ) -> HTTPBodyChoice { .collect() }

    /// Plain text.
    public func response(to refusal: HTTPRefusal) -> HTTPResponse {
        let (status, detail, fields) = refusal.parts
        return .text(status, detail + "\n", headers: fields)
    }

    /// That to ``HTTPRefusal/bodyTooLarge(limit:)``.
    public func responseToLongBody(of exchange: HTTPExchange, limit: Int) -> HTTPResponse {
        response(to: .bodyTooLarge(limit: limit))
    }

    /// Does nothing.
    public func ended(_ outcome: HTTPOutcome, _ exchange: HTTPExchange) {}
}

/// What happens to a request after its header. `context` is what the handler knows of the request by then; it finds it as
/// ``HTTPExchange/context``.
public enum HTTPAdmission: Sendable {
    /// Read the body, then call ``HTTPHandler/handle(_:_:)``. A body of more than `limit` bytes is refused; `nil` stands for the server's
    /// ``HTTPServerConfiguration/maxBodyBytes``.
    case readBody(limit: Int? = nil, context: (any AnyObject & Sendable)? = nil)
    /// Read the body piece by piece. A body whose Content-Length is above `limit` is refused at once; of a longer one without a length the
    /// reader gets `limit` bytes. `nil`: as above.
    case stream(any HTTPBodyReader, limit: Int? = nil, context: (any AnyObject & Sendable)? = nil)
    /// Call ``HTTPHandler/choose(_:_:firstBytes:)`` with the first bytes. `limit` applies whatever is chosen. An empty body is collected.
    case peek(limit: Int? = nil, context: (any AnyObject & Sendable)? = nil)
    /// Respond with this. A short body is read and dropped, so that the connection can be kept.
    case respond(HTTPResponse, context: (any AnyObject & Sendable)? = nil)
}

/// How a request ended.
public struct HTTPOutcome: Sendable, Equatable {
    /// Its route's position in the handler's routes; `nil` where it had none.
    public let route: Int?
    /// The status of its response; `nil` where its connection ended before there was one.
    public let status: Int?
    /// The whole response was handed to the kernel.
    public let isDelivered: Bool
    /// Bytes of its body that came off the wire, refused and dropped ones included.
    public let wireBytes: Int
    /// Nanoseconds from its header to the end of its response.
    public let duration: UInt64
}
