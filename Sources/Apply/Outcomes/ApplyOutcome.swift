// Holds the outcome of a transaction.

public import Postgres
public import Records

/// What a committed transaction did.
public struct ApplyReport: Sendable, Equatable {
    /// Records whose offsets are now durable, bad ones included.
    public var records = 0
    /// Events that were decoded.
    public var events = 0
    /// Rows that the statements wrote.
    public var rows = 0
    /// Events that a later event of the same key replaced.
    public var superseded = 0
    /// Events that wrote nothing, where the mapping skips unchanged rows: what they say was there, or found nothing to do.
    public var unchanged = 0
    /// Records of which the mapping takes no event.
    public var skipped = 0
    /// Records whose effect is in the table, also where they found nothing to do.
    var applied: Int { records - deadLetters.values.reduce(0, +) - superseded - skipped }
    /// Rows by kind of change, where every event was applied sequentially.
    public var counts: RowCounts?
    /// Dead letters by reason: ``DeadLetterReason``.
    public var deadLetters: [String: Int] = [:]
    /// Statements that the server executed, failed ones, BEGIN and COMMIT included.
    public var statements = 0
    /// A row was refused, and the events were written again with bisection; see ``BisectionLimits``.
    public var isReplayed = false
    /// An earlier attempt had been committed. Nothing was written now, and the counters above are unknown.
    public var wasAlreadyApplied = false
    /// Of a route: what was done with the events of each of its mappings. Otherwise empty.
    public var parts: [ApplyReport] = []
}

/// Rows by kind of change.
public struct RowCounts: Sendable, Equatable {
    /// Rows inserted, changed and removed.
    public var created = 0, updated = 0, deleted = 0
}

/// The outcome of a transaction. Except after ``lost(_:)`` the session is outside of a transaction again.
public enum ApplyOutcome: Sendable {
    /// Rows, dead letters and offsets are durable.
    case applied(ApplyReport)
    /// These partitions have been claimed by somebody else, or their offsets were moved. Nothing was written.
    case fenced([TopicPartition])
    /// Nothing was written; retry after a wait.
    case retry(RetryReason, PostgresError)
    /// Nothing was written; retry in halves: ``BatchSlice/halve(_:)``. A single record is retried as it is.
    case retryHalved(PostgresError)
    /// Nothing was written, because a row of a transaction of several mappings was refused, or must wait for another one: write fewer
    /// records, until they are one mapping's. See ``RouteWriter``.
    case refused(PostgresError)
    /// Nothing was written, because the table has changed since its schema was read: read it again, plan anew, and write the same.
    case schemaChanged(PostgresError)
    /// Nothing was written, and these partitions stop.
    case stopped([TopicPartition], reason: StopReason)
    /// The connection was lost, and whether anything was written is unknown: reconnect, then ``TableWriter/settle(_:on:)``.
    case lost(PostgresError)
}

/// Why a transaction is retried.
public enum RetryReason: String, Sendable, CaseIterable {
    /// The server cannot execute it for now.
    case unavailable
    /// Another transaction was in the way: deadlock, serialization, lock timeout.
    case conflict
    /// A constraint refuses a row, and may take it once another row has come or gone. Not for ``FinalConstraints``.
    case constraint
    /// Rows of another table reference one that is deleted, and may go. Likewise.
    case stillReferenced = "still_referenced"
}

extension AppliedCounts {
    /// Adds what a committed transaction did.
    mutating func add(_ report: ApplyReport) {
        superseded += report.superseded
        unchanged += report.unchanged
        skipped += report.skipped
        applied += report.applied
        deadLetters.merge(report.deadLetters, uniquingKeysWith: +)
        if parts.isEmpty { parts = report.parts.map { _ in AppliedCounts() } }
        for (index, part) in report.parts.enumerated() { parts[index].add(part) }
    }
}
