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

    /// When the loop must run again though nothing happened: at the deadline, then at the end of the grace; `nil`: the server is serving.
    private(set) var wakeAt: UInt64?
    /// Responses to waiting requests are being sent.
    private var isGrace = false
    private let grace: UInt64

    /// - Parameter grace: how long the responses to waiting requests may take to be sent, in nanoseconds.
    init(grace: UInt64) { self.grace = grace }

    /// New requests are refused: the server waits for the last ones.
    var isDraining: Bool { wakeAt != nil }

    mutating func stopRequested(deadline: UInt64) -> Action {
        let before = wakeAt
        if !isGrace { wakeAt = min(before ?? .max, deadline) }
        return before == nil ? .closeListener : .none
    }

    /// An iteration of the loop has ended.
    mutating func iterationEnded(now: UInt64, inFlight: Int) -> Action {
        guard let until = wakeAt else { return .none }
        if inFlight == 0 || isGrace && now >= until { return .end }
        guard !isGrace, now >= until else { return .none }
        (isGrace, wakeAt) = (true, now + grace)
        return .answerWaiting
    }
}
