// What becomes of a transaction, in the words the pipeline acts on.

public import Postgres
public import Records

/// What a committed transaction did.
public struct ApplyReport: Sendable, Equatable {
    /// Records whose offsets are now durable, bad ones included.
    public var records = 0
    /// Events that were decoded.
    public var events = 0
    /// Rows the statements touched.
    public var rows = 0
    /// Events that were folded away: a later event of the same key made them invisible.
    public var superseded = 0
    /// Rows inserted, changed and removed, where every event was applied in order and so was counted.
    public var counts: RowCounts?
    /// Dead letters by reason: ``DeadLetterReason``.
    public var deadLetters: [String: Int] = [:]
    /// Statements the server executed for it, failed ones included, BEGIN and COMMIT too.
    public var statements = 0
    /// The fast way was refused, and the events were written again by bisection; see ``BisectionLimits``.
    public var isReplayed = false
    /// An earlier attempt whose answer was lost had been committed after all. Nothing was written; the counters above are not
    /// known.
    public var wasAlreadyApplied = false
}

/// Rows by what happened to them.
public struct RowCounts: Sendable, Equatable {
    /// Rows inserted, changed and removed.
    public var created = 0, updated = 0, deleted = 0
}

/// What becomes of a transaction. Except after ``lost(_:)`` the session is outside of a transaction again.
public enum ApplyOutcome: Sendable {
    /// Rows, dead letters and offsets are durable.
    case applied(ApplyReport)
    /// These partitions have another owner, or stand elsewhere than the claim says. Nothing was written; the others may be
    /// prepared anew.
    case fenced([TopicPartition])
    /// Nothing was written; the same again after a pause.
    case retry(RetryReason, PostgresError)
    /// Nothing was written; the same in halves: ``BatchSlice/halve(_:)``. A single record is retried as it is.
    case retryHalved(PostgresError)
    /// Nothing was written, and nothing will be until somebody acts: these partitions stop, and the message says why.
    case stopped([TopicPartition], message: String)
    /// The connection is gone, and whether anything was written is unknown: reconnect, then ``TableWriter/settle(_:of:on:)``.
    case lost(PostgresError)
}

/// Why a transaction is to be tried again.
public enum RetryReason: String, Sendable, CaseIterable {
    /// The server is not able to, for now.
    case unavailable
    /// Another transaction was in the way: deadlock, serialization, lock timeout.
    case conflict
    /// A row's parent is missing and may be on its way. The last attempt says so: `isFinalForeignKeyAttempt`.
    case foreignKey = "foreign_key"
}

/// Where a partition stands after a lost connection.
public enum SettledState: String, Sendable, CaseIterable {
    /// The transaction was committed.
    case committed
    /// It was not, and the partition is still ours: apply it again.
    case notCommitted = "not_committed"
    /// The partition has another owner.
    case fenced
}
