// Owns the event loop of a server: the one thread that runs libmicrohttpd, from its start to its end.

internal import CMicrohttpd
internal import Glibc
internal import Platform
internal import Synchronization
internal import Telemetry

/// The loop of one server. Confined to its thread; other threads reach it through the mailbox.
final class ServerLoop: @unchecked Sendable {
    // Licence for @unchecked: made on the starting thread, then handed to the loop's thread by `OwnedThread.start` and used by that one alone.

    /// Longest sleep in milliseconds. Every event has a wake-up of its own; this bounds the effect of a lost one.
    private static let longestSleep: UInt64 = 250
    /// Iterations in a row without a callback that may be useful: an encrypted long response is sent in pieces of 16 KiB.
    private static let mostIdleIterations = 64

    let handler: any HTTPHandler
    var configuration: HTTPServerConfiguration
    let mailbox: LoopMailbox
    let log: HTTPLog
    let routes: HTTPRoutes
    /// By route.
    let isPriority: [Bool]
    /// The responses to refused requests, each made when it is first needed.
    private var refusals: [HTTPRefusal: HTTPResponse] = [:]
    /// Published at the end of each iteration.
    var statistics = HTTPServer.Statistics()

    private var daemon: DaemonHandle?
    /// The descriptors that wake the loop: libmicrohttpd's epoll, and the mailbox's.
    private var watched: [pollfd] = []
    private var shutdown: ShutdownMachine
    /// Responses end their connections.
    private(set) var isStopAnnounced = false
    private var logLimit = LogRateLimit(limit: 10)
    var buffers: BodyBuffers
    private var answered: [HTTPExchange] = []
    /// Exchanges that wait for their response, with their connections suspended. libmicrohttpd aborts the process when a connection is
    /// still suspended as the daemon stops.
    var awaitingResponse = ExchangeList()
    /// Callbacks of libmicrohttpd so far.
    var callbacks = 0
    /// Iterations in a row in which libmicrohttpd made no callback and asked to be run again at once.
    private var idleIterations = 0
    /// Exchanges whose body is not read for now.
    var suspended = SuspendedRequests()
    var connections: ConnectionTable
    var certificates: CertificateStore
    /// Idle timeout in seconds that libmicrohttpd gives to a new connection.
    let defaultIdle: Int64
    /// When this iteration began, in monotonic nanoseconds.
    private(set) var now = MonotonicClock.nanoseconds()

    /// The readable memory of an empty body.
    let emptyBody = UnsafeMutableRawBufferPointer.allocate(byteCount: BodyBuffer.padding, alignment: 16)
    /// Where compressed bodies are decoded, piece by piece.
    let decodedMemory = UnsafeMutableRawBufferPointer.allocate(byteCount: ContentDecoder.pieceBytes, alignment: 16)

    init(
        socket: consuming ListenSocket, configuration: HTTPServerConfiguration, handler: any HTTPHandler, mailbox: LoopMailbox,
        log: @escaping HTTPLog
    ) throws(HTTPServerError) {
        self.handler = handler
        self.configuration = configuration
        self.mailbox = mailbox
        self.log = log
        routes = handler.routes
        isPriority = routes.routes.indices.map(handler.isPriority)
        buffers = BodyBuffers(limit: configuration.bodyMemoryBytes)
        connections = ConnectionTable(configuration.connectionLimits)
        certificates = CertificateStore(configuration.identity)
        defaultIdle = configuration.idleTimeout.components.seconds
        shutdown = ShutdownMachine(grace: configuration.shutdownGrace.nanoseconds)
        emptyBody.initializeMemory(as: UInt8.self, repeating: 0)
        daemon = nil
        daemon = try DaemonHandle(socket: socket, configuration: configuration, owner: self)
        watched = ([daemon?.epollDescriptor ?? -1, mailbox.wake.descriptor] + (daemon?.listeners ?? [])).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
    }

    deinit {
        emptyBody.deallocate()
        decodedMemory.deallocate()
    }

    /// New requests are refused: the server waits for the last ones.
    var isDraining: Bool { shutdown.isDraining }

    /// Runs until a requested stop is complete.
    func run() {
        CurrentLoop.set(self)
        while true {
            // It can fail only because of a signal, and this thread blocks them.
            let milliseconds = sleep()
            if poll(&watched, nfds_t(watched.count), milliseconds) > 0, watched[1].revents != 0 { mailbox.wake.clear() }
            now = MonotonicClock.nanoseconds()
            let changed: HTTPServerConfiguration?
            let stopAt: UInt64?
            (changed, isStopAnnounced, stopAt) = mailbox.take(answered: &answered)
            for exchange in answered { resume(exchange) }
            answered.removeAll(keepingCapacity: true)
            if suspended.wakeAt != nil {
                for exchange in suspended.due(at: MonotonicClock.nanoseconds()) { resumeReading(exchange) }
            }
            if let changed { update(changed) }
            if let deadline = stopAt { act(shutdown.stopRequested(deadline: deadline)) }
            let before = callbacks
            for listener in watched.dropFirst(2) where listener.revents != 0 { daemon?.accept(from: listener.fd) }
            daemon?.run()
            handler.iterationEnded()
            idleIterations = callbacks == before && daemon?.timeout == 0 ? idleIterations + 1 : 0
            closeSlowConnections()
            publishStatistics()
            if endIteration() { break }
        }
        for exchange in suspended.all { resumeReading(exchange) }
        for exchange in awaitingResponse.all { resume(exchange) }
        daemon = nil
        publishStatistics()
        mailbox.close()
    }

    private func publishStatistics() {
        statistics.evicted = connections.evicted
        mailbox.statistics.withLock { $0 = statistics }
    }

    private func sleep() -> Int32 {
        var least = min(daemon?.timeout ?? Self.longestSleep, Self.longestSleep)
        // A chunk extension that fills the connection's memory makes libmicrohttpd 0.9.75 ask to be run at once until the client leaves.
        if idleIterations > Self.mostIdleIterations { least = max(least, 1) }
        let wakeAt = min(shutdown.wakeAt ?? .max, suspended.wakeAt ?? .max)
        if wakeAt != .max {
            let now = MonotonicClock.nanoseconds()
            least = min(least, wakeAt > now ? (wakeAt - now) / 1_000_000 + 1 : 0)
        }
        return Int32(least)
    }

    /// - Returns: whether the loop ends.
    private func endIteration() -> Bool {
        guard shutdown.isDraining else { return false }
        let action = shutdown.iterationEnded(now: MonotonicClock.nanoseconds(), inFlight: statistics.requestsInFlight)
        act(action)
        return action == .end
    }

    private func act(_ action: ShutdownMachine.Action) {
        switch action {
        case .none, .end:
            break
        case .closeListener:
            daemon?.quiesce()
            watched.removeSubrange(2...)
        case .answerWaiting:
            if statistics.requestsInFlight > 0 {
                log(.warning, "Stopping with unfinished HTTP requests.", "\(statistics.requestsInFlight) requests")
            }
            for exchange in awaitingResponse.all { exchange.respond(response(to: .unanswered)) }
            dismissSuspended(response(to: .unanswered))
        }
    }

    func response(to refusal: HTTPRefusal) -> HTTPResponse {
        if let known = refusals[refusal] { return known }
        let response = handler.response(to: refusal).prepared()
        refusals[refusal] = response
        return response
    }

    /// Takes over what can change while the loop runs.
    private func update(_ changed: HTTPServerConfiguration) {
        let identity = configuration.identity == nil ? nil : changed.identity ?? configuration.identity
        configuration = changed.fitted(log)
        configuration.identity = identity
        connections.update(configuration.connectionLimits)
        certificates.update(configuration.identity, now: now)
    }

    /// libmicrohttpd wrote a log message, in most cases about a client.
    func messageLogged(_ text: String) {
        guard let dropped = logLimit.messageLogged(now: MonotonicClock.nanoseconds()) else { return }
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        log(
            .debug, "libmicrohttpd logged a message.",
            dropped == 0 ? line : "\(line) (\(dropped) messages before this one were dropped)")
    }
}
