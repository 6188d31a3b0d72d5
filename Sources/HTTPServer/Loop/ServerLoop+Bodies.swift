// Owns the loop's part of bodies: decoding, collecting, offering pieces, suspending and resuming requests.

internal import CMicrohttpd
internal import Glibc
internal import Platform

extension ServerLoop {
    /// After so many decoded bytes of a body, its reader waits for the loop's next iteration.
    private static let decodedBytesInIteration = 64 << 10

    /// What became of bytes that were offered.
    private enum Taken {
        case all
        /// The request is suspended; the bytes after these are offered again.
        case part(Int)
        /// The connection is to be closed.
        case none
    }

    /// A piece of a body was received. Leaves in `size` the number of bytes to offer again.
    func pieceReceived(
        _ exchange: HTTPExchange, _ data: UnsafePointer<CChar>, size: UnsafeMutablePointer<Int>
    ) -> MHD_Result {
        let piece = UnsafeRawBufferPointer(start: data, count: size.pointee)
        exchange.body.arrived(piece.count - (exchange.decoder?.decodedAhead ?? 0))
        let taken: Taken =
            if let decoder = exchange.decoder, !exchange.body.isDropped {
                decode(piece, by: decoder, of: exchange)
            } else {
                take(piece, of: exchange)
            }
        switch taken {
        case .all: size.pointee = 0
        case .part(let count): size.pointee -= count
        case .none: return .NO
        }
        let left = size.pointee
        exchange.body.arrived(-(left - (exchange.decoder?.decodedAhead ?? 0)))
        connections[exchange.connection].rate.moved(piece.count - left)
        return .YES
    }

    private func decode(_ piece: UnsafeRawBufferPointer, by decoder: ContentDecoder, of exchange: HTTPExchange) -> Taken {
        var at = decoder.decodedAhead
        decoder.decodedAhead = 0
        var decodedBytes = 0
        while true {
            let decoded = decoder.next(piece, &at, into: decodedMemory)
            if decoder.isDamaged, decoded.isEmpty {
                guard exchange.intake.isStream else {
                    return respondEarly(response(to: .undecodable), to: exchange) ? .all : .none
                }
                exchange.body.readerStopped()
            } else if decoded.isEmpty {
                return .all
            } else {
                switch take(decoded, of: exchange) {
                case .all: break
                case .part(let count):
                    decoder.keep(decoded[count...])
                    if at == piece.count {
                        at -= 1
                        decoder.decodedAhead = 1
                    }
                    return .part(at)
                case .none: return .none
                }
            }
            if exchange.body.isDropped { return take(UnsafeRawBufferPointer(rebasing: piece[at...]), of: exchange) }
            decodedBytes += decoded.count
            if exchange.intake.isStream, decodedBytes >= Self.decodedBytesInIteration {
                // A piece may hold a thousand times its size: other connections are served in between.
                if at == piece.count {
                    at -= 1
                    decoder.decodedAhead = 1
                }
                suspend(exchange, .zero)
                return .part(at)
            }
        }
    }

    /// Collects bytes, offers them to the reader, or drops them.
    private func take(_ piece: UnsafeRawBufferPointer, of exchange: HTTPExchange) -> Taken {
        if case .peek = exchange.intake, exchange.body.offered(piece.count) > 0 {
            switch handler.choose(head(of: exchange), exchange, firstBytes: piece) {
            case .skip:
                return drop(piece.count, of: exchange)
            case .collect(let limit):
                exchange.intake = .collect
                exchange.body.limitLowered(to: limit ?? configuration.maxBodyBytes)
            case .stream(let reader):
                releaseBuffer(of: exchange)
                exchange.intake = .stream(reader)
            }
        }
        let offered = exchange.body.offered(piece.count)
        guard case .stream(let reader) = exchange.intake else { return collect(piece, of: exchange) }
        guard offered > 0 else { return drop(piece.count, of: exchange) }
        switch reader.read(UnsafeRawBufferPointer(rebasing: piece[..<offered]), exchange) {
        case .more:
            return drop(piece.count, of: exchange)
        case .later(let taken, let within):
            precondition(taken >= 0 && taken < offered, "a reader that suspends its request must leave bytes to offer again")
            _ = exchange.body.pieceReceived(taken)
            suspend(exchange, within)
            return .part(taken)
        case .enough:
            exchange.body.readerStopped()
            return drop(piece.count, of: exchange)
        }
    }

    private func collect(_ piece: UnsafeRawBufferPointer, of exchange: HTTPExchange) -> Taken {
        guard case .collect = exchange.intake, !exchange.body.isDropped else { return drop(piece.count, of: exchange) }
        guard exchange.body.pieceReceived(piece.count) == .append, let bytes = piece.baseAddress else {
            return refuse(exchange)
        }
        let buffer = exchange.buffer ?? buffers.take(expecting: 0)
        exchange.buffer = buffer
        if buffers.grow(buffer, to: buffer.count + piece.count) {
            buffer.append(bytes, count: piece.count)
            return .all
        }
        releaseBuffer(of: exchange)
        guard exchange.body.refused() else { return respondEarly(response(to: .tooManyBodies), to: exchange) ? .all : .none }
        exchange.respond(response(to: .tooManyBodies))
        return .all
    }

    /// Counts bytes that were taken or dropped; ends the connection when too many are dropped.
    private func drop(_ count: Int, of exchange: HTTPExchange) -> Taken {
        switch (exchange.body.pieceReceived(count), exchange.intake) {
        case (.close, .drain):
            // Its client may still read the response, which a reset would destroy.
            exchange.intake = .drop
            suspend(exchange, .nanoseconds(TransferRateMachine.refusalTime / 2))
            return .part(0)
        case (.close, _): return .none
        case (.refuse, .peek), (.refuse, .collect): return refuse(exchange)
        default: return .all
        }
    }

    /// The body is longer than its limit.
    private func refuse(_ exchange: HTTPExchange) -> Taken {
        respondEarly(tooLong(exchange), to: exchange) ? .all : .none
    }

    /// Responds inside the body. What still comes of it is dropped for a moment, up to a bound, so that the client reads the response before
    /// its connection is closed (RFC 9112, section 9.6).
    /// - Returns: `false`: the connection is to be closed, because the response cannot be sent.
    func respondEarly(_ response: HTTPResponse, to exchange: HTTPExchange) -> Bool {
        abandonStream(of: exchange)
        releaseBuffer(of: exchange)
        exchange.isHandled = true
        exchange.respond(response)
        releaseDecoder(of: exchange)
        guard case .send(let response) = exchange.handlerReturned() else { return false }
        exchange.status = Int32(response.status)
        exchange.intake = .drain
        exchange.body.answered()
        let bytes = response.serialized(withBody: exchange.method != .head, at: time(nil))
        exchange.isSent = connections.refuse(exchange.connection, with: bytes, now: now)
        return exchange.isSent
    }

    /// The body of a reader has ended.
    func streamEnded(_ exchange: HTTPExchange, _ reader: any HTTPBodyReader) -> MHD_Result {
        connections.requestReceived(exchange.connection)
        let end: HTTPBodyEnd =
            exchange.body.isCut ? .tooLong(limit: exchange.body.limit) : exchange.isUndecodable ? .undecodable : .complete
        if case .later(_, let within) = reader.ended(end, exchange) {
            suspend(exchange, within)
            return .YES
        }
        releaseDecoder(of: exchange)
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
