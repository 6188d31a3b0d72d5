// Owns a running server: start, stop, reload, and statistics.

internal import CMicrohttpd
internal import Glibc
internal import Platform
internal import Synchronization

/// An HTTP/1.1 server with one thread of its own.
///
/// It serves until ``stop(deadline:)`` has returned; a server that is released without it stops at once.
public final class HTTPServer: Sendable {
    /// Counts and levels of a server at one moment.
    public struct Statistics: Sendable {
        /// Connections that are open.
        public internal(set) var openConnections = 0
        /// Requests whose header was received and whose response is not yet sent.
        public internal(set) var requestsInFlight = 0
        /// Requests since the start.
        public internal(set) var requests = 0
        /// Requests since the start whose response was not handed to the kernel as a whole: the client left, or the server stopped.
        public internal(set) var undelivered = 0
        /// Connections since the start that were closed because a newer one needed their slot.
        public internal(set) var evicted = 0
        /// Connections since the start that were closed at the deadline of a header.
        public internal(set) var slowHeaders = 0
        /// Connections since the start that were closed because a body came below the minimum transfer rate.
        public internal(set) var slowBodies = 0
        /// Connections since the start that were closed because a long response was read below the minimum transfer rate.
        public internal(set) var slowReaders = 0
        /// Requests since the start that were refused because of the connection limit.
        public internal(set) var connectionLimitRefusals = 0
    }

    /// The port it listens on, also where a free one was asked for.
    public let port: UInt16
    private let mailbox: LoopMailbox

    private init(port: UInt16, mailbox: LoopMailbox) {
        self.port = port
        self.mailbox = mailbox
    }

    deinit { mailbox.requestStop(at: 0) }

    /// Starts a server. Blocks while the host is resolved, where it is a name.
    /// - Parameter log: takes log lines: a fixed sentence, and the details or libmicrohttpd's own text in `message`. Called on the server's
    ///   thread.
    public static func start(
        configuration: HTTPServerConfiguration, handler: any HTTPHandler,
        log: @escaping HTTPLog = { _, _, _ in }
    ) throws(HTTPServerError) -> HTTPServer {
        try configuration.check()
        let configuration = configuration.fitted(log)
        let socket = try ListenSocket(host: configuration.host, port: configuration.port, backlog: configuration.backlog)
        let port = socket.port
        let mailbox = try LoopMailbox()
        let loop = try ServerLoop(socket: socket, configuration: configuration, handler: handler, mailbox: mailbox, log: log)
        do throws(SystemError) {
            // Detached: the loop resumes the callers of `stop` at its end, so no thread has to join.
            try OwnedThread.start("sluice-http") { loop.run() }
        } catch {
            throw HTTPServerError(.system, "HTTP server: cannot start its thread: \(error)")
        }
        return HTTPServer(port: port, mailbox: mailbox)
    }

    /// Changes limits, timeouts and the certificate. Address, memory, and whether the server speaks TLS stay as they were at the
    /// start. Open connections stay admitted and keep their idle timeout.
    /// - Throws: ``HTTPServerError/Code/invalidConfiguration``; nothing has changed then.
    public func update(_ configuration: HTTPServerConfiguration) throws(HTTPServerError) {
        try configuration.check()
        mailbox.requestUpdate(to: configuration)
    }

    /// Every response ends its connection from now on (`Connection: close`), so that clients and load balancers go elsewhere before
    /// ``stop(deadline:)``. Requests are served as before.
    public func announceStop() { mailbox.announceStop() }

    /// Stops listening, refuses new requests with ``HTTPRefusal/stopping``, waits for the requests in flight, and ends the server.
    /// Requests still unanswered at the deadline are answered with ``HTTPRefusal/unanswered``. Returns when the last connection is
    /// closed and the server's thread ends. May be called more than once; the earliest deadline counts.
    /// - Parameter deadline: how long to wait for requests in flight.
    public func stop(deadline: Duration) async {
        mailbox.requestStop(at: MonotonicClock.nanoseconds() + deadline.nanoseconds)
        await mailbox.closed()
    }

    /// The current statistics. Any thread.
    public var statistics: Statistics { mailbox.statistics.withLock { $0 } }
}
