// Owns the SQL of the set statements: one text for each operation and set of absent columns.

import Postgres
import Records

/// What a set statement does with its rows.
enum StatementKind: UInt8, CaseIterable {
    /// Removes rows that are present.
    case delete
    /// Changes rows that are present.
    case update
    /// Changes rows that are present and inserts the others.
    case upsert
    /// Inserts rows that are absent.
    case insert
    /// Inserts rows, whatever is there.
    case append
}

/// Which statement a row belongs to.
struct StatementKey: Hashable {
    let kind: StatementKind
    /// Bit n: the n-th column has no value in these rows.
    let absent: UInt64
    /// Inserted rows have been updated within their run: touched columns are set, not defaulted.
    let isTouched: Bool
}

/// A set statement and the columns whose arrays are its parameters.
struct SetStatement {
    let sql: String
    let columns: [Int]
    let prepared: PreparedStatement
    /// The statement joins arrays and table, so it has to be planned with the arrays' true length: a plan kept from a small
    /// batch, or from when the table was small, may read the whole table once a row.
    let plansEachTime: Bool
}

/// Writes set statements for one table.
struct StatementTexts {
    let relation: String
    let shape: TableShape
    private let names: [String]
    private let keyNames: [String]
    private let touches: [(name: String, value: String)]

    init(shape: TableShape, relation: String) {
        self.shape = shape
        self.relation = relation
        names = shape.columns.map { quoteIdentifier($0.name) }
        keyNames = shape.key.map { quoteIdentifier(shape.columns[$0].name) }
        touches = shape.onUpdate.map { (quoteIdentifier($0.column), Self.expression($0.value)) }
    }

    static func expression(_ value: OnUpdateValue) -> String {
        switch value {
        case .currentDate: "CURRENT_DATE"
        case .now: "CURRENT_TIMESTAMP"
        }
    }

    /// One statement for rows of different keys that belong to several statements. It answers how many rows it wrote.
    ///
    /// All its parts see the table as it was before, and they are executed in no order that can be relied on: right for rows that
    /// are judged each by itself.
    func together(_ keys: [StatementKey]) -> (sql: String, columns: [[Int]]) {
        var columns: [[Int]] = []
        var first = 1
        let parts = keys.enumerated().map { index, key in
            let part = statement(key, firstParameter: first)
            columns.append(part.columns)
            first += part.columns.count
            return "s\(index) AS (\(part.sql) RETURNING 1)"
        }
        let counts = keys.indices.map { "(SELECT count(*) FROM s\($0))" }
        return ("WITH \(parts.joined(separator: ", ")) SELECT \(counts.joined(separator: " + "))", columns)
    }

    func statement(_ key: StatementKey, firstParameter first: Int = 1) -> SetStatement {
        let columns = key.kind == .delete ? shape.key : shape.columns.indices.filter { key.absent & (1 << UInt64($0)) == 0 }
        let rows = unnest(columns, firstParameter: first)
        let sql: String
        switch key.kind {
        case .delete: sql = "DELETE FROM \(relation) AS t USING \(rows) WHERE \(match(columns))"
        case .update:
            let sets = assignments(columns) { "u.c\($0)" }
            sql = "UPDATE \(relation) AS t SET \(sets) FROM \(rows) WHERE \(match(columns))"
        case .upsert:
            let sets = assignments(columns) { "excluded.\(names[$0])" }
            sql =
                insert(columns, rows, isTouched: key.isTouched)
                + " ON CONFLICT (\(keyNames.joined(separator: ", "))) DO UPDATE SET \(sets)"
        case .insert:
            sql =
                insert(columns, rows, isTouched: key.isTouched) + " ON CONFLICT (\(keyNames.joined(separator: ", "))) DO NOTHING"
        case .append: sql = insert(columns, rows, isTouched: false)
        }
        return SetStatement(
            sql: sql, columns: columns, prepared: PreparedStatement(sql),
            plansEachTime: key.kind == .delete || key.kind == .update)
    }

    /// `unnest($1::int4[], …) AS u(c0, …)`: a column's name in `u` carries its position in the shape.
    private func unnest(_ columns: [Int], firstParameter first: Int) -> String {
        let arrays = columns.enumerated().map { "$\($0 + first)::\(shape.columns[$1].type.arrayName)" }.joined(separator: ", ")
        return "unnest(\(arrays)) AS u(\(columns.map { "c\($0)" }.joined(separator: ", ")))"
    }

    private func match(_ columns: [Int]) -> String {
        zip(keyNames, shape.key).map { "t.\($0) = u.c\($1)" }.joined(separator: " AND ")
    }

    private func insert(_ columns: [Int], _ rows: String, isTouched: Bool) -> String {
        let touches = isTouched ? touches : []
        let into = (columns.map { names[$0] } + touches.map(\.name)).joined(separator: ", ")
        let values = (columns.map { "u.c\($0)" } + touches.map(\.value)).joined(separator: ", ")
        return "INSERT INTO \(relation) AS t (\(into)) SELECT \(values) FROM \(rows)"
    }

    /// What a present row's columns are set to. Where the event has nothing but its key the row is written as it is: an Update or
    /// Upsert that finds its row writes it, and whoever captures changes sees that.
    private func assignments(_ columns: [Int], _ value: (Int) -> String) -> String {
        let sets =
            columns.filter { !shape.key.contains($0) }.map { "\(names[$0]) = \(value($0))" }
            + touches.map { "\($0.name) = \($0.value)" }
        return sets.isEmpty ? "\(keyNames[0]) = t.\(keyNames[0])" : sets.joined(separator: ", ")
    }
}
