// Owns `sluice_pauses`: reading it, adding to it, taking from it.

import Postgres

/// The pauses of one consumer group, through a session. Every call is one transaction, durable when it returns; each may be made
/// twice and leads to the same.
struct PauseStore: Sendable {
    /// What came of a resume.
    enum Resumed: Sendable, Equatable {
        /// Nothing of the scope is paused any more; what is paused elsewhere.
        case done([StoredPause])
        /// Nothing was changed: these cover more than the scope.
        case held(by: [StoredPause])
    }

    /// The consumer group.
    let group: String

    /// What is paused, the widest first.
    func all(on session: PostgresSession) throws -> [StoredPause] {
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

    /// Adds a pause. One that is there keeps its beginning, unless the reason is another. Answers what is paused now.
    func pause(_ scope: PauseScope, reason: String, by caller: String, on session: PostgresSession) throws -> [StoredPause] {
        let parameters = self.parameters(scope)
        parameters.append(text: reason)
        parameters.append(text: caller)
        return try durably(on: session) {
            try session.execute(
                """
                INSERT INTO sluice_pauses AS p (consumer_group, topic, partition, reason, paused_by)
                VALUES ($1::text, $2::text, $3::int4, $4::text, $5::text)
                ON CONFLICT (consumer_group, topic, partition) DO UPDATE
                SET reason = excluded.reason, paused_by = excluded.paused_by, paused_at = excluded.paused_at
                WHERE p.reason <> excluded.reason
                """, parameters)
            return try all(on: session)
        }
    }

    /// Takes the pauses of a scope and of everything in it away, unless a wider one would go on covering it.
    func resume(_ scope: PauseScope, on session: PostgresSession) throws -> Resumed {
        try durably(on: session) {
            let wider = try all(on: session).filter { $0.scope != scope && $0.scope.contains(scope) }
            guard wider.isEmpty else { return .held(by: wider) }
            try session.execute(
                """
                DELETE FROM sluice_pauses WHERE consumer_group = $1::text
                AND ($2::text = '' OR topic = $2::text) AND ($3::int4 = -1 OR partition = $3::int4)
                """, parameters(scope))
            return .done(try all(on: session))
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
        do {
            try session.execute("BEGIN")
            // Whoever turned it off for speed did not mean an operator's word.
            try session.execute(
                """
                SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
                """)
            let result = try body()
            try session.commit()
            return result
        } catch {
            // What the rollback could add is that the connection is gone, and then the first error says so too or the next call
            // will.
            if session.transactionStatus == .failed || session.transactionStatus == .inTransaction { try session.rollback() }
            throw error
        }
    }
}
