// Owns the loop's part of a request from its header to its end: routing, refusals, and the call of the handler.

internal import CMicrohttpd
internal import Glibc
internal import Platform

extension ServerLoop {
    /// The header was received.
    func requestBegan(
        _ connection: OpaquePointer, url: UnsafePointer<CChar>, method name: UnsafePointer<CChar>,
        version: UnsafePointer<CChar>, context: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    ) -> MHD_Result {
        let method = HTTPMethod(name)
        let fields = HeaderFields(of: connection, method: name, url: url, version: version)
        let match = routes.match(method, url)
        var route = -1
        if case .route(let position) = match { route = position }
        let head = HTTPRequestHead(route: route, method: method, connection: connection, fields: fields)
        let isServed = connections.requested(connection, isPriority: route >= 0 && isPriority[route])
        let length = fields.contentLength
        let (coding, isKnownCoding) = length == 0 ? (nil, true) : head.contentCoding
        let admission: HTTPAdmission =
            if !fields.isUnambiguous {
                .respond(response(to: .ambiguousLength))
            } else if !isServed {
                .respond(response(to: .tooManyConnections))
            } else if isDraining {
                .respond(response(to: .stopping))
            } else {
                switch match {
                case .route: isKnownCoding ? handler.admit(head) : .respond(response(to: .unknownCoding))
                case .wrongMethod(let allow): .respond(response(to: .methodNotAllowed(allow: allow)))
                case .notFound: .respond(response(to: .notFound))
                case .ambiguous: .respond(response(to: .ambiguousPath))
                }
            }
        var limit = configuration.maxBodyBytes
        /// The response that does not wait for the body.
        var early: HTTPResponse?
        let handlerContext: (any AnyObject & Sendable)?
        var intake = HTTPExchange.Intake.collect
        var discardBytes = configuration.streamDiscardBytes
        switch admission {
        case .readBody(let own, let known): (limit, handlerContext) = (own ?? limit, known)
        case .stream(let reader, let own, let known): (limit, handlerContext, intake) = (own ?? limit, known, .stream(reader))
        case .peek(let own, let known): (limit, handlerContext, intake) = (own ?? limit, known, .peek)
        case .respond(let refusal, let known):
            (early, handlerContext, discardBytes) = (refusal, known, configuration.discardBytes)
        }
        let isFinal = early.map { (400..<500).contains($0.status) && $0.status != 429 } ?? false
        var body = BodyMachine(
            limit: limit, discardBytes: discardBytes, refusal: early == nil ? nil : isFinal ? .final : .passing)
        // Where the end of a request is unknown, or the connection is over the limit, the body is not read.
        var action =
            fields.isUnambiguous && isServed
            ? body.headerReceived(length: length, isCoded: coding != nil, expectsContinue: fields.expectsContinue) : .respondNow
        var decoder: ContentDecoder?
        if case .read = action, let coding {
            if buffers.reserve(ContentDecoder.bytes) {
                decoder = ContentDecoder(coding)
            } else {
                early = response(to: .tooManyBodies)
                action = fields.expectsContinue ? .respondNow : body.refused(length: length) ? .discard : .respondEarly
            }
        }
        if case .read = action {} else { intake = .collect }
        let record = connections[connection]
        record.rate.headerReceived(now: now, isBodyExpected: action != .respondNow && length != 0)
        let exchange = HTTPExchange(
            mailbox: mailbox, head: head, intake: intake, body: body, decoder: decoder, context: handlerContext, now: now)
        context.pointee = Unmanaged.passRetained(exchange).toOpaque()
        record.exchange = Unmanaged.passUnretained(exchange)
        statistics.requestsInFlight += 1
        statistics.requests += 1
        if !isServed { statistics.connectionLimitRefusals += 1 }
        switch action {
        case .read(let expecting):
            if expecting > 0, !intake.isStream { exchange.buffer = buffers.take(expecting: expecting) }
            return .YES
        case .discard:
            if let early { exchange.respond(early) }
            return .YES
        case .respondEarly:
            return respondEarly(early ?? tooLong(exchange), to: exchange) ? .YES : .NO
        case .respondNow:
            exchange.isHandled = true
            exchange.respond(early ?? tooLong(exchange))
            return send(exchange)
        }
    }

    func head(of exchange: HTTPExchange) -> HTTPRequestHead {
        HTTPRequestHead(
            route: exchange.route, method: exchange.method, connection: exchange.connection, fields: exchange.fields)
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
            exchange.respond(response(to: .undecodable))
        } else if exchange.body.refusal == nil {
            let body = exchange.buffer?.bytes ?? UnsafeRawBufferPointer(start: emptyBody.baseAddress, count: 0)
            handler.handle(HTTPRequest(head: head(of: exchange), body: body, wireBytes: exchange.wireBytes), exchange)
        }
        releaseBuffer(of: exchange)
        return send(exchange)
    }

    /// The response to a body that is too long.
    func tooLong(_ exchange: HTTPExchange) -> HTTPResponse {
        handler.responseToLongBody(of: exchange, limit: exchange.body.limit)
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
        statistics.requestsInFlight -= 1
        if !isDelivered { statistics.undelivered += 1 }
        handler.ended(
            HTTPOutcome(
                route: exchange.route < 0 ? nil : exchange.route, status: exchange.status == 0 ? nil : Int(exchange.status),
                isDelivered: isDelivered, wireBytes: exchange.wireBytes, duration: MonotonicClock.nanoseconds() - exchange.began),
            exchange)
    }
}
