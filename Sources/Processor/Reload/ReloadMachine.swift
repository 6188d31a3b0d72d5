// Decides when a changed configuration is loaded, and counts the generations of what is in force.

/// The way of a changed configuration into force, as pure state.
///
/// A change is loaded once two looks in a row have found the same content: somebody may be in the middle of writing it. Whoever asks
/// (SIGHUP) is answered at once. A content is loaded once, whether it was accepted or refused, so a fault is said once; whoever asks is
/// told again.
struct ReloadMachine: ~Copyable {
    /// What to do about the files.
    enum Action: Equatable {
        case none
        /// Load and check them.
        case load
    }

    /// Counts what was put into force; the configuration of the start is 1.
    private(set) var generation = 1
    private var decided: Int
    private var candidate: Int?

    /// - Parameter digest: the content that is in force.
    init(inForce digest: Int) { decided = digest }

    /// The files were looked at.
    mutating func looked(_ digest: Int) -> Action {
        guard digest != decided else {
            candidate = nil
            return .none
        }
        guard digest == candidate else {
            candidate = digest
            return .none
        }
        return asked(digest)
    }

    /// Somebody asked for the files to be loaded, which hold this.
    mutating func asked(_ digest: Int) -> Action {
        candidate = nil
        decided = digest
        return .load
    }

    /// What was loaded is good and was put into force. Answers the generation.
    mutating func accepted(isDifferent: Bool) -> Int {
        if isDifferent { generation += 1 }
        return generation
    }
}
