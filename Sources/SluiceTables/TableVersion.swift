// Owns the SQL of `sluice_table_version`: whether a table is as it was when its schema was read.

public import Postgres

/// One number over the rows of the catalog that describe a table: its columns, defaults, indexes, constraints, triggers and rules, with
/// those of its partitions. What rows are in the table, and VACUUM and ANALYZE, do not change it.
public enum TableVersion {
    /// The version of a table; `nil`: there is no such table.
    /// - Parameter relation: its name as SQL writes it.
    public static func read(_ relation: String, on session: PostgresSession) throws -> Int64? {
        let parameters = Parameters()
        parameters.append(text: relation)
        let result = try session.execute(question, parameters)
        return result.isNull(0, 0) ? nil : try result.int64(0, 0)
    }

    /// A statement that raises ``SQLState/schemaChanged`` unless the table is at a version. It may be sent again and again, on one
    /// connection at a time.
    public static func requirement(_ relation: String, _ version: Int64, _ pool: ArrayPool) -> EncodedStatement {
        var writer = ParameterWriter(pool)
        writer.text(relation)
        writer.int8(version)
        return writer.finish(requirement, rowCount: .none)
    }

    private static let question = PreparedStatement("SELECT sluice_table_version($1::text)")
    private static let requirement = PreparedStatement("SELECT sluice_require_table_version($1::text, $2::int8)")
}
