// Owns what a lane knows of a partition in which some record waits for another row.

import Postgres

/// What is known of a partition in which some record waits.
struct RowWait {
    /// The records up to this offset were tried together, so the deadline is theirs, however many of them wait.
    let last: Int64
    let since: UInt64
    /// What refuses the record that waits, and how long it may wait for that.
    var constraint: (name: String, longest: UInt64)?
    /// The record it was left out from; `nil`: not yet.
    var first: Int64?
    var attempts = 0
    /// When it is to be tried again.
    var due: UInt64
    /// The constraints for which the records wait no longer: they are written once more. A record may be refused by one, and the next one
    /// by another.
    var over: Set<String> = []
    var isOver: Bool { constraint.map { over.contains($0.name) } ?? false }
}

extension PostgresError {
    /// What a record that was refused waits for, in words.
    var waitReason: String {
        switch sqlState {
        case .foreignKeyViolation: "the row that it references is missing"
        case .uniqueViolation: "another row has its value"
        default: "a constraint refuses it"
        }
    }
}
