// Decides when a server stops listening, when it stops waiting, and when it ends.

/// The life of a server after the first order to stop. Pure: time is passed in, in monotonic nanoseconds.
struct ShutdownMachine: ~Copyable {
    enum Action: Equatable {
        case none
        case closeListener
        /// The deadline has passed: give every request that waits for an answer the one that says so.
        case dismissWaiting
        case end
    }

    private enum State {
        case serving
        case draining(until: UInt64)
        case dismissing(until: UInt64)
        case ended
    }

    private var state = State.serving
    private let shutdownGrace: UInt64

    /// - Parameter shutdownGrace: how long dismissed requests are given to be answered, in nanoseconds.
    init(shutdownGrace: UInt64) { self.shutdownGrace = shutdownGrace }

    /// New requests are to be refused: the server waits for the last ones.
    var isDraining: Bool {
        switch state {
        case .serving: false
        case .draining, .dismissing, .ended: true
        }
    }

    mutating func stopOrdered(deadline: UInt64) -> Action {
        switch state {
        case .serving:
            state = .draining(until: deadline)
            return .closeListener
        case .draining(let until):
            state = .draining(until: min(until, deadline))
        case .dismissing, .ended:
            break
        }
        return .none
    }

    /// The loop has gone round once.
    mutating func iterationEnded(now: UInt64, inFlight: Int) -> Action {
        switch state {
        case .serving, .ended:
            return .none
        case .draining(let until):
            if inFlight == 0 { return end() }
            guard now >= until else { return .none }
            state = .dismissing(until: now + shutdownGrace)
            return .dismissWaiting
        case .dismissing(let until):
            return inFlight == 0 || now >= until ? end() : .none
        }
    }

    /// The moment at which the loop must go round again though nothing happened.
    var wakeAt: UInt64? {
        switch state {
        case .draining(let until), .dismissing(let until): until
        case .serving, .ended: nil
        }
    }

    private mutating func end() -> Action {
        state = .ended
        return .end
    }
}
