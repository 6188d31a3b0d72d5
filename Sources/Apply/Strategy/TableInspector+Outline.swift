// Reads a table's columns and primary key, for a suggested mapping.

public import Postgres
public import Records

extension TableInspector {
    /// The columns and the primary key of a table; `nil`: it does not exist.
    /// - Parameter name: a name or schema.name, unquoted, as in a mapping.
    public static func outline(of name: String, on session: PostgresSession) throws -> TableOutline? {
        let quoted = name.split(separator: ".", omittingEmptySubsequences: false).map { quoteIdentifier(String($0)) }
            .joined(separator: ".")
        let found = try ask(session, quoted, "SELECT to_regclass($1) IS NOT NULL")
        guard try found.bool(0, 0) else { return nil }
        let rows = try ask(
            session, quoted,
            """
            SELECT a.attname::text,
              CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END,
              a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a',
              coalesce(array_position(i.indkey::int2[], a.attnum), -1)
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
            WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """)
        var columns: [TableOutline.Column] = []
        var key: [(position: Int32, name: String)] = []
        for row in 0..<rows.rowCount {
            let column = TableOutline.Column(
                name: try rows.text(row, 0), type: try rows.text(row, 1), isNotNull: try rows.bool(row, 2),
                hasDefault: try rows.bool(row, 3), isGenerated: try rows.bool(row, 4))
            columns.append(column)
            let position = try rows.int32(row, 5)
            if position >= 0 { key.append((position, column.name)) }
        }
        return TableOutline(columns: columns, key: key.sorted { $0.position < $1.position }.map(\.name))
    }
}
