// Owns the loop's part of a request from its header to the handler: routing, refusals, and the collected body.

internal import CMicrohttpd
internal import Platform
internal import Synchronization

extension ServerLoop {
    /// The header was received.
    func requestBegan(
        _ connection: OpaquePointer, url: UnsafePointer<CChar>, method: UnsafePointer<CChar>,
        version: UnsafePointer<CChar>, context: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    ) -> MHD_Result {
        let method = HTTPMethod(method)
        let match = routes.match(method, url)
        var route = -1
        if case .route(let position) = match { route = position }
        let head = HTTPRequestHead(route: route, method: method, connection: connection)
        let isUnambiguous = head.hasUnambiguousFraming(version: version)
        let isServed = connections.requested(connection, isPriority: route >= 0 && isPriority[route])
        if !isServed { mailbox.statistics.withLock { $0.connectionLimitRefusals += 1 } }
        let admission: HTTPAdmission =
            if !isUnambiguous {
                .respond(refusals.ambiguousLength)
            } else if !isServed {
                .respond(refusals.tooManyConnections)
            } else if isDraining {
                .respond(refusals.stopping)
            } else {
                switch match {
                case .route: handler.admit(head)
                case .wrongMethod(let path): .respond(refusals.methodNotAllowed[path])
                case .notFound: .respond(refusals.notFound)
                }
            }
        var limit = configuration.maxBodyBytes
        var response: HTTPResponse?
        var tooLong: HTTPResponse?
        var handlerContext: (any AnyObject & Sendable)?
        var intake = HTTPExchange.Intake.collect
        var discardBytes = configuration.streamDiscardBytes
        let length = head.contentLength
        switch admission {
        case .readBody(let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
            discardBytes = configuration.discardBytes
        case .stream(let reader, let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
            intake = .stream(reader)
        case .peek(let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
            intake = .peek
        case .respond(let refusal, let known):
            (response, handlerContext) = (refusal, known)
            // A body without a length may be short or long: responding now would cost every client its connection.
            if length != nil { discardBytes = configuration.discardBytes }
        }
        var body = BodyMachine(limit: limit, discardBytes: discardBytes, isRefused: response != nil)
        let expectsContinue = length != 0 && (response != nil || length.map { $0 > limit } ?? false) && head.expectsContinue
        // Where the end of a request is unknown, or the connection is over the limit, the body is not read.
        let action =
            isUnambiguous && isServed
            ? body.headerReceived(length: length, expectsContinue: expectsContinue) : .respondNow
        connections[connection].rate.headerReceived(now: now, isBodyExpected: action != .respondNow && length != 0)
        let exchange = HTTPExchange(
            mailbox: mailbox, connection: connection, route: route, method: method, intake: intake, body: body,
            context: handlerContext)
        exchange.tooLong = tooLong
        context.pointee = Unmanaged.passRetained(exchange).toOpaque()
        inFlight += 1
        mailbox.statistics.withLock { statistics in
            statistics.requestsInFlight += 1
            statistics.requests += 1
        }
        switch action {
        case .read(let expecting):
            if expecting > 0, !intake.isStream { exchange.buffer = buffers.take(expecting: expecting) }
            return .YES
        case .discard:
            if let response { exchange.respond(response) }
            // The Content-Length is above the limit, so the reader gets nothing of the body.
            if intake.isStream { exchange.intake = .collect }
            return .YES
        case .respondNow:
            exchange.isHandled = true
            exchange.respond(response ?? self.tooLong(exchange))
            return send(exchange)
        }
    }

    /// A piece of a body was received that is collected.
    func pieceReceived(_ exchange: HTTPExchange, _ data: UnsafePointer<CChar>, count: Int) -> MHD_Result {
        connections[exchange.connection].rate.moved(count)
        switch exchange.body.pieceReceived(count) {
        case .append:
            let buffer = exchange.buffer ?? buffers.take(expecting: 0)
            exchange.buffer = buffer
            guard buffers.grow(buffer, to: buffer.count + count) else {
                exchange.body.refused()
                exchange.respond(refusals.tooManyBodies)
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

    /// The request is complete, or its connection was resumed.
    func requestContinued(_ exchange: HTTPExchange) -> MHD_Result {
        if exchange.isHandled {
            // Without a response the connection was resumed to be closed, because the daemon stops.
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
            let body = exchange.buffer?.bytes ?? UnsafeRawBufferPointer(start: emptyBody.baseAddress, count: 0)
            handler.handle(HTTPRequest(head: head, body: body, wireBytes: exchange.body.received), exchange)
            releaseBuffer(of: exchange)
        case .refuse:
            exchange.respond(tooLong(exchange))
        case .respond:
            break
        }
        return send(exchange)
    }

    private func tooLong(_ exchange: HTTPExchange) -> HTTPResponse {
        exchange.tooLong ?? handler.response(to: .bodyTooLarge(limit: exchange.body.limit))
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
        mailbox.statistics.withLock { statistics in
            statistics.requestsInFlight -= 1
            if !isDelivered { statistics.undelivered += 1 }
        }
        handler.ended(
            HTTPOutcome(
                route: exchange.route < 0 ? nil : exchange.route, status: exchange.status == 0 ? nil : Int(exchange.status),
                isDelivered: isDelivered, wireBytes: exchange.body.received,
                duration: MonotonicClock.nanoseconds() - exchange.began), exchange)
    }
}
