// Owns the SQL of the set statements: one text for each kind of change.

import Postgres
import Records

/// What a set statement does with its rows.
enum StatementKind: UInt8, CaseIterable {
    /// Removes rows that are present.
    case delete
    /// Changes rows that are present.
    case update
    /// Changes rows that are present and inserts the others. Its rows have a value for every column.
    case upsert
    /// Does the same for rows that may lack values; see ``WritePlan/hasMerge``.
    case merge
    /// Inserts rows that are absent.
    case insert
    /// Inserts rows that an update has not found. It is refused where another session has inserted one of them meanwhile: otherwise what
    /// the event says of that row would get lost.
    case insertNotUpdated
    /// Inserts rows, whatever is there.
    case append
}

/// Which statement a row belongs to.
struct StatementKey: Hashable {
    let kind: StatementKind
    /// Inserted rows have been updated within their run: `on_update` columns are set, not defaulted.
    var setsOnUpdate = false
}

/// A set statement and its parameters: an array for each of the columns, one for each word of presence, and with a version one for the
/// keys and one for the versions (``VersionTexts``).
struct SetStatement {
    /// What is done to the table.
    let change: String
    /// Notes the deletes of a table with a version.
    let tombstones: String?
    let sql: String
    let columns: [Int]
    let presenceWords: Int
    let hasVersion: Bool
    let prepared: PreparedStatement
    /// The statement joins arrays and table, so it must be planned for the arrays' true length: a plan kept from a small batch, or from
    /// when the table was small, may scan the whole table for each row.
    let plansEachTime: Bool

    var parameterCount: Int { columns.count + presenceWords + (hasVersion ? 2 : 0) }

    init(
        _ change: String, tombstones: String?, columns: [Int], presenceWords: Int, hasVersion: Bool, plansEachTime: Bool
    ) {
        self.change = change
        self.tombstones = tombstones
        sql = (tombstones.map { "WITH x AS (\($0)) " } ?? "") + change
        self.columns = columns
        self.presenceWords = presenceWords
        self.hasVersion = hasVersion
        prepared = PreparedStatement(sql)
        self.plansEachTime = plansEachTime
    }
}

/// Writes set statements for one table.
struct StatementTexts {
    let texts: RowTexts
    /// An INSERT must not propose a row whose key is present: it would be refused for a required column that events may lack.
    let insertsLookUp: Bool
    /// A row that is absent can be inserted: no trigger decides otherwise, and none counts as absent that is there.
    let insertsAreExact: Bool

    private var shape: TableShape { texts.shape }

    /// Several statements, for rows of different keys or for an update and an insert of the same, as one. It returns the number of rows
    /// written.
    ///
    /// All parts see the table as it was before, and the order of their execution is not defined (PostgreSQL manual, WITH queries).
    func combined(_ keys: [StatementKey]) -> (sql: String, parts: [SetStatement]) {
        var parts: [SetStatement] = []
        var first = 1
        for key in keys {
            let part = statement(key, firstParameter: first)
            parts.append(part)
            first += part.parameterCount
        }
        let queries = parts.enumerated().flatMap { index, part in
            (part.tombstones.map { ["x\(index) AS (\($0))"] } ?? []) + ["s\(index) AS (\(part.change) RETURNING 1)"]
        }
        let counts = keys.indices.map { "(SELECT count(*) FROM s\($0))" }
        return ("WITH \(queries.joined(separator: ", ")) SELECT \(counts.joined(separator: " + "))", parts)
    }

    func statement(_ key: StatementKey, firstParameter first: Int = 1) -> SetStatement {
        let version = texts.version
        let columns = key.kind == .delete ? shape.key + (version.map { [$0.column] } ?? []) : Array(shape.columns.indices)
        let words = key.kind == .delete || key.kind == .upsert ? 0 : texts.presence.words
        let rows = unnest(columns, words, firstParameter: first)
        let sql: String
        var tombstones: String?
        switch key.kind {
        case .delete:
            sql = "\(texts.removal(of: "u", using: rows)) WHERE \(texts.isDeleted(by: "u"))"
            tombstones = version?.tombstones(firstParameter: first + columns.count)
        case .update:
            let isChanged = texts.isChanged(by: "u").map { " AND \($0)" } ?? ""
            sql =
                "UPDATE \(texts.relation) AS t SET \(texts.assignments(of: "u")) FROM \(rows) "
                + "WHERE \(texts.isUpdated(by: "u"))\(isChanged)"
        case .upsert:
            sql =
                insert(key, rows) + (version.map { " WHERE \($0.outlivesTombstone("u"))" } ?? "")
                + " ON CONFLICT (\(texts.arbiter)) DO UPDATE SET \(texts.assignments(of: "excluded"))"
                + (version.map { " WHERE \($0.isNewer("excluded"))" } ?? "")
        case .merge:
            let (columns, values) = texts.insertion(of: "u", isComplete: false, setsOnUpdate: key.setsOnUpdate)
            sql = """
                MERGE INTO \(texts.relation) AS t USING \(rows) ON \(texts.matches("u"))
                WHEN MATCHED THEN UPDATE SET \(texts.assignments(of: "u"))
                WHEN NOT MATCHED THEN INSERT \(columns) VALUES (\(values.joined(separator: ", ")))
                """
        case .insert, .insertNotUpdated:
            let isExact = key.kind == .insertNotUpdated && insertsAreExact
            let conditions =
                (looksUp(key.kind) ? [texts.isAbsent("u")] : []) + (version.map { [$0.outlivesTombstone("u")] } ?? [])
            sql =
                insert(key, rows) + (conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND "))
                + (isExact ? "" : " \(texts.conflict(setsOnUpdate: key.setsOnUpdate))")
        case .append: sql = insert(key, rows)
        }
        return SetStatement(
            sql, tombstones: tombstones, columns: columns, presenceWords: words, hasVersion: version != nil,
            plansEachTime: [.delete, .update, .merge].contains(key.kind) || looksUp(key.kind) || version != nil)
    }

    /// Whether an INSERT looks for its rows in the table first.
    private func looksUp(_ kind: StatementKind) -> Bool {
        switch kind {
        case .insert: insertsLookUp
        case .insertNotUpdated: insertsLookUp || insertsAreExact
        case .delete, .update, .upsert, .merge, .append: false
        }
    }

    private func insert(_ key: StatementKey, _ rows: String) -> String {
        let (columns, values) = texts.insertion(of: "u", isComplete: key.kind == .upsert, setsOnUpdate: key.setsOnUpdate)
        // Each by a name of its own: PostgreSQL calls all that are a CASE "case", and EXPLAIN looks for other names, for which the time
        // grows with the cube of their number (4.4 s for 1,570).
        let named = values.enumerated().map { "\($1) AS v\($0)" }.joined(separator: ", ")
        return "INSERT INTO \(texts.relation) AS t \(columns) SELECT \(named) FROM \(rows)"
    }

    /// `unnest($1::int4[], …) AS u(c0, …)`: see ``RowTexts``.
    private func unnest(_ columns: [Int], _ words: Int, firstParameter first: Int) -> String {
        let hasVersion = texts.version != nil
        let types =
            columns.map { shape.columns[$0].wireType.arrayName } + Array(repeating: "int8[]", count: words)
            + (hasVersion ? ["bytea[]", "int8[]"] : [])
        let arrays = types.enumerated().map { "$\($0 + first)::\($1)" }.joined(separator: ", ")
        let names = columns.map { "c\($0)" } + (0..<words).map { "p\($0)" } + (hasVersion ? ["k", "v"] : [])
        return "unnest(\(arrays)) AS u(\(names.joined(separator: ", ")))"
    }
}
