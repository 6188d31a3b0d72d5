// Decides for one request when its response is sent: as the handler returns, later, or not at all.

/// One request from its header to its end. Pure; used under the exchange's lock, by the loop's thread and by the one that responds.
struct ExchangeMachine<Response: Sendable>: ~Copyable {
    enum ResponseAction: Equatable {
        /// The loop takes the response when the handler returns.
        case keep
        /// The connection is suspended: post the exchange to the loop.
        case wake
        /// There is a response already, or the request is over.
        case refuse
    }

    enum ReturnAction {
        case send(Response)
        case suspend
    }

    private enum State {
        /// The handler has not returned.
        case open
        /// The handler has returned without a response; the connection is suspended.
        case waiting
        /// There is a response that the loop has not taken.
        case answered(Response)
        /// The loop has taken the response, or the request is over.
        case ended
    }

    private var state = State.open

    mutating func responded(_ response: Response) -> ResponseAction {
        switch state {
        case .open:
            state = .answered(response)
            return .keep
        case .waiting:
            state = .answered(response)
            return .wake
        case .answered, .ended:
            return .refuse
        }
    }

    mutating func handlerReturned() -> ReturnAction {
        switch state {
        case .open:
            state = .waiting
            return .suspend
        case .answered(let response):
            state = .ended
            return .send(response)
        case .waiting, .ended:
            preconditionFailure("the handler returned twice from one request")
        }
    }

    /// The connection was resumed.
    /// - Returns: the response it was suspended for; `nil`: the request is over, or was resumed without one.
    mutating func connectionResumed() -> Response? {
        guard case .answered(let response) = state else { return nil }
        state = .ended
        return response
    }

    mutating func requestEnded() { state = .ended }
}
