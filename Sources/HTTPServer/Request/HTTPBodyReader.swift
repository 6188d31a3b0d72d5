// Owns the protocol by which a handler takes a body piece by piece and suspends its request.

/// Takes one request's body in pieces. Every method is called on the server's one loop thread: none may block.
///
/// Nothing is buffered for it: bytes that it does not take stay in the connection's memory, in the kernel, and with the client (TCP flow
/// control).
public protocol HTTPBodyReader: AnyObject, Sendable {
    /// A piece of the body: not empty, at most as long as the connection's memory, valid during the call. The bytes after its end must not
    /// be read.
    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand

    /// The body is over. After ``HTTPBodyDemand/later(taken:within:)`` this is called again; otherwise `exchange` takes the response, now or
    /// later, from any thread.
    func ended(_ end: HTTPBodyEnd, _ exchange: HTTPExchange) -> HTTPBodyDemand

    /// The request ended before its body: the client left, or the server stops. Called instead of ``ended(_:_:)``; no response can be
    /// sent.
    func abandoned()
}

/// What the server does next with the body.
public enum HTTPBodyDemand: Sendable, Equatable {
    /// Read on: the piece was taken whole.
    case more
    /// Suspend the request. The first `taken` bytes were taken, fewer than the piece has; 0 at the body's end. The connection is not read
    /// until `within` has passed; then the bytes that were not taken are offered again.
    case later(taken: Int, within: Duration)
    /// Drop the rest of the body, up to ``HTTPServerConfiguration/streamDiscardBytes``, because the response takes its time. A longer rest ends
    /// the connection.
    case enough
}

/// How a body ended.
public enum HTTPBodyEnd: Sendable, Equatable {
    /// All of it was offered, or the reader had returned ``HTTPBodyDemand/enough``.
    case complete
    /// It is longer than `limit` bytes; those were offered, the rest was dropped.
    case tooLong(limit: Int)
    /// It is not what its Content-Encoding says, or ends too early; what could be decoded was offered.
    case undecodable
}

/// How a body is read, by its first bytes: see ``HTTPAdmission/peek(limit:context:)``.
public enum HTTPBodyChoice: Sendable {
    /// Collect it, then call ``HTTPHandler/handle(_:_:)``. `limit`: as for ``HTTPAdmission/readBody(limit:context:)``.
    case collect(limit: Int? = nil)
    /// Pass it to the reader, these bytes included.
    case stream(any HTTPBodyReader)
    /// Drop these bytes and ask again with the next ones.
    case skip
}
