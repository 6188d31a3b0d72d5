// Owns the loop's part of bodies that are read piece by piece: offering pieces, suspending and resuming requests.

internal import CMicrohttpd
internal import Platform

extension ServerLoop {
    /// A piece of a body was received that is not, or not yet, collected. Leaves in `size` the number of bytes to offer again.
    func pieceStreamed(
        _ exchange: HTTPExchange, _ data: UnsafePointer<CChar>, size: UnsafeMutablePointer<Int>
    ) -> MHD_Result {
        let piece = UnsafeRawBufferPointer(start: data, count: size.pointee)
        size.pointee = 0
        if case .peek = exchange.intake, exchange.body.offered(piece.count) > 0 {
            let head = HTTPRequestHead(route: exchange.route, method: exchange.method, connection: exchange.connection)
            switch handler.choose(head, exchange, firstBytes: piece) {
            case .skip:
                return drop(piece.count, of: exchange)
            case .collect(let limit, let refusal):
                exchange.intake = .collect
                exchange.tooLong = refusal
                exchange.body.limitLowered(to: limit ?? configuration.maxBodyBytes)
                return pieceReceived(exchange, data, count: piece.count)
            case .stream(let reader):
                releaseBuffer(of: exchange)
                exchange.intake = .stream(reader)
            }
        }
        let offered = exchange.body.offered(piece.count)
        guard case .stream(let reader) = exchange.intake, offered > 0 else { return drop(piece.count, of: exchange) }
        switch reader.read(UnsafeRawBufferPointer(rebasing: piece[..<offered]), exchange) {
        case .more:
            return drop(piece.count, of: exchange)
        case .later(let taken, let within):
            precondition(taken >= 0 && taken < offered, "a reader that suspends its request must leave bytes to offer again")
            _ = exchange.body.pieceReceived(taken)
            connections[exchange.connection].rate.moved(taken)
            size.pointee = piece.count - taken
            suspend(exchange, within)
            return .YES
        case .enough:
            exchange.body.readerStopped()
            return drop(piece.count, of: exchange)
        }
    }

    /// Counts bytes that were taken or dropped; ends the connection when too many are dropped.
    private func drop(_ count: Int, of exchange: HTTPExchange) -> MHD_Result {
        connections[exchange.connection].rate.moved(count)
        return exchange.body.pieceReceived(count) == .close ? .NO : .YES
    }

    /// The body of a reader has ended.
    func streamEnded(_ exchange: HTTPExchange, _ reader: any HTTPBodyReader) -> MHD_Result {
        connections.requestReceived(exchange.connection)
        let end: HTTPBodyEnd = exchange.body.isCut ? .tooLong(limit: exchange.body.limit) : .complete
        if case .later(_, let within) = reader.ended(end, exchange) {
            suspend(exchange, within)
            return .YES
        }
        exchange.isHandled = true
        return send(exchange)
    }

    private func suspend(_ exchange: HTTPExchange, _ within: Duration) {
        suspended.insert(exchange, until: MonotonicClock.nanoseconds() + within.nanoseconds)
        connections[exchange.connection].rate.paused(now: now)
        MHD_suspend_connection(exchange.connection)
    }

    /// Reads the body of a suspended request again.
    func resumeReading(_ exchange: HTTPExchange) {
        suspended.remove(exchange)
        connections[exchange.connection].rate.resumed(now: now)
        MHD_resume_connection(exchange.connection)
    }

    /// The server stops: the rest of all suspended bodies is dropped, and those that end in time get this response.
    func dismissSuspended(_ response: HTTPResponse) {
        for exchange in suspended.all {
            abandonStream(of: exchange)
            exchange.respond(response)
            resumeReading(exchange)
        }
        // The daemon has run already in this iteration: without a signal it would not notice the resumed connections.
        mailbox.wake.signal()
    }

    /// Tells the reader that its body will not end.
    func abandonStream(of exchange: HTTPExchange) {
        guard case .stream(let reader) = exchange.intake else { return }
        exchange.intake = .drop
        exchange.body.readerStopped()
        if !exchange.isHandled { reader.abandoned() }
    }
}
