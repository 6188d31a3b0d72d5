// Owns the loop: the one thread that runs libmicrohttpd, hands requests to the handler and sends answers.

internal import CMicrohttpd
internal import Glibc
internal import Synchronization

/// The loop of one server. Everything here happens on its thread; others reach it through the mailbox.
final class ServerLoop: @unchecked Sendable {
    // Licence for @unchecked: made on the starting thread, then handed to the loop's thread by `pthread_create` and touched by that
    // one alone.

    /// Longest sleep in milliseconds. Every event has a wake-up of its own; this bounds what a lost one could cost.
    private static let longestSleep: UInt64 = 250
    /// Turns without a callback that are good for something: a long answer that is encrypted goes out in pieces of 16 KiB.
    private static let mostVainTurns = 64

    let handler: any HTTPHandler
    private(set) var configuration: HTTPServerConfiguration
    let mailbox: LoopMailbox
    private let log: @Sendable (HTTPLogLevel, String) -> Void
    private let routes: HTTPRoutes
    private let notFound: HTTPResponse
    private let wrongMethod: [HTTPResponse]
    private let stopping: HTTPResponse
    private let unanswered: HTTPResponse
    private let ambiguous: HTTPResponse
    private let crowded: HTTPResponse
    private let noMemory: HTTPResponse
    /// By route.
    private let isPriority: [Bool]
    private let broken = HTTPResponse.problem(
        status: 500, title: "Internal Server Error", detail: "The answer to this request could not be written."
    ).prepared()

    private let epoll: EpollHandle
    private var daemon: DaemonHandle?
    private var shutdown: ShutdownMachine
    private var gate = LogRateLimit(limit: 10)
    private var buffers: BodyBuffers
    private var ready: [HTTPExchange] = []
    /// Exchanges whose connection is suspended. libmicrohttpd aborts the process where one is left when the daemon stops.
    private var suspended: [Unmanaged<HTTPExchange>] = []
    private var inFlight = 0
    /// Callbacks of libmicrohttpd so far, and turns in a row in which it called none and wanted to be run again at once.
    var callbacks = 0
    private var vainTurns = 0
    /// Exchanges whose connection is suspended because the body's reader wants no more yet.
    var parked = SuspendedRequests()
    var connections: ConnectionTable
    private var identities: CertificateStore
    /// Idle seconds of connections that nobody has told otherwise.
    private let usualIdle: Int64
    /// When this turn of the loop began, in monotonic nanoseconds.
    private(set) var now = monotonicNow()

    /// What a request without a body is shown: readable memory that is nobody's.
    private let noBody = UnsafeMutableRawBufferPointer.allocate(byteCount: BodyBuffer.padding, alignment: 16)

    init(
        socket: consuming ListenSocket, configuration: HTTPServerConfiguration, handler: any HTTPHandler, mailbox: LoopMailbox,
        log: @escaping @Sendable (HTTPLogLevel, String) -> Void
    ) throws(HTTPServerError) {
        self.handler = handler
        self.configuration = configuration
        self.mailbox = mailbox
        self.log = log
        routes = handler.routes
        notFound = handler.response(to: .notFound).prepared()
        wrongMethod = routes.allow.map { handler.response(to: .methodNotAllowed(allow: $0)).prepared() }
        stopping = handler.response(to: .stopping).prepared()
        unanswered = handler.response(to: .unanswered).prepared()
        ambiguous = handler.response(to: .ambiguousLength).prepared()
        crowded = handler.response(to: .tooManyConnections).prepared()
        noMemory = handler.response(to: .tooManyBodies).prepared()
        buffers = BodyBuffers(limit: configuration.bodyMemoryBytes)
        isPriority = routes.routes.indices.map(handler.isPriority)
        connections = ConnectionTable(configuration)
        identities = CertificateStore(configuration.identity)
        usualIdle = configuration.idleTimeout.components.seconds
        let shutdownGrace = configuration.shutdownGrace.components
        shutdown = ShutdownMachine(
            shutdownGrace: UInt64(shutdownGrace.seconds) * 1_000_000_000 + UInt64(shutdownGrace.attoseconds) / 1_000_000_000)
        noBody.initializeMemory(as: UInt8.self, repeating: 0)
        epoll = try EpollHandle()
        daemon = nil
        daemon = try DaemonHandle(socket: socket, configuration: configuration, owner: self)
        try epoll.add(daemon?.epollDescriptor ?? -1)
        try epoll.add(mailbox.wake.descriptor)
    }

    deinit { noBody.deallocate() }

    /// Runs until a stop has been ordered and carried out.
    func run() {
        LoopOfThread.set(self)
        while true {
            if epoll.wait(milliseconds: sleep(), for: mailbox.wake.descriptor) { mailbox.wake.clear() }
            now = monotonicNow()
            let (orders, proceeding) = mailbox.takeReady(into: &ready)
            for exchange in ready { resume(exchange) }
            ready.removeAll(keepingCapacity: true)
            for exchange in proceeding { wake(exchange) }
            if parked.wakeAt != nil { for exchange in parked.due(at: monotonicNow()) { wake(exchange) } }
            obey(orders)
            let before = callbacks
            daemon?.run()
            handler.iterationEnded()
            vainTurns = callbacks == before && daemon?.timeout == 0 ? vainTurns + 1 : 0
            endSlowConnections()
            if endTurn() { break }
        }
        for exchange in parked.all { wake(exchange) }
        for exchange in suspended.reversed() { resume(exchange.takeUnretainedValue()) }
        daemon = nil
        mailbox.close()
    }

    private func sleep() -> Int32 {
        var least = min(daemon?.timeout ?? Self.longestSleep, Self.longestSleep)
        // A chunk's extension that fills the connection's memory makes libmicrohttpd 0.9.75 ask for one turn after the other until the
        // client is ended.
        if vainTurns > Self.mostVainTurns { least = max(least, 1) }
        let wakeAt = min(shutdown.wakeAt ?? .max, parked.wakeAt ?? .max)
        if wakeAt != .max {
            let now = monotonicNow()
            least = min(least, wakeAt > now ? (wakeAt - now) / 1_000_000 + 1 : 0)
        }
        return Int32(least)
    }

    private func obey(_ orders: LoopMailbox.Orders) {
        if let adoption = orders.adoption { adopt(adoption.configuration) }
        if let deadline = orders.stopAt { act(shutdown.stopOrdered(deadline: deadline)) }
    }

    /// - Returns: whether the loop is to end.
    private func endTurn() -> Bool {
        guard shutdown.isDraining else { return false }
        let action = shutdown.iterationEnded(now: monotonicNow(), inFlight: inFlight)
        act(action)
        return action == .end
    }

    private func act(_ action: ShutdownMachine.Action) {
        switch action {
        case .none, .end:
            break
        case .closeListener:
            daemon?.quiesce()
        case .dismissWaiting:
            if inFlight > 0 { log(.warning, "stopping with \(inFlight) HTTP requests unfinished") }
            for exchange in suspended { exchange._withUnsafeGuaranteedRef { _ = $0.respond(unanswered) } }
            dismissParked(unanswered)
        }
    }

    // MARK: Requests

    /// The header is there.
    func requestBegan(
        _ connection: OpaquePointer, url: UnsafePointer<CChar>, method: UnsafePointer<CChar>,
        version: UnsafePointer<CChar>, context: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    ) -> MHD_Result {
        let method = HTTPMethod(method)
        let match = routes.match(method, url)
        var route = -1
        if case .route(let position) = match { route = position }
        let head = HTTPRequestHead(route: route, method: method, connection: connection)
        let isSound = head.isFramedSoundly(version: version)
        let isServed = connections.requested(connection, isPriority: route >= 0 && isPriority[route])
        if !isServed { mailbox.counters.connectionLimitRefusals.increment() }
        let admission: HTTPAdmission =
            if !isSound {
                .respond(ambiguous)
            } else if !isServed {
                .respond(crowded)
            } else if shutdown.isDraining {
                .respond(stopping)
            } else {
                switch match {
                case .route: handler.admit(head)
                case .wrongMethod(let path): .respond(wrongMethod[path])
                case .notFound: .respond(notFound)
                }
            }
        var limit = configuration.maxBodyBytes
        var answer: HTTPResponse?
        var intake = HTTPExchange.Intake.collect
        var discardBytes = configuration.streamDiscardBytes
        switch admission {
        case .readBody(let own):
            limit = own ?? limit
            discardBytes = configuration.discardBytes
        case .stream(let reader, let own):
            limit = own ?? limit
            intake = .stream(reader)
        case .peek(let own):
            limit = own ?? limit
            intake = .peek
        case .respond(let response):
            answer = response
            // A body without a length may end before the first bound or not: an answer now would cost every client its connection.
            if head.contentLength != nil { discardBytes = configuration.discardBytes }
        }
        var body = BodyMachine(limit: limit, discardBytes: discardBytes, isRefused: answer != nil)
        let length = head.contentLength
        let expectsContinue = length != 0 && (answer != nil || length.map { $0 > limit } ?? false) && head.expectsContinue
        // Where a request ends that is not sound is not known; and who has no place is not listened to.
        let action =
            isSound && isServed ? body.headerReceived(length: length, expectsContinue: expectsContinue) : .answerNow
        connections.headerReceived(connection, now: now, isBodyExpected: action != .answerNow && length != 0)
        let exchange = HTTPExchange(
            mailbox: mailbox, connection: connection, route: route, method: method, intake: intake, body: body)
        context.pointee = Unmanaged.passRetained(exchange).toOpaque()
        inFlight += 1
        mailbox.counters.inFlight.store(inFlight, ordering: .relaxed)
        mailbox.counters.requests.increment()
        switch action {
        case .read(let expecting):
            if expecting > 0, !intake.isStream { exchange.buffer = buffers.take(expecting: expecting) }
            return .YES
        case .discard:
            if let answer { exchange.respond(answer) }
            // What was announced is too long for any reader.
            if intake.isStream { exchange.intake = .collect }
            return .YES
        case .answerNow:
            exchange.isHandled = true
            exchange.respond(answer ?? handler.response(to: .bodyTooLarge(limit: limit)))
            return send(exchange)
        }
    }

    /// A piece of the body is there.
    func pieceReceived(_ exchange: HTTPExchange, _ data: UnsafePointer<CChar>, count: Int) -> MHD_Result {
        connections.pieceReceived(exchange.connection, count)
        switch exchange.body.pieceReceived(count) {
        case .append:
            let buffer = exchange.buffer ?? buffers.take(expecting: 0)
            exchange.buffer = buffer
            guard buffers.grow(buffer, to: buffer.count + count) else {
                exchange.body.refused()
                exchange.respond(noMemory)
                releaseBuffer(of: exchange)
                return .YES
            }
            buffer.append(data, count: count)
            return .YES
        case .discard:
            releaseBuffer(of: exchange)
            return .YES
        case .close:
            return .NO
        }
    }

    /// The request is whole, or its connection runs again.
    func requestContinued(_ exchange: HTTPExchange) -> MHD_Result {
        if exchange.isHandled {
            // Without an answer the connection was resumed to be closed: the daemon stops.
            guard let response = exchange.connectionResumed() else { return .NO }
            return queue(response, on: exchange)
        }
        if case .stream(let reader) = exchange.intake { return streamEnded(exchange, reader) }
        exchange.isHandled = true
        connections.requestReceived(exchange.connection)
        if case .drop = exchange.intake { return send(exchange) }
        switch exchange.body.bodyEnded() {
        case .handle:
            let head = HTTPRequestHead(route: exchange.route, method: exchange.method, connection: exchange.connection)
            let body = exchange.buffer?.bytes ?? UnsafeRawBufferPointer(start: noBody.baseAddress, count: 0)
            handler.handle(HTTPRequest(head: head, body: body), exchange)
            releaseBuffer(of: exchange)
        case .refuse:
            exchange.respond(handler.response(to: .bodyTooLarge(limit: exchange.body.limit)))
        case .answer:
            break
        }
        return send(exchange)
    }

    func send(_ exchange: HTTPExchange) -> MHD_Result {
        switch exchange.handlerReturned() {
        case .send(let response):
            return queue(response, on: exchange)
        case .suspend:
            exchange.slot = suspended.count
            suspended.append(Unmanaged.passUnretained(exchange))
            MHD_suspend_connection(exchange.connection)
            return .YES
        }
    }

    private func resume(_ exchange: HTTPExchange) {
        guard exchange.slot >= 0 else { return }
        let last = suspended.removeLast().takeUnretainedValue()
        if last !== exchange {
            suspended[exchange.slot] = Unmanaged.passUnretained(last)
            last.slot = exchange.slot
        }
        exchange.slot = -1
        MHD_resume_connection(exchange.connection)
    }

    private func queue(_ response: HTTPResponse, on exchange: HTTPExchange) -> MHD_Result {
        switch response.content {
        case .prepared(let prepared):
            return queue(response.status, prepared.handle, on: exchange)
        case .built(let headers, let body):
            return queueMade(ResponseHandle(headers: headers, body: body), response.status, on: exchange)
        case .written(let headers, let source):
            let sent = connections.answerBegan(exchange.connection, now: now)
            let written = { (count: Int) in
                self.callbacks &+= 1
                sent(count)
            }
            return queueMade(
                ResponseHandle(headers: headers, source: source, written: written), response.status, on: exchange)
        }
    }

    private func queueMade(_ made: consuming ResponseHandle?, _ status: Int, on exchange: HTTPExchange) -> MHD_Result {
        guard let handle = made else {
            log(.error, "an answer \(status) has a header with a line break; answering 500 instead")
            return queue(broken, on: exchange)
        }
        return queue(status, handle, on: exchange)
    }

    private func queue(_ status: Int, _ handle: borrowing ResponseHandle, on exchange: HTTPExchange) -> MHD_Result {
        exchange.status = Int32(status)
        connections.answered(exchange.connection)
        let result = MHD_queue_response(exchange.connection, UInt32(status), handle.pointer)
        if result != .YES { log(.error, "libmicrohttpd refused an answer \(status); its connection ends without one") }
        return result
    }

    func releaseBuffer(of exchange: HTTPExchange) {
        guard let buffer = exchange.buffer else { return }
        exchange.buffer = nil
        buffers.giveBack(buffer)
    }

    func requestEnded(_ exchange: HTTPExchange, isDelivered: Bool) {
        exchange.requestEnded()
        connections.requestEnded(exchange.connection, now: now)
        abandonStream(of: exchange)
        releaseBuffer(of: exchange)
        inFlight -= 1
        mailbox.counters.inFlight.store(inFlight, ordering: .relaxed)
        if !isDelivered { mailbox.counters.undelivered.increment() }
        handler.ended(
            HTTPOutcome(
                route: exchange.route < 0 ? nil : exchange.route, status: exchange.status == 0 ? nil : Int(exchange.status),
                isDelivered: isDelivered))
    }

    // MARK: Connections

    /// - Returns: what libmicrohttpd carries for the connection.
    func connectionOpened(_ connection: OpaquePointer) -> UnsafeMutableRawPointer {
        mailbox.counters.connections.increment()
        let idle = configuration.idleTimeout.components.seconds
        if idle != usualIdle, sluice_mhd_set_timeout(connection, UInt32(clamping: idle)) != .YES {
            log(.error, "libmicrohttpd refused an idle time of \(idle) s; the one of the start holds")
        }
        let (context, hasEvicted) = connections.opened(connection, now: now)
        if hasEvicted { mailbox.counters.evicted.increment() }
        return context
    }

    func connectionClosed(_ context: UnsafeMutableRawPointer?) {
        mailbox.counters.connections.increment(by: -1)
        if let context { connections.closed(context) }
    }

    private func endSlowConnections() {
        connections.look(now: now) { fault in
            switch fault {
            case .header: mailbox.counters.slowHeaders.increment()
            case .body: mailbox.counters.slowBodies.increment()
            case .answer: mailbox.counters.slowReaders.increment()
            }
        }
    }

    /// Takes over what can change while the loop runs.
    private func adopt(_ changed: HTTPServerConfiguration) {
        var next = configuration
        next.connectionLimit = changed.connectionLimit
        next.connectionsPerAddress = changed.connectionsPerAddress
        next.reservedSlots = changed.reservedSlots
        next.idleTimeout = changed.idleTimeout
        next.headerTimeout = changed.headerTimeout
        next.bodyTimeout = changed.bodyTimeout
        next.bodyRate = changed.bodyRate
        next.maxBodyBytes = changed.maxBodyBytes
        if let identity = changed.identity, configuration.identity != nil { next.identity = identity }
        configuration = next.fitted(log)
        connections.update(configuration)
        identities.update(configuration.identity, now: now)
    }

    /// Lends a handshake the certificate in force. Answers GnuTLS's code.
    func lendIdentity(
        _ chain: UnsafeMutablePointer<UnsafeMutablePointer<gnutls_pcert_st>?>, _ length: UnsafeMutablePointer<UInt32>,
        _ key: UnsafeMutablePointer<gnutls_privkey_t?>
    ) -> Int32 { identities.lend(chain, length, key) }

    /// libmicrohttpd has something to say, in most cases about a client.
    func messageCame(_ text: String) {
        guard case .pass(let missed) = gate.messageCame(now: monotonicNow()) else { return }
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        log(.debug, missed == 0 ? line : "\(line) (\(missed) messages before this one were dropped)")
    }
}

extension Atomic<Int> {
    /// One more, where there is one writer only: a plain store does, and the bus stays quiet.
    fileprivate func increment(by step: Int = 1) { store(load(ordering: .relaxed) &+ step, ordering: .relaxed) }
}
