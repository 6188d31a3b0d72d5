// Decides when changed files are loaded, and counts the configurations that were applied.

/// When the files of the configuration are loaded.
///
/// A change is loaded once two checks in a row have found the same content, because the files may be half written. A request (SIGHUP) loads
/// them at once. Without a request, a content is loaded once, whether it is accepted or refused, so that a fault is logged once.
struct ReloadMachine: ~Copyable {
    enum Action: Equatable {
        case none
        /// Load and check the files.
        case load
    }

    /// The number of applied configurations; the one of the start is 1.
    private(set) var generation = 1
    private var loaded: Int
    private var candidate: Int?

    /// - Parameter digest: of the files' content at the start.
    init(started digest: Int) { loaded = digest }

    /// The files were checked at an interval.
    mutating func checked(_ digest: Int) -> Action {
        guard digest != loaded else {
            candidate = nil
            return .none
        }
        guard digest == candidate else {
            candidate = digest
            return .none
        }
        return requested(digest)
    }

    /// A reload was requested; the files hold this content.
    mutating func requested(_ digest: Int) -> Action {
        candidate = nil
        loaded = digest
        return .load
    }

    /// The loaded configuration is valid and is applied.
    /// - Returns: its generation.
    mutating func accepted(isDifferent: Bool) -> Int {
        if isDifferent { generation += 1 }
        return generation
    }
}
