// Decides, for one request, who sends its answer and when: the handler's thread, another one, or nobody.

/// The life of one request between its header and its end. Pure; entered under the exchange's lock, from the loop's thread and from
/// whoever answers.
struct ExchangeMachine<Answer: Sendable>: ~Copyable {
    enum AnswerAction: Equatable {
        /// Nothing to do: the loop looks when the handler returns.
        case keep
        /// The connection is suspended: put the exchange on the loop's list.
        case wake
        /// There is an answer already, or the request is over.
        case refuse
    }

    enum ReturnAction {
        case send(Answer)
        case suspend
    }

    private enum State {
        /// Until the handler has returned.
        case open
        /// The handler has returned without an answer; the connection is suspended.
        case waiting
        /// There is an answer that the loop has not taken.
        case answered(Answer)
        /// The loop has taken the answer.
        case sending
        /// The request is over.
        case ended
    }

    private var state = State.open

    /// The request ended before the loop had taken an answer.
    private(set) var isAbandoned = false

    mutating func answerGiven(_ answer: Answer) -> AnswerAction {
        switch state {
        case .open:
            state = .answered(answer)
            return .keep
        case .waiting:
            state = .answered(answer)
            return .wake
        case .answered, .sending, .ended:
            return .refuse
        }
    }

    mutating func handlerReturned() -> ReturnAction {
        switch state {
        case .open:
            state = .waiting
            return .suspend
        case .answered(let answer):
            state = .sending
            return .send(answer)
        case .waiting, .sending, .ended:
            preconditionFailure("a handler returned twice from one request")
        }
    }

    /// The connection runs again: the answer it was suspended for, or `nil` where the request is over or was resumed without one.
    mutating func connectionResumed() -> Answer? {
        guard case .answered(let answer) = state else { return nil }
        state = .sending
        return answer
    }

    mutating func requestEnded() {
        if case .sending = state {} else { isAbandoned = true }
        state = .ended
    }
}
