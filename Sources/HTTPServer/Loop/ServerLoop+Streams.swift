// Owns the loop's part for bodies that are read piece by piece: offering, dropping, parking and waking.

internal import CMicrohttpd

extension ServerLoop {
    /// A piece of a body that is not, or not yet, collected. Leaves in `size` what is to be offered again.
    func pieceStreamed(
        _ exchange: HTTPExchange, _ data: UnsafePointer<CChar>, size: UnsafeMutablePointer<Int>
    ) -> MHD_Result {
        let piece = UnsafeRawBufferPointer(start: data, count: size.pointee)
        size.pointee = 0
        if case .peek = exchange.intake, exchange.body.offered(piece.count) > 0 {
            let head = HTTPRequestHead(route: exchange.route, method: exchange.method, connection: exchange.connection)
            switch handler.choose(head, firstBytes: piece) {
            case .skip:
                return drop(piece.count, of: exchange)
            case .collect(let limit):
                exchange.intake = .collect
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
            precondition(taken >= 0 && taken < offered, "a reader that waits must leave something to wait with")
            _ = exchange.body.pieceReceived(taken)
            connections.pieceReceived(exchange.connection, taken)
            size.pointee = piece.count - taken
            park(exchange, within)
            return .YES
        case .enough:
            exchange.body.readerStopped()
            return drop(piece.count, of: exchange)
        }
    }

    /// Counts bytes that are done with; too many behind the end of what is wanted end the connection.
    private func drop(_ count: Int, of exchange: HTTPExchange) -> MHD_Result {
        connections.pieceReceived(exchange.connection, count)
        return exchange.body.pieceReceived(count) == .close ? .NO : .YES
    }

    /// The body that a reader takes has ended.
    func streamEnded(_ exchange: HTTPExchange, _ reader: any HTTPBodyReader) -> MHD_Result {
        connections.requestReceived(exchange.connection)
        let end: HTTPBodyEnd = exchange.body.isCut ? .tooLong(limit: exchange.body.limit) : .complete
        if case .later(_, let within) = reader.ended(end, exchange) {
            park(exchange, within)
            return .YES
        }
        exchange.isHandled = true
        return send(exchange)
    }

    private func park(_ exchange: HTTPExchange, _ within: Duration) {
        let (seconds, attoseconds) = within.components
        let wait = UInt64(clamping: seconds) * 1_000_000_000 + UInt64(clamping: attoseconds) / 1_000_000_000
        parked.park(exchange, until: monotonicNow() + wait)
        connections.paused(exchange.connection, now: now)
        MHD_suspend_connection(exchange.connection)
    }

    /// Lets a parked exchange go on; one that is not parked does so anyway.
    func wake(_ exchange: HTTPExchange) {
        guard exchange.parkedUntil != nil else { return }
        parked.remove(exchange)
        connections.resumed(exchange.connection, now: now)
        MHD_resume_connection(exchange.connection)
    }

    /// The server stops and cannot wait for the rest of these bodies: they are dropped as they come, and answered where they end in
    /// time.
    func dismissParked(_ answer: HTTPResponse) {
        for exchange in parked.all {
            abandonStream(of: exchange)
            exchange.respond(answer)
            wake(exchange)
        }
        // The daemon has had its turn: nobody else tells it that connections run again.
        mailbox.wake.signal()
    }

    /// The reader is told that its body has no end.
    func abandonStream(of exchange: HTTPExchange) {
        guard case .stream(let reader) = exchange.intake else { return }
        exchange.intake = .drop
        exchange.body.readerStopped()
        if !exchange.isHandled { reader.abandoned() }
    }
}
