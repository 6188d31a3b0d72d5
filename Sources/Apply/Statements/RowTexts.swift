// Owns what an event's row means in SQL: which values it inserts, what it sets, and which row it is about.

import Records

/// The optional columns of a table, and where an event says which of them it has: bit n % 64 of the word n / 64 for the n-th of them.
struct Presence: Equatable {
    /// Positions in ``TableShape/columns``.
    let columns: [Int]

    init(_ shape: TableShape) { columns = shape.columns.indices.filter { shape.columns[$0].isOptional } }

    /// 64-bit words a row needs.
    var words: Int { (columns.count + 63) / 64 }

    /// The optional columns of one word.
    func columns(ofWord word: Int) -> ArraySlice<Int> { columns[word * 64..<min(columns.count, word * 64 + 64)] }

    /// SQL that is true where `row` has a value for a column; `nil`: it always has.
    func condition(_ column: Int, of row: String) -> String? {
        guard let index = columns.firstIndex(of: column) else { return nil }
        return "(\(row).p\(index / 64) & (1::int8 << \(index % 64))) <> 0"
    }
}

/// The parts of statements that say what a row of values does to the table's row `t`.
///
/// Such a row has a value `c<n>` for the n-th column of the shape, and ``Presence/words`` words `p<n>`. The set statements read rows `u`
/// from arrays, the sequential function reads its variable; both say the same about them.
struct RowTexts {
    let relation: String
    let shape: TableShape
    let presence: Presence
    /// Quoted names of the columns, and of those of the key.
    let names: [String]
    let keyNames: [String]
    private let onUpdate: [(name: String, value: String)]
    /// What a Delete sets instead of removing the row.
    private let deletion: [(name: String, value: String)]
    /// What a column gets on insert where the event has no value; `nil`: null.
    private let defaults: [String?]
    /// The column's type, where it is not the mapping's. CASE needs one type; without a length a cast refuses and cuts what an
    /// assignment does.
    private let casts: [String]
    /// The cast that follows each column's value in SQL, such as `::interval`; empty: none.
    private let sqlCasts: [String]
    /// A mapped column is GENERATED ALWAYS AS IDENTITY.
    private let overridesIdentity: Bool
    /// `nil`: the table has no version.
    let version: VersionTexts?

    init(shape: TableShape, schema: TableSchema) {
        self.shape = shape
        relation = schema.relation
        version = VersionTexts(shape, relation: schema.relation)
        presence = Presence(shape)
        names = shape.columns.map { quoteIdentifier($0.name) }
        keyNames = shape.key.map { quoteIdentifier(shape.columns[$0].name) }
        onUpdate = shape.onUpdate.map { (quoteIdentifier($0.column), Self.expression($0.value)) }
        deletion = shape.deletion.map { (quoteIdentifier($0.column), Self.expression($0.value)) }
        let columns = shape.columns.map { schema.columns[$0.name] }
        defaults = columns.map { $0?.defaultExpression }
        casts = zip(columns, shape.columns).map { column, mapped in
            guard let column, column.baseType != mapped.type.oid || mapped.sqlCast != nil else { return "" }
            return "::" + column.baseTypeName
        }
        sqlCasts = shape.columns.map { $0.sqlCast.map { "::" + $0 } ?? "" }
        overridesIdentity = columns.contains { $0?.identity == .always }
    }

    static func expression(_ value: OnUpdateValue) -> String {
        switch value {
        case .currentDate: "CURRENT_DATE"
        case .now: "CURRENT_TIMESTAMP"
        }
    }

    /// The value of a row in a column, of the type that the mapping says.
    private func value(_ row: String, _ column: Int) -> String { "\(row).c\(column)\(sqlCasts[column])" }

    /// The condition that `t` is the row that `row` is about.
    func matches(_ row: String) -> String {
        zip(keyNames, shape.key).map { "t.\($0) = \(row).c\($1)" }.joined(separator: " AND ")
    }

    /// The condition that `t` is that row, and does not count as absent.
    func isPresent(_ row: String) -> String {
        matches(row) + (deletion.first.map { " AND t.\($0.name) IS NULL" } ?? "")
    }

    /// The condition that an update by `row` changes `t`.
    func isUpdated(by row: String) -> String { isPresent(row) + (version.map { " AND \($0.isNewer(row))" } ?? "") }

    /// The condition that a delete by `row` changes `t`. With a version a row that is marked as deleted gets the newer version.
    func isDeleted(by row: String) -> String { version.map { "\(matches(row)) AND \($0.isNewer(row))" } ?? isPresent(row) }

    /// The condition that no row keeps `row` from being inserted: there is none, or one that counts as absent and is not newer.
    func isAbsent(_ row: String) -> String {
        let isThere =
            version.map { version in
                matches(row) + (deletion.first.map { " AND (t.\($0.name) IS NULL OR NOT \(version.isNewer(row)))" } ?? "")
            } ?? isPresent(row)
        return "NOT EXISTS (SELECT FROM \(relation) AS t WHERE \(isThere))"
    }

    /// The beginning of a statement that deletes rows, up to what they are joined with.
    func removal(of row: String, using rows: String? = nil) -> String {
        if deletion.isEmpty { return "DELETE FROM \(relation) AS t\(rows.map { " USING \($0)" } ?? "")" }
        let marks = deletion.map { "\($0.name) = \($0.value)" } + (version.map { [$0.assignment(of: row)] } ?? [])
        let sets = marks.joined(separator: ", ")
        return "UPDATE \(relation) AS t SET \(sets)\(rows.map { " FROM \($0)" } ?? "")"
    }

    /// The columns that `ON CONFLICT` names.
    var arbiter: String { keyNames.joined(separator: ", ") }

    /// What an INSERT does where the key is there: nothing, or a row that counts as absent becomes as a new one.
    func conflict(setsOnUpdate: Bool) -> String {
        guard let mark = deletion.first else { return "ON CONFLICT (\(arbiter)) DO NOTHING" }
        let sets =
            shape.columns.indices.filter { !shape.key.contains($0) }.map { column in
                shape.columns[column].policy.occasion == .update
                    ? "\(names[column]) = DEFAULT" : "\(names[column]) = excluded.\(names[column])"
            } + onUpdate.map { "\($0.name) = \(setsOnUpdate ? $0.value : "DEFAULT")" }
            + deletion.map { "\($0.name) = NULL" }
        return "ON CONFLICT (\(arbiter)) DO UPDATE SET \(sets.joined(separator: ", ")) WHERE t.\(mark.name) IS NOT NULL"
            + (version.map { " AND \($0.isNewer("excluded"))" } ?? "")
    }

    /// The columns of an INSERT with what stands before its values, and the values of a row.
    /// - Parameters:
    ///   - isComplete: the row has a value for every column.
    ///   - setsOnUpdate: the `on_update` columns are set, and not defaulted.
    func insertion(of row: String, isComplete: Bool, setsOnUpdate: Bool) -> (columns: String, values: [String]) {
        let onUpdate = setsOnUpdate ? self.onUpdate : []
        let inserted = shape.columns.indices.filter { shape.columns[$0].policy.occasion != .update }
        let list = (inserted.map { names[$0] } + onUpdate.map(\.name)).joined(separator: ", ")
        let values = inserted.map { column -> String in
            guard !isComplete, let isPresent = presence.condition(column, of: row) else { return value(row, column) }
            return
                "CASE WHEN \(isPresent) THEN \(value(row, column))\(casts[column])\(defaults[column].map { " ELSE \($0)" } ?? "") END"
        }
        return (
            "(\(list))\(overridesIdentity ? " OVERRIDING SYSTEM VALUE" : "")",
            values + onUpdate.map(\.value)
        )
    }

    /// The SET list of an update. A column for which the event has no value is set to itself. Where the event has nothing but its key the
    /// row is written unchanged, so that triggers that capture changes see the Update or Upsert.
    /// - Parameters:
    ///   - row: `excluded` for the row proposed by an INSERT, which is complete.
    ///   - absent: columns that the list must not name.
    func assignments(of row: String, without absent: Set<Int> = []) -> String {
        let sets = updatedColumns(without: absent).map { "\(names[$0]) = \(updatedValue($0, of: row))" }
        let all = sets + onUpdate.map { "\($0.name) = \($0.value)" }
        return all.isEmpty ? "\(keyNames[0]) = t.\(keyNames[0])" : all.joined(separator: ", ")
    }

    /// The condition under which an update of `t` is written; `nil`: always.
    func isChanged(by row: String, without absent: Set<Int> = []) -> String? {
        guard shape.skipsUnchanged else { return nil }
        let columns = updatedColumns(without: absent)
        if columns.isEmpty { return "false" }
        // As texts, byte by byte: values that are equal in SQL may differ (1.5 and 1.50, a and A of citext), and json has no equality.
        func text(_ value: String) -> String { "(\(value))::text COLLATE \"C\"" }
        let differences = columns.map { column in
            "\(text("t.\(names[column])")) IS DISTINCT FROM \(text("(\(updatedValue(column, of: row)))\(casts[column])"))"
        }
        return "(\(differences.joined(separator: " OR ")))"
    }

    private func updatedColumns(without absent: Set<Int>) -> [Int] {
        shape.columns.indices.filter {
            !shape.key.contains($0) && !absent.contains($0) && shape.columns[$0].policy.occasion != .insert
        }
    }

    /// The value that an update gives a column.
    private func updatedValue(_ column: Int, of row: String) -> String {
        if row == "excluded" { return "excluded.\(names[column])" }
        let policy = shape.columns[column].policy
        let former = "t.\(names[column])"
        let isPresent = presence.condition(column, of: row)
        let cast = isPresent == nil && policy == ColumnPolicy() ? "" : casts[column]
        var value = self.value(row, column) + cast
        if policy.isMerged {
            // A null on either side would make the whole null.
            value = "CASE WHEN \(former) IS NULL OR \(value) IS NULL THEN \(value) ELSE \(former) || \(value) END"
        }
        if policy.keepsIfNull { value = "COALESCE(\(value), \(former))" }
        return isPresent.map { "CASE WHEN \($0) THEN \(value) ELSE \(former) END" } ?? value
    }
}
