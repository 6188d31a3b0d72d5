// Decides when a stopping server responds to requests that wait, and when it ends.

/// The shutdown of a server. Pure; times in monotonic nanoseconds.
struct ShutdownMachine: ~Copyable {
    enum Action: Equatable {
        case none
        case closeListener
        /// The deadline has passed: respond to every request that waits for its response.
        case answerWaiting
        case end
    }

    private enum State {
        case serving
        case draining(until: UInt64)
        /// Responses to waiting requests are being sent.
        case grace(until: UInt64)
        case ended
    }

    private var state = State.serving
    private let grace: UInt64

    /// - Parameter grace: how long the responses to waiting requests may take to be sent, in nanoseconds.
    init(grace: UInt64) { self.grace = grace }

    /// New requests are refused: the server waits for the last ones.
    var isDraining: Bool { if case .serving = state { false } else { true } }

    mutating func stopRequested(deadline: UInt64) -> Action {
        switch state {
        case .serving:
            state = .draining(until: deadline)
            return .closeListener
        case .draining(let until):
            state = .draining(until: min(until, deadline))
        case .grace, .ended:
            break
        }
        return .none
    }

    /// An iteration of the loop has ended.
    mutating func iterationEnded(now: UInt64, inFlight: Int) -> Action {
        switch state {
        case .serving, .ended:
            return .none
        case .draining(let until):
            if inFlight == 0 { return end() }
            guard now >= until else { return .none }
            state = .grace(until: now + grace)
            return .answerWaiting
        case .grace(let until):
            return inFlight == 0 || now >= until ? end() : .none
        }
    }

    /// When the loop must run again though nothing happened; `nil`: not at all.
    var wakeAt: UInt64? {
        switch state {
        case .draining(let until), .grace(let until): until
        case .serving, .ended: nil
        }
    }

    private mutating func end() -> Action {
        state = .ended
        return .end
    }
}
