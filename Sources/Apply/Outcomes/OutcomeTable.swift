// Owns what each SQLSTATE means for a transaction: try again, blame the row, or stop.

public import Postgres

/// What is done about a failed statement.
public enum ErrorOutcome: String, Sendable, CaseIterable {
    /// The same transaction again, after a pause.
    case retry
    /// The same events again in transactions half the size.
    case retryHalved = "retry_halved"
    /// A row is at fault: it becomes a dead letter.
    case deadLetter = "dead_letter"
    /// Nothing here can help: the partition stops with a message.
    case stop
    /// The row may be waiting for its parent: again until a deadline, then a dead letter.
    case foreignKeyRetry = "foreign_key_retry"
}

/// Reactions by SQLSTATE or by class (PostgreSQL manual, appendix A). The most specific entry wins; what is not in the table
/// stops.
public struct OutcomeTable: Sendable, Equatable {
    private var reactions: [String: ErrorOutcome]

    /// What holds where the configuration says nothing.
    public static let defaults: [String: ErrorOutcome] = [
        "08": .retry, "25006": .retry, "25P03": .retry, "40001": .retry, "40P01": .retry, "53": .retry, "55P03": .retry,
        "57014": .retryHalved, "57P01": .retry, "57P02": .retry, "57P03": .retry, "58030": .retry,
        "21": .deadLetter, "22": .deadLetter, "23": .deadLetter, "54": .deadLetter, "P0001": .deadLetter,
        "23503": .foreignKeyRetry,
        // A session that lost its prepared statements, as behind a pooler, prepares them again.
        "26000": .retry,
        "0A": .stop, "28": .stop, "3D": .stop, "42": .stop, "57P04": .stop, "XX": .stop,
    ]

    /// The defaults with changes on top.
    /// - Parameter overrides: `apply.outcomes`: five characters of a SQLSTATE or two of a class, and the name of a ``ErrorOutcome``.
    /// - Throws: `ApplyError` naming every entry that is none.
    public init(overrides: [String: String] = [:]) throws(ApplyError) {
        reactions = Self.defaults
        var faults: [String] = []
        for (state, name) in overrides.sorted(by: { $0.key < $1.key }) {
            let isState =
                [2, 5].contains(state.utf8.count) && state.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) }
            if !isState {
                faults.append("\(state) is neither a SQLSTATE nor a class (five or two of 0-9, A-Z)")
            } else if let reaction = ErrorOutcome(rawValue: name) {
                reactions[state] = reaction
            } else {
                faults.append("\(state): \(name) is none of \(ErrorOutcome.allCases.map(\.rawValue).joined(separator: ", "))")
            }
        }
        if !faults.isEmpty { throw ApplyError(.configuration, "apply.outcomes: " + faults.joined(separator: "; ")) }
    }

    /// What is done about a state. `nil`, an error without one that is no lost connection, stops.
    public func outcome(of state: SQLState?) -> ErrorOutcome {
        guard let state else { return .stop }
        return reactions[state.rawValue] ?? reactions[state.classCode] ?? .stop
    }

    /// The states and classes that ``outcome(of:)`` answers with a dead letter, for the function that decides in the server.
    func refusals(isFinalForeignKeyAttempt: Bool) -> (states: [String], otherStates: [String], classes: [String]) {
        func refuses(_ reaction: ErrorOutcome) -> Bool {
            reaction == .deadLetter || (isFinalForeignKeyAttempt && reaction == .foreignKeyRetry)
        }
        let states = reactions.filter { $0.key.utf8.count == 5 }
        return (
            states.filter { refuses($0.value) }.keys.sorted(), states.filter { !refuses($0.value) }.keys.sorted(),
            reactions.filter { $0.key.utf8.count == 2 && refuses($0.value) }.keys.sorted()
        )
    }
}

/// The names under which dead letters are counted and stored: `decode:` and the decoder's reason, or `sql:` and one of a few.
public enum DeadLetterReason {
    /// Names by state, then by class.
    private static let names: [String: String] = [
        "23502": "not_null", "23503": "foreign_key", "23505": "unique", "23514": "check", "23P01": "exclusion",
        "21": "cardinality", "22": "data", "23": "integrity", "54": "limit", "P0": "raised",
    ]

    /// Every `sql:` name there is, for counters that start at 0.
    public static let allSQL: [String] = Set(names.values).union(["other"]).map { "sql:" + $0 }.sorted()

    /// The name for a refusal by SQL.
    public static func sql(_ state: String) -> String {
        "sql:" + (names[state] ?? names[String(state.prefix(2))] ?? "other")
    }

    /// The name for a decoder's fault.
    public static func decode(_ reason: String) -> String { "decode:" + reason }
}
