// Owns a running server: start, stop, and the figures it can be asked for.

internal import CMicrohttpd
internal import Glibc
internal import Synchronization

/// An HTTP/1.1 server with one thread of its own.
///
/// It serves until ``stop(deadline:)`` has returned; a server that is let go without it stops at once.
public final class HTTPServer: Sendable {
    /// Figures of a server, each exact by itself.
    public struct Statistics: Sendable, Equatable {
        /// Connections that are open.
        public let openConnections: Int
        /// Requests whose header is there and whose answer is not yet sent.
        public let requestsInFlight: Int
        /// Requests since the start.
        public let requests: Int
        /// Requests since the start whose answer did not reach the kernel whole: the client left, or the server stopped.
        public let undelivered: Int
        /// Connections since the start that were closed because the reserve beyond the limits was full.
        public let evicted: Int
        /// Connections since the start that were closed because a header took too long.
        public let slowHeaders: Int
        /// Connections since the start that were closed because a body came too slowly.
        public let slowBodies: Int
        /// Connections that were ended because their client took too long over reading a long answer.
        public let slowReaders: Int
        /// Requests since the start that were refused because there were too many connections.
        public let connectionLimitRefusals: Int
    }

    /// The port it listens on, also where a free one was asked for.
    public let port: UInt16
    private let mailbox: LoopMailbox

    private init(port: UInt16, mailbox: LoopMailbox) {
        self.port = port
        self.mailbox = mailbox
    }

    deinit { mailbox.orderStop(at: 0) }

    /// Starts a server. Blocks while the host is looked up, where it is a name.
    /// - Parameter log: takes what an operator should know; called on the server's thread.
    public static func start(
        configuration: HTTPServerConfiguration, handler: any HTTPHandler,
        log: @escaping @Sendable (HTTPLogLevel, String) -> Void = { _, _ in }
    ) throws(HTTPServerError) -> HTTPServer {
        try configuration.check()
        let configuration = configuration.fitted(log)
        let socket = try ListenSocket(host: configuration.host, port: configuration.port, backlog: configuration.backlog)
        let port = socket.port
        let mailbox = try LoopMailbox()
        let loop = try ServerLoop(socket: socket, configuration: configuration, handler: handler, mailbox: mailbox, log: log)
        try LoopThread.start(loop)
        return HTTPServer(port: port, mailbox: mailbox)
    }

    /// Puts other limits of connections and times, and another certificate, into force. The rest of the configuration is as it was at the
    /// start: address, memory, and whether the server speaks TLS. Connections that are open keep their place and their idle time.
    /// - Throws: ``HTTPServerError/Code/invalidConfiguration``; nothing has changed then.
    public func update(_ configuration: HTTPServerConfiguration) throws(HTTPServerError) {
        try configuration.check()
        mailbox.orderAdoption(of: configuration)
    }

    /// Stops listening, refuses new requests with ``HTTPRefusal/stopping``, waits for the requests in flight, and ends the server.
    /// Requests still unanswered at the deadline are answered with ``HTTPRefusal/unanswered``. Returns when the last connection is
    /// closed and the server's thread has nothing left to do. May be called more than once; the earliest deadline counts.
    /// - Parameter deadline: how long to wait for requests in flight.
    public func stop(deadline: Duration) async {
        let (seconds, attoseconds) = deadline.components
        let wait = seconds < 0 ? 0 : UInt64(min(seconds, 1 << 30)) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
        mailbox.orderStop(at: monotonicNow() + wait)
        await mailbox.closed()
    }

    /// Figures of this moment. Any thread.
    public var statistics: Statistics {
        Statistics(
            openConnections: mailbox.counters.connections.load(ordering: .relaxed),
            requestsInFlight: mailbox.counters.inFlight.load(ordering: .relaxed),
            requests: mailbox.counters.requests.load(ordering: .relaxed),
            undelivered: mailbox.counters.undelivered.load(ordering: .relaxed),
            evicted: mailbox.counters.evicted.load(ordering: .relaxed),
            slowHeaders: mailbox.counters.slowHeaders.load(ordering: .relaxed),
            slowBodies: mailbox.counters.slowBodies.load(ordering: .relaxed),
            slowReaders: mailbox.counters.slowReaders.load(ordering: .relaxed),
            connectionLimitRefusals: mailbox.counters.connectionLimitRefusals.load(ordering: .relaxed))
    }
}

/// Starts the loop's thread.
private enum LoopThread {
    static func start(_ loop: ServerLoop) throws(HTTPServerError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        // Detached: its last act tells whoever waits in `stop`, so there is nothing to join.
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // Signals are for other threads; a broken connection's SIGPIPE is for nobody. The new thread inherits the mask.
        var all = sigset_t()
        var previous = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        var thread = pthread_t()
        let owned = Unmanaged.passRetained(loop)
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                sluice_mhd_name_thread("sluice-http")
                Unmanaged<ServerLoop>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, owned.toOpaque())
        guard code == 0 else {
            owned.release()
            throw HTTPServerError(.system, "HTTP server: cannot start its thread: \(String(cString: strerror(code)))")
        }
    }
}
