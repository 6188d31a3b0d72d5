// Says what a sending loop is told in each iteration.

/// What the loop does next.
enum LoadRound: Sendable, Equatable {
    /// Send what is due.
    case send
    /// Send nothing: the worker's lag is too large.
    case wait
    /// Send again after waiting since a time. Events that were not due then become due later by the time waited.
    case sendAgain(waitedSince: UInt64)
    /// End before the schedule does.
    case end
}
