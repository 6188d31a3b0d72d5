// Owns the SQL of `sluice_pauses`.

public import Postgres

/// The pauses of one consumer group. Every change is one transaction, durable when the call returns, and idempotent.
public struct PauseStore: Sendable {
    /// What came of a resume.
    public enum Resumed: Sendable, Equatable {
        /// Nothing of the scope is paused any more, which it was before if `isChanged`. These pauses, outside of it, remain.
        case done([StoredPause], isChanged: Bool)
        /// Nothing was changed: these pauses cover more than the scope.
        case coveredBy([StoredPause])
    }

    /// The consumer group.
    public let group: String

    /// The pauses of a group.
    public init(group: String) { self.group = group }

    /// All pauses, the widest first.
    public func all(on session: PostgresSession) throws -> [StoredPause] {
        let parameters = Parameters()
        parameters.append(text: group)
        let rows = try session.execute(
            """
            SELECT topic, partition, reason, paused_by, to_char(paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            FROM sluice_pauses WHERE consumer_group = $1::text ORDER BY topic, partition
            """, parameters)
        return try (0..<rows.rowCount).map { row in
            let (topic, partition) = (try rows.text(row, 0), try rows.int32(row, 1))
            return StoredPause(
                scope: PauseScope(topic: topic.isEmpty ? nil : topic, partition: partition < 0 ? nil : partition),
                reason: try rows.text(row, 2), pausedBy: try rows.text(row, 3), pausedAt: try rows.text(row, 4))
        }
    }

    /// Adds a pause. One that exists keeps `paused_by` and `paused_at` unless the reason differs.
    /// - Returns: all pauses, and whether this one is new or has another reason.
    public func pause(
        _ scope: PauseScope, reason: String, by caller: String, on session: PostgresSession
    ) throws -> (pauses: [StoredPause], isChanged: Bool) {
        let parameters = self.parameters(scope)
        parameters.append(text: reason)
        parameters.append(text: caller)
        return try durably(on: session) {
            let written = try session.execute(
                """
                INSERT INTO sluice_pauses AS p (consumer_group, topic, partition, reason, paused_by)
                VALUES ($1::text, $2::text, $3::int4, $4::text, $5::text)
                ON CONFLICT (consumer_group, topic, partition) DO UPDATE
                SET reason = excluded.reason, paused_by = excluded.paused_by, paused_at = excluded.paused_at
                WHERE p.reason <> excluded.reason RETURNING topic
                """, parameters)
            return (try all(on: session), written.rowCount > 0)
        }
    }

    /// Removes the pauses of a scope and of everything in it, unless a wider one still covers it.
    public func resume(_ scope: PauseScope, on session: PostgresSession) throws -> Resumed {
        try durably(on: session) {
            let wider = try all(on: session).filter { $0.scope != scope && $0.scope.contains(scope) }
            guard wider.isEmpty else { return .coveredBy(wider) }
            let deleted = try session.execute(
                """
                DELETE FROM sluice_pauses WHERE consumer_group = $1::text
                AND ($2::text = '' OR topic = $2::text) AND ($3::int4 = -1 OR partition = $3::int4) RETURNING topic
                """, parameters(scope))
            return .done(try all(on: session), isChanged: deleted.rowCount > 0)
        }
    }

    private func parameters(_ scope: PauseScope) -> Parameters {
        let parameters = Parameters()
        parameters.append(text: group)
        parameters.append(text: scope.topic ?? "")
        parameters.append(int4: scope.partition ?? -1)
        return parameters
    }

    private func durably<R>(on session: PostgresSession, _ body: () throws -> R) throws -> R {
        try session.transaction {
            // A role or database with synchronous_commit = off trades recent rows for speed; a pause must not be lost with them.
            try session.execute(
                "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'")
            return try body()
        }
    }
}
