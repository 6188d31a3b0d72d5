// Owns counting and deleting rows of `sluice_dead_letters`.

public import Postgres

/// The dead letters of one consumer group, for those who keep their number in bounds.
public struct DeadLetterStore: Sendable {
    /// Bounds on what is kept.
    public struct Limits: Sendable, Equatable {
        /// How long a row is kept after its last attempt; zero: for ever.
        public var age: Duration
        /// The most rows that are kept, the latest; 0: all.
        public var rows: Int

        /// Bounds; by default none.
        public init(age: Duration = .zero, rows: Int = 0) {
            self.age = age
            self.rows = rows
        }
    }

    /// The first key of the advisory lock under which a group's rows are deleted: "slDL" in ASCII. The second is the group's hash.
    private static let lockKey: Int32 = 0x736c_444c

    /// The consumer group.
    public let group: String
    private let oldest: OldestRows

    /// The dead letters of a group.
    /// - Parameter batch: the most rows that are deleted in a transaction.
    public init(group: String, batch: Int = 10_000) {
        self.group = group
        oldest = OldestRows(table: "sluice_dead_letters", owner: "consumer_group", time: "failed_at", batch: batch)
    }

    /// Number of the group's rows.
    public func count(on session: PostgresSession) throws -> Int {
        let parameters = Parameters()
        parameters.append(text: group)
        return Int(
            try session.execute("SELECT count(*) FROM sluice_dead_letters WHERE consumer_group = $1::text", parameters)
                .int64(0, 0))
    }

    /// Deletes what is beyond the limits, the oldest rows first, in batches. Returns how many rows it deleted: none where another worker of
    /// the group is deleting. The session must not be in a transaction.
    public func delete(beyond limits: Limits, on session: PostgresSession) throws -> Int {
        guard limits.age > .zero || limits.rows > 0 else { return 0 }
        let parameters = Parameters()
        parameters.append(int4: Self.lockKey)
        parameters.append(text: group)
        // Two workers that count at the same time would both delete the surplus.
        guard try session.execute("SELECT pg_try_advisory_lock($1::int4, hashtext($2::text))", parameters).bool(0, 0) else {
            return 0
        }
        let result = Result { try deleteLocked(limits, session) }
        // The server releases the lock of a lost connection.
        if session.transactionStatus == .idle {
            try session.execute("SELECT pg_advisory_unlock($1::int4, hashtext($2::text))", parameters)
        }
        return try result.get()
    }

    private func deleteLocked(_ limits: Limits, _ session: PostgresSession) throws -> Int {
        var deleted = 0
        if limits.age > .zero {
            deleted += try oldest.delete(.max, of: group, where: oldest.isOlder(than: limits.age), on: session)
        }
        if limits.rows > 0 {
            deleted += try oldest.delete(try count(on: session) - limits.rows, of: group, where: "true", on: session)
        }
        return deleted
    }
}
