// Decides for one partition what an operator's pause and a pause for lack of credits mean together.

/// Whether one partition is read: by its credit account, and by a pause in the source.
///
/// ```
/// account open  ⇔  in service and not paused by an operator
/// source paused ⇔  paused by an operator or for lack of credits
/// ```
///
/// An operator's pause closes the account, because a source still holds records that it has fetched. A pause for lack of credits does
/// not: nothing is allowed by the account anyhow. Both pause the same source, which must be resumed only when neither holds, and only
/// after it was paused: resuming a partition that runs rewinds it.
struct PauseMachine: ~Copyable {
    /// What to do, in this order.
    enum Action: Equatable, Sendable {
        /// Nothing more is read; what is under way is finished.
        case closeAccount
        /// Reading may continue.
        case openAccount
        /// Stop fetching, and drop what was prefetched.
        case pause
        /// Fetch again, from where reading stopped.
        case resume
    }

    private var isInService = true
    private var lacksCredits = false
    private var isPausedByOperator = false
    private var isAccountOpen = true
    private var isPaused = false

    /// The credits' watermarks decided.
    mutating func creditsDecided(isPaused: Bool) -> [Action] {
        lacksCredits = isPaused
        return changes()
    }

    /// The operator decided.
    mutating func operatorDecided(isPaused: Bool) -> [Action] {
        isPausedByOperator = isPaused
        return changes()
    }

    /// The partition is out of service, and its account has been closed with it.
    mutating func retracted() {
        isInService = false
        isAccountOpen = false
    }

    /// The partition is in service again under a new generation. Returns whether its new account is open.
    mutating func restarted() -> Bool {
        isInService = true
        isAccountOpen = !isPausedByOperator
        return isAccountOpen
    }

    private mutating func changes() -> [Action] {
        var actions: [Action] = []
        let opensAccount = isInService && !isPausedByOperator
        if opensAccount != isAccountOpen { actions.append(opensAccount ? .openAccount : .closeAccount) }
        isAccountOpen = opensAccount
        let pauses = isPausedByOperator || lacksCredits
        if pauses != isPaused { actions.append(pauses ? .pause : .resume) }
        isPaused = pauses
        return actions
    }
}
