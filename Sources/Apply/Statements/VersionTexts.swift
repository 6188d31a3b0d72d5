// Owns what a row's version means in SQL: which of an event and what its key had before is the newer one.

import Records

/// The parts of statements of a table with a version.
///
/// Besides its values (``RowTexts``) a row has `k`, the bytes of its key, and `v`, its version as an int8: the forms in which
/// `sluice_tombstones` has them.
struct VersionTexts {
    /// The version's position in ``TableShape/columns``.
    let column: Int
    /// The column's quoted name.
    let name: String
    /// The table's name as a literal.
    let relation: String
    private let keepsFirst: Bool

    /// `nil`: the table has no version.
    init?(_ shape: TableShape, relation: String) {
        guard let version = shape.version else { return nil }
        column = version.column
        name = quoteIdentifier(shape.columns[version.column].name)
        keepsFirst = version.keepsFirst
        self.relation = "'" + relation.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }

    /// The condition that `row`, or the row proposed by an INSERT (`excluded`), is newer than `t`, or equal and wins.
    func isNewer(_ row: String) -> String {
        let value = row == "excluded" ? "excluded.\(name)" : "\(row).c\(column)"
        return "(t.\(name) IS NULL OR \(value) \(keepsFirst ? ">" : ">=") t.\(name))"
    }

    /// The version of the newest Delete of `row`'s key; null: none is known. A scalar query is looked up row by row, however few tombstones
    /// the planner knows of.
    func tombstone(of row: String) -> String {
        "(SELECT s.version FROM sluice_tombstones AS s WHERE s.relation = \(relation) AND s.key = \(row).k)"
    }

    /// The condition that the table has tombstones, which is evaluated once a statement.
    var hasTombstones: String { "EXISTS (SELECT FROM sluice_tombstones AS s WHERE s.relation = \(relation))" }

    /// The condition that `row` is newer than every Delete of its key, or equal and wins.
    func outlivesTombstone(_ row: String) -> String {
        "(NOT \(hasTombstones) OR (\(tombstone(of: row)) \(keepsFirst ? ">=" : ">") \(row).v) IS NOT TRUE)"
    }

    /// The version's part of a SET list.
    func assignment(of row: String) -> String { "\(name) = \(row).c\(column)" }

    /// An INSERT that notes the Delete of `row`. `verb` is `VALUES`, or `SELECT` before a list of rows.
    func tombstones(_ verb: String, of row: String, from rows: String = "") -> String {
        let values = "\(relation), \(row).k, \(row).v"
        return "INSERT INTO sluice_tombstones AS s (relation, key, version) "
            + (verb == "VALUES" ? "VALUES (\(values))" : "SELECT \(values) FROM \(rows)")
            + " ON CONFLICT (relation, key) DO UPDATE SET version = greatest(s.version, excluded.version), deleted_at = now()"
    }

    /// The same for rows whose keys and versions are the parameters from `first` on.
    func tombstones(firstParameter first: Int) -> String {
        tombstones("SELECT", of: "u", from: "unnest($\(first)::bytea[], $\(first + 1)::int8[]) AS u(k, v)")
    }
}
