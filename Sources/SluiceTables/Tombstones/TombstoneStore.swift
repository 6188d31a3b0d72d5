// Owns deleting the old rows of `sluice_tombstones`.

public import Postgres

/// The tombstones of tables that mappings with a version write.
public struct TombstoneStore: Sendable {
    /// The tables: schema and name, unquoted; without a schema resolved by `search_path`.
    public let tables: [(schema: String?, name: String)]
    private let oldest: OldestRows

    /// The tombstones of some tables.
    /// - Parameter batch: the most rows that are deleted in a transaction.
    public init(tables: [(schema: String?, name: String)], batch: Int = 10_000) {
        self.tables = tables
        oldest = OldestRows(table: "sluice_tombstones", owner: "relation", time: "deleted_at", batch: batch)
    }

    /// Deletes the tombstones of rows that were deleted longer ago; zero: none. The session must not be in a transaction.
    /// - Returns: how many it deleted.
    public func delete(olderThan age: Duration, on session: PostgresSession) throws -> Int {
        guard age > .zero else { return 0 }
        return try tables.reduce(0) { deleted, table in
            let parameters = Parameters()
            parameters.append(text: table.schema ?? "")
            parameters.append(text: table.name)
            // As the statements that write tombstones name the table.
            let relation = try session.execute(
                """
                SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n
                ON n.oid = c.relnamespace WHERE c.oid = to_regclass(concat_ws('.', quote_ident(nullif($1::text, '')), quote_ident($2::text)))
                """, parameters)
            guard relation.rowCount == 1 else { return deleted }
            return try deleted
                + oldest.delete(.max, of: relation.text(0, 0), where: oldest.isOlder(than: age), on: session)
        }
    }
}
