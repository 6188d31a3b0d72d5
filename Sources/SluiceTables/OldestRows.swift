// Owns deleting the oldest rows of one of Sluice's own tables.

internal import Platform
internal import Postgres

/// Rows of a table that belong to one owner, and how the oldest of them are deleted.
struct OldestRows {
    let table: String
    /// The column that names the owner, and the one by which a row is old.
    let owner: String, time: String
    /// The most rows that are deleted in a transaction.
    let batch: Int

    /// The condition that a row is older.
    func isOlder(than age: Duration) -> String { "\(time) < now() - interval '1 millisecond' * \(age.milliseconds)" }

    /// Deletes rows of an owner in batches, the oldest first. Rows that a lane is writing are left for the next time, so that neither waits
    /// for the other. Returns how many it deleted.
    func delete(_ most: Int, of name: String, where condition: String, on session: PostgresSession) throws -> Int {
        var deleted = 0
        while deleted < most {
            let wanted = min(batch, most - deleted)
            let parameters = Parameters()
            parameters.append(text: name)
            parameters.append(int8: Int64(wanted))
            let rows = try session.execute(
                """
                WITH gone AS (
                    DELETE FROM \(table) WHERE ctid = ANY(ARRAY(
                        SELECT ctid FROM \(table) WHERE \(owner) = $1::text AND \(condition)
                        ORDER BY \(time) LIMIT $2::int8 FOR UPDATE SKIP LOCKED))
                    RETURNING 1)
                SELECT count(*) FROM gone
                """, parameters)
            let number = Int(try rows.int64(0, 0))
            deleted += number
            if number < wanted { break }
        }
        return deleted
    }
}
