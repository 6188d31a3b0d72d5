// Owns the loop's part of a response: waiting for it, and queueing it at libmicrohttpd.

internal import CMicrohttpd
internal import Telemetry

extension ServerLoop {
    /// The handler has returned: queues its response, or suspends the connection until there is one.
    func send(_ exchange: HTTPExchange) -> MHD_Result {
        switch exchange.handlerReturned() {
        case .send(let response):
            return queue(response, on: exchange)
        case .suspend:
            awaitingResponse.insert(exchange)
            MHD_suspend_connection(exchange.connection)
            return .YES
        }
    }

    /// Resumes the connection of an exchange that waits for its response.
    func resume(_ exchange: HTTPExchange) {
        if awaitingResponse.remove(exchange) { MHD_resume_connection(exchange.connection) }
    }

    func queue(_ response: HTTPResponse, on exchange: HTTPExchange) -> MHD_Result {
        switch response.content {
        case .prepared(let prepared):
            return queue(response.status, prepared.handle, on: exchange)
        case .built(let headers, let body):
            return queue(ResponseHandle(headers: headers, body: body), response.status, on: exchange)
        case .streamed(let headers, let source):
            let record = connections[exchange.connection]
            record.rate.responseStarted(now: now)
            let written = { (count: Int) in
                self.callbacks &+= 1
                record.rate.moved(count)
            }
            return queue(ResponseHandle(headers: headers, source: source, written: written), response.status, on: exchange)
        }
    }

    private func queue(_ made: consuming ResponseHandle?, _ status: Int, on exchange: HTTPExchange) -> MHD_Result {
        guard let handle = made else {
            log(.error, "Response header with a line break; 500 is sent instead.", "status \(status)")
            return queue(response(to: .invalidHeader), on: exchange)
        }
        return queue(status, handle, on: exchange)
    }

    /// libmicrohttpd keeps the pointers to both until the request is over.
    private static let closing: (name: StaticString, value: StaticString) = ("Connection", "close")

    private func queue(_ status: Int, _ handle: borrowing ResponseHandle, on exchange: HTTPExchange) -> MHD_Result {
        exchange.status = Int32(status)
        connections.responded(exchange.connection)
        // As if the client had asked for it: libmicrohttpd then ends the connection, and says so in the response.
        if isStopAnnounced {
            MHD_set_connection_value(exchange.connection, .HEADER_KIND, Self.closing.name.cString, Self.closing.value.cString)
        }
        let result = MHD_queue_response(exchange.connection, UInt32(status), handle.pointer)
        if result != .YES { log(.error, "libmicrohttpd refused a response; its connection is closed.", "status \(status)") }
        return result
    }
}
