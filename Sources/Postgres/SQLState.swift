// Names the SQLSTATEs that this program knows.

/// A SQLSTATE (PostgreSQL manual, appendix A): two characters of class, three of condition.
public struct SQLState: Hashable, Sendable, CustomStringConvertible {
    /// The five characters.
    public let rawValue: String

    /// A SQLSTATE from its five characters.
    public init(_ rawValue: String) { self.rawValue = rawValue }

    /// The first two characters.
    public var classCode: String { String(rawValue.prefix(2)) }

    /// Whether the state belongs to the two-character class `code`.
    public func hasClass(_ code: String) -> Bool { rawValue.hasPrefix(code) && code.utf8.count == 2 }

    /// The five characters.
    public var description: String { rawValue }

    /// Lets `case .lockNotAvailable:` match an optional state.
    public static func ~= (pattern: SQLState, state: SQLState?) -> Bool { state == pattern }
}

extension SQLState {
    /// `25006`: a write in a read-only transaction, as on a standby.
    public static let readOnlyTransaction = SQLState("25006")
    /// `25P02`: a statement in a transaction that has failed.
    public static let inFailedTransaction = SQLState("25P02")
    /// `40P01`: transactions wait for each other's locks.
    public static let deadlockDetected = SQLState("40P01")
    /// `26000`: the prepared statement does not exist (any more).
    public static let invalidStatementName = SQLState("26000")
    /// `0A000`: among others a cached plan whose result type has changed.
    public static let featureNotSupported = SQLState("0A000")
    /// `53200`: out of memory, or of shared memory, where all locks are.
    public static let outOfMemory = SQLState("53200")
    /// `53300`
    public static let tooManyConnections = SQLState("53300")
    /// `55P03`: `lock_timeout`, or `NOWAIT`.
    public static let lockNotAvailable = SQLState("55P03")
    /// `57014`: cancelled, by `statement_timeout` or a request.
    public static let queryCanceled = SQLState("57014")
    /// `57P01`: `pg_terminate_backend`, or a fast shutdown.
    public static let adminShutdown = SQLState("57P01")
    /// `57P02`
    public static let crashShutdown = SQLState("57P02")
    /// `57P03`: the server is starting up or shutting down.
    public static let cannotConnectNow = SQLState("57P03")
    /// `42804`: a value is not assignable to a column.
    public static let datatypeMismatch = SQLState("42804")
    /// `42P01`: no such table.
    public static let undefinedTable = SQLState("42P01")
    /// `23503`: no parent row, or rows that reference this one.
    public static let foreignKeyViolation = SQLState("23503")
    /// `23505`
    public static let uniqueViolation = SQLState("23505")
    /// `23514`: a CHECK, or no partition of a partitioned table.
    public static let checkViolation = SQLState("23514")
    /// `SL001`: raised by `sluice_advance` where an offset or an epoch is not the one that the caller expects.
    public static let fenced = SQLState("SL001")
    /// The table of a plan has changed; raised by `sluice_require_table_version`.
    public static let schemaChanged = SQLState("SL002")
    /// Another transaction has changed a key meanwhile, and neither has seen the other; raised by `sluice_require_versions`.
    public static let versionConflict = SQLState("SL003")
}
