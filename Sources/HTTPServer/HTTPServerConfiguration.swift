// Says how a server listens and what a client may cost it.

/// How a server listens, and what one client may cost it.
public struct HTTPServerConfiguration: Sendable {
    /// Address to listen on: a numeric address, or a name that is looked up once at start. `::` takes IPv4 too.
    public var host: String
    /// Port to listen on; 0 takes a free one, which ``HTTPServer/port`` then names.
    public var port: UInt16
    /// Connections open at once; further ones wait in the kernel's backlog.
    public var connectionLimit = 4096
    /// Connections open at once from one address; further ones are closed at once. 0: no limit.
    public var connectionsPerAddress = 0
    /// A connection on which nothing happens for so long is closed, whole seconds. A connection that waits for its answer is exempt.
    public var idleTimeout: Duration = .seconds(60)
    /// Longest body that is read, in bytes, where the handler asks for no other bound. A longer one is answered with 413.
    public var maxBodyBytes = 1 << 20
    /// Bytes of a refused body that are still read, so that the client sees the answer and keeps its connection. A longer one is
    /// answered before its body where its length is known, and otherwise ends the connection.
    public var discardBytes = 1 << 20
    /// The same for a body that is read piece by piece and was cut short: by then it is too late to answer before its end.
    public var streamDiscardBytes = 16 << 20
    /// Memory of one connection in bytes: the bound on a request's header, and the size of the pieces bodies arrive in. It is
    /// cleared for every request: 128 KiB instead of 16 halves the rate.
    public var poolBytes = 16 << 10
    /// Connections the kernel completes before they are accepted.
    public var backlog = 1024
    /// How long unanswered requests are given to hear that the server is stopping, after the deadline of ``HTTPServer/stop(deadline:)``.
    public var farewell: Duration = .milliseconds(250)

    /// A server at `host` and `port`; everything else has defaults.
    public init(host: String = "127.0.0.1", port: UInt16 = 8000) {
        self.host = host
        self.port = port
    }

    /// Throws where a value cannot work.
    func check() throws(HTTPServerError) {
        let least = [
            ("connectionLimit", connectionLimit, 1), ("connectionsPerAddress", connectionsPerAddress, 0),
            ("idleTimeout", Int(idleTimeout.components.seconds), 1), ("maxBodyBytes", maxBodyBytes, 0),
            ("farewell", Int(farewell.components.seconds), 0), ("discardBytes", discardBytes, 0),
            ("streamDiscardBytes", streamDiscardBytes, 0), ("poolBytes", poolBytes, 1024),
            ("backlog", backlog, 1),
        ]
        for (name, value, minimum) in least where value < minimum || value > Int(Int32.max) {
            throw HTTPServerError(
                .invalidConfiguration, "HTTP server: \(name) is \(value); it must lie between \(minimum) and \(Int32.max)")
        }
    }
}

/// How much a log line matters.
public enum HTTPLogLevel: Sendable {
    /// Trouble of a single connection: malformed requests, connections that break.
    case debug
    /// Something an operator should know.
    case warning
    /// Something that was expected to work did not.
    case error
}
