// Owns the outcomes of errors by SQLSTATE.

internal import Platform
public import Postgres

/// What is done about a failed statement.
public enum ErrorOutcome: String, Sendable, CaseIterable {
    /// Retry the same transaction, after a wait.
    case retry
    /// Retry the same events in transactions of half the size.
    case retryHalved = "retry_halved"
    /// One row is at fault: its record becomes a dead letter.
    case deadLetter = "dead_letter"
    /// Retrying does not help: the partition stops with a message.
    case stop
    /// Another row may come or go, and the constraint take the row then: retry until a deadline, then a dead letter.
    case constraintRetry = "constraint_retry"
}

/// Outcomes by SQLSTATE or by class (PostgreSQL manual, appendix A). A SQLSTATE takes precedence over its class; any other stops.
public struct OutcomeTable: Sendable, Equatable {
    private var outcomes: [String: ErrorOutcome]

    /// The table without overrides.
    public static let defaults: [String: ErrorOutcome] = [
        "08": .retry, "25006": .retry, "25P03": .retry, "25P04": .retryHalved, "40": .retry, "53": .retry, "55P03": .retry,
        "57": .retry, "57014": .retryHalved, "58030": .retry,
        // Too many locks, as of a batch over many table partitions: a smaller one needs fewer.
        "53200": .retryHalved,
        "21": .deadLetter, "22": .deadLetter, "23": .deadLetter, "54": .deadLetter, "P0001": .deadLetter,
        "23503": .constraintRetry, "23505": .constraintRetry,
        // A used-up sequence is a fault of the schema, not of the row.
        "2200H": .stop,
        // The session has lost its prepared statements, as with a connection pooler: they are prepared again.
        "26000": .retry,
        "0A": .stop, "28": .stop, "3D": .stop, "42": .stop, "XX": .stop,
    ]

    /// The defaults with overrides.
    /// - Parameter overrides: `apply.outcomes`: five characters of a SQLSTATE or two of a class, and the name of an ``ErrorOutcome``.
    /// - Throws: `ApplyError` that names every wrong entry.
    public init(overrides: [String: String] = [:]) throws(ApplyError) {
        outcomes = Self.defaults
        var faults: [String] = []
        for (state, name) in overrides.sorted(by: { $0.key < $1.key }) {
            let isState =
                [2, 5].contains(state.utf8.count) && state.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) }
            if !isState {
                faults.append("\(state) is neither a SQLSTATE nor a class (five or two of 0-9, A-Z)")
            } else if let outcome = ErrorOutcome(rawValue: name) {
                outcomes[state] = outcome
            } else if name == "foreign_key_retry" {
                faults.append("\(state): foreign_key_retry was renamed to constraint_retry; write that")
            } else {
                let names = ErrorOutcome.allCases.map(\.rawValue)
                let meant = Nearest.name(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
                faults.append("\(state): \(name) is none of \(names.joined(separator: ", "))\(meant)")
            }
        }
        if !faults.isEmpty { throw ApplyError(.configuration, faults.joined(separator: "; ")) }
    }

    /// What is done about a SQLSTATE. `nil`, an error without one while the connection lives, stops.
    public func outcome(of state: SQLState?) -> ErrorOutcome {
        guard let state else { return .stop }
        return outcomes[state.rawValue] ?? outcomes[state.classCode] ?? .stop
    }

    /// What is done about an error of a statement.
    ///
    /// Where a partitioned table has no partition for a row, PostgreSQL raises 23514 without a constraint, but with the table's name
    /// (`ExecFindPartition`). That is a fault of the schema, and of no row; it stops unless the configuration has an entry for 23514.
    public func outcome(of error: PostgresError) -> ErrorOutcome {
        let isMissingPartition = error.sqlState == .checkViolation && error.constraint == nil && error.table != nil
        return isMissingPartition && outcomes["23514"] == nil ? .stop : outcome(of: error.sqlState)
    }

    /// The table for rows that are only inserted: no event removes the row that has a unique value, so none waits for it.
    var forAppends: OutcomeTable {
        var table = self
        if table.outcomes["23505"] == .constraintRetry { table.outcomes["23505"] = .deadLetter }
        return table
    }

    /// The table for rows whose values the server casts. Some types report a value that they cannot read as a syntax error (tsvector,
    /// jsonpath) or as an object that does not exist (regtype), and some of extensions as an internal error (hstore before PostgreSQL 16,
    /// PostGIS). The statements themselves were checked before (``WritePlan``).
    /// - Parameter isOfExtension: the type of such a column is none of PostgreSQL's own.
    func forCasts(isOfExtension: Bool) -> OutcomeTable {
        var table = self
        for state in ["42601", "42704", "42883", "42P01", "3F000"] + (isOfExtension ? ["XX000"] : []) where outcomes[state] == nil
        {
            table.outcomes[state] = .deadLetter
        }
        return table
    }

    /// What refuses an event, for the sequential function that decides in the server.
    func refusals(final: FinalConstraints) -> Refusals {
        func refuses(_ outcome: ErrorOutcome) -> Bool { outcome == .deadLetter || outcome == .constraintRetry }
        let states = outcomes.filter { $0.key.utf8.count == 5 }
        var refusals = Refusals(
            states: states.filter { refuses($0.value) }.keys.sorted(),
            otherStates: states.filter { !refuses($0.value) }.keys.sorted(),
            classes: outcomes.filter { $0.key.utf8.count == 2 && refuses($0.value) }.keys.sorted())
        if case .named(let names) = final {
            refusals.waiting = outcomes.filter { $0.value == .constraintRetry }.keys.sorted()
            refusals.constraints = names.sorted()
        }
        return refusals
    }
}

/// The errors by which the sequential function takes an event for refused.
struct Refusals {
    /// SQLSTATEs that refuse an event, those that do not, and classes that do where the SQLSTATE is in neither list.
    var states: [String], otherStates: [String], classes: [String]
    /// Of ``states`` and ``classes`` those that refuse an event only where one of ``constraints`` is named.
    var waiting: [String] = [], constraints: [String] = []
}

extension PostgresError {
    /// Another transaction was in the way: deadlock, serialization, lock timeout.
    var isConflict: Bool { !isConnectionLost && (sqlState?.hasClass("40") == true || sqlState == .lockNotAvailable) }
}
