// Owns the loop's part of a request from its header to its end: routing, refusals, and the call of the handler.

internal import CMicrohttpd
internal import Glibc
internal import Platform
internal import Synchronization

extension ServerLoop {
    /// The header was received.
    func requestBegan(
        _ connection: OpaquePointer, url: UnsafePointer<CChar>, method name: UnsafePointer<CChar>,
        version: UnsafePointer<CChar>, context: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    ) -> MHD_Result {
        let method = HTTPMethod(name)
        let match = routes.match(method, url)
        var route = -1
        if case .route(let position) = match { route = position }
        let head = HTTPRequestHead(route: route, method: method, connection: connection)
        let isUnambiguous = head.hasUnambiguousFraming(method: name, url: url, version: version)
        let (isServed, hasEvicted) = connections.requested(connection, isPriority: route >= 0 && isPriority[route])
        let length = head.contentLength
        let coding = length == 0 ? .identity : head.contentCoding
        let admission: HTTPAdmission =
            if !isUnambiguous {
                .respond(refusals.ambiguousLength)
            } else if !isServed {
                .respond(refusals.tooManyConnections)
            } else if isDraining {
                .respond(refusals.stopping)
            } else {
                switch match {
                case .route where coding == nil: .respond(refusals.unknownCoding)
                case .route: handler.admit(head)
                case .wrongMethod(let path): .respond(refusals.methodNotAllowed[path])
                case .notFound: .respond(refusals.notFound)
                case .ambiguous: .respond(refusals.ambiguousPath)
                }
            }
        var limit = configuration.maxBodyBytes
        var response: HTTPResponse?
        var tooLong: HTTPResponse?
        var handlerContext: (any AnyObject & Sendable)?
        var intake = HTTPExchange.Intake.collect
        var discardBytes = configuration.streamDiscardBytes
        switch admission {
        case .readBody(let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
        case .stream(let reader, let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
            intake = .stream(reader)
        case .peek(let own, let refusal, let known):
            (limit, tooLong, handlerContext) = (own ?? limit, refusal, known)
            intake = .peek
        case .respond(let refusal, let known):
            (response, handlerContext) = (refusal, known)
            discardBytes = configuration.discardBytes
        }
        let isFinal = response.map { (400..<500).contains($0.status) && $0.status != 429 } ?? false
        var body = BodyMachine(
            limit: limit, discardBytes: discardBytes, refusal: response == nil ? nil : isFinal ? .final : .passing)
        let expectsContinue = length != 0 && (response != nil || length.map { $0 > limit } ?? false) && head.expectsContinue
        // Where the end of a request is unknown, or the connection is over the limit, the body is not read.
        var action =
            isUnambiguous && isServed
            ? body.headerReceived(length: length, isCoded: coding != .identity, expectsContinue: expectsContinue) : .respondNow
        var decoder: ContentDecoder?
        if case .read = action, let coding, coding != .identity {
            if buffers.reserve(ContentDecoder.bytes) {
                decoder = ContentDecoder(coding)
            } else {
                response = refusals.tooManyBodies
                action = head.expectsContinue ? .respondNow : body.refused(length: length) ? .discard : .respondEarly
            }
        }
        if case .read = action {} else { intake = .collect }
        let record = connections[connection]
        record.rate.headerReceived(now: now, isBodyExpected: action != .respondNow && length != 0)
        let exchange = HTTPExchange(
            mailbox: mailbox, connection: connection, route: route, method: method, intake: intake, body: body,
            context: handlerContext)
        exchange.decoder = decoder
        exchange.tooLong = tooLong
        context.pointee = Unmanaged.passRetained(exchange).toOpaque()
        record.exchange = Unmanaged.passUnretained(exchange)
        inFlight += 1
        mailbox.statistics.withLock { statistics in
            statistics.requestsInFlight += 1
            statistics.requests += 1
            if hasEvicted { statistics.evicted += 1 }
            if !isServed { statistics.connectionLimitRefusals += 1 }
        }
        switch action {
        case .read(let expecting):
            if expecting > 0, !intake.isStream { exchange.buffer = buffers.take(expecting: expecting) }
            return .YES
        case .discard:
            if let response { exchange.respond(response) }
            return .YES
        case .respondEarly:
            return respondEarly(response ?? self.tooLong(exchange), to: exchange) ? .YES : .NO
        case .respondNow:
            exchange.isHandled = true
            exchange.respond(response ?? self.tooLong(exchange))
            return send(exchange)
        }
    }

    func head(of exchange: HTTPExchange) -> HTTPRequestHead {
        HTTPRequestHead(route: exchange.route, method: exchange.method, connection: exchange.connection)
    }

    /// The request is complete, or its connection was resumed.
    func requestContinued(_ exchange: HTTPExchange) -> MHD_Result {
        if exchange.isHandled {
            // Without a response the connection was resumed to be closed: it has its response, or the daemon stops.
            guard let response = exchange.connectionResumed() else { return .NO }
            return queue(response, on: exchange)
        }
        if case .stream(let reader) = exchange.intake { return streamEnded(exchange, reader) }
        exchange.isHandled = true
        connections.requestReceived(exchange.connection)
        if case .drop = exchange.intake { return send(exchange) }
        let isUndecodable = exchange.isUndecodable
        releaseDecoder(of: exchange)
        if isUndecodable {
            exchange.respond(refusals.undecodable)
        } else if exchange.body.refusal == nil {
            let body = exchange.buffer?.bytes ?? UnsafeRawBufferPointer(start: emptyBody.baseAddress, count: 0)
            handler.handle(HTTPRequest(head: head(of: exchange), body: body, wireBytes: exchange.wireBytes), exchange)
        }
        releaseBuffer(of: exchange)
        return send(exchange)
    }

    /// The response to a body that is too long.
    func tooLong(_ exchange: HTTPExchange) -> HTTPResponse {
        exchange.tooLong ?? handler.response(to: .bodyTooLarge(limit: exchange.body.limit))
    }

    func releaseBuffer(of exchange: HTTPExchange) {
        guard let buffer = exchange.buffer else { return }
        exchange.buffer = nil
        buffers.giveBack(buffer)
    }

    /// The body has ended, or is not decoded any more.
    func releaseDecoder(of exchange: HTTPExchange) {
        guard exchange.decoder != nil else { return }
        exchange.decoder = nil
        buffers.release(ContentDecoder.bytes)
    }

    func requestEnded(_ exchange: HTTPExchange, isDelivered: Bool) {
        let isDelivered = isDelivered || exchange.isSent
        exchange.requestEnded()
        connections.requestEnded(exchange.connection, now: now)
        abandonStream(of: exchange)
        releaseBuffer(of: exchange)
        releaseDecoder(of: exchange)
        inFlight -= 1
        mailbox.statistics.withLock { statistics in
            statistics.requestsInFlight -= 1
            if !isDelivered { statistics.undelivered += 1 }
        }
        handler.ended(
            HTTPOutcome(
                route: exchange.route < 0 ? nil : exchange.route, status: exchange.status == 0 ? nil : Int(exchange.status),
                isDelivered: isDelivered, wireBytes: exchange.wireBytes, duration: MonotonicClock.nanoseconds() - exchange.began),
            exchange)
    }
}
