// Names the constraints whose refusals are final.

/// The constraints by which a row may be refused for good: where the outcome is ``ErrorOutcome/constraintRetry``, its record becomes a
/// dead letter and does not wait.
public enum FinalConstraints: Sendable, Equatable {
    /// All of them.
    case all
    /// Those with these names. The empty name stands for refusals that name no constraint.
    case named(Set<String>)

    /// None: whatever may wait, waits.
    public static let none = named([])

    /// Whether a refusal by this constraint is final.
    public func contains(_ constraint: String?) -> Bool {
        switch self {
        case .all: true
        case .named(let names): names.contains(constraint ?? "")
        }
    }
}
