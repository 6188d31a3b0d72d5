// Decides for one partition what its two brakes, the operator's and the credits', mean together.

/// Whether one partition is read: by its gate in the credit pool, and by a pause in the source.
///
/// ```
///                     gate                                   source
///   open    ⇔ in service and not the operator's    paused ⇔ the operator's or braked
/// ```
///
/// The operator's pause shuts the gate, because a source still holds records that it has fetched; the second brake does not: it is
/// pulled where the account is closed anyhow. Both ask the same source, which must be told to resume only where neither holds, and
/// only where it was told to pause: resuming a partition that runs rewinds it.
public struct PauseMachine: ~Copyable {
    /// What to do, in this order.
    public enum Action: Equatable, Sendable {
        /// Nothing more is read; what is under way is finished.
        case shutGate
        /// Reading may go on.
        case openGate
        /// Stop fetching, and let go of what was prefetched.
        case pause
        /// Fetch again, from where reading stopped.
        case resume
    }

    private var isInService = true
    private var isBraked = false
    private var isOperators = false
    private var isGateOpen = true
    private var isPaused = false

    /// A partition of a new assignment: its gate open, its source running.
    public init() {}

    /// The second brake moved.
    public mutating func brakeMoved(isPulled: Bool) -> [Action] {
        isBraked = isPulled
        return settled()
    }

    /// The operator decided.
    public mutating func operatorDecided(isPaused: Bool) -> [Action] {
        isOperators = isPaused
        return settled()
    }

    /// The partition is out of service, and its gate has been shut with it.
    public mutating func retracted() {
        isInService = false
        isGateOpen = false
    }

    /// The partition is in service again under a new generation. Answers whether the gate of its new account is open.
    public mutating func restarted() -> Bool {
        isInService = true
        isGateOpen = !isOperators
        return isGateOpen
    }

    private mutating func settled() -> [Action] {
        var actions: [Action] = []
        let opensGate = isInService && !isOperators
        if opensGate != isGateOpen { actions.append(opensGate ? .openGate : .shutGate) }
        isGateOpen = opensGate
        let pauses = isOperators || isBraked
        if pauses != isPaused { actions.append(pauses ? .pause : .resume) }
        isPaused = pauses
        return actions
    }
}
