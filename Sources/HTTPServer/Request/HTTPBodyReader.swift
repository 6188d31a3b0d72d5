// Says how a handler takes a body piece by piece, and how it makes the sender wait.

/// Takes one request's body in pieces. Every method is called on the server's one loop thread: none may block.
///
/// Nothing is buffered for it: what it does not take stays in the connection's memory and, behind that, in the sender's.
public protocol HTTPBodyReader: AnyObject, Sendable {
    /// A piece of the body: not empty, not longer than the connection's memory, valid during the call. The bytes behind its end
    /// are not to be read.
    func read(_ piece: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> HTTPBodyDemand

    /// The body is over. Unless the reader says ``HTTPBodyDemand/later(taken:within:)``, after which it is asked again, `exchange`
    /// takes the answer, now or later, from any thread.
    func ended(_ end: HTTPBodyEnd, _ exchange: HTTPExchange) -> HTTPBodyDemand

    /// The request is over before its body was: the client left, or the server stops. Called instead of ``ended(_:_:)``; there is
    /// nobody to answer.
    func abandoned()
}

/// What a reader wants next.
public enum HTTPBodyDemand: Sendable, Equatable {
    /// The piece was taken whole.
    case more
    /// Not now. The first `taken` bytes were taken, fewer than the piece has; at the body's end it is 0. Nothing is read from the
    /// connection until ``HTTPExchange/resumeReading()``, or until `within` has passed; then what was not taken is offered again.
    case later(taken: Int, within: Duration)
    /// No more is wanted: the rest of the body is dropped, up to ``HTTPServerConfiguration/streamDiscardBytes``, because an answer
    /// can only be sent behind a body. A longer rest ends the connection.
    case enough
}

/// How a body came to its end.
public enum HTTPBodyEnd: Sendable, Equatable {
    /// All of it was offered, or the reader had said ``HTTPBodyDemand/enough``.
    case complete
    /// It is longer than `limit` bytes; those were offered, the rest was dropped.
    case tooLong(limit: Int)
}

/// What becomes of a body whose first bytes are there: see ``HTTPAdmission/peek(limit:)``.
public enum HTTPBodyChoice: Sendable {
    /// Collect it, then call ``HTTPHandler/handle(_:_:)``. `limit`: as for ``HTTPAdmission/readBody(limit:)``.
    case collect(limit: Int? = nil)
    /// The reader takes it, these bytes included.
    case stream(any HTTPBodyReader)
    /// These bytes mean nothing: drop them and ask again with the next.
    case skip
}
