// Says what a sending loop is told in each iteration.

/// What the loop is to do.
enum LoadRound: Sendable, Equatable {
    /// Send what is due.
    case send
    /// Send nothing for the moment: the worker is too far behind.
    case wait
    /// Send again after having waited since a time; what had not come due then comes due so much later.
    case sendAgain(waitedSince: UInt64)
    /// The schedule ends here, whatever is left of it.
    case end
}
