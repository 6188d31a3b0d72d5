// The oracle: applies events one at a time with statements of its own, and notes what was refused.

import Postgres
import Records

@testable import Apply

/// One event at a time means: look the row up, then do what the event says under a savepoint.
struct OneAtATime {
    let shape: TableShape
    let session: PostgresSession
    /// With a version: that of the newest Delete of each key.
    var deleted: [String: Int] = [:]

    private func quoted(_ column: Int) -> String {
        "\"" + shape.columns[column].name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
            + "\""
    }

    /// What an update sets a column to; `nil`: nothing.
    private func update(_ column: Int, _ value: TestValue, where key: String) throws -> String? {
        let policy = shape.columns[column].policy
        if policy.occasion == .insert || (policy.keepsIfNull && value == .null) { return nil }
        guard policy.isMerged, value != .null else { return value.literal }
        let former = try session.execute("SELECT \(quoted(column)) IS NULL FROM \(shape.name) WHERE \(key)")
        return try former.bool(0, 0) ? value.literal : "\(quoted(column)) || \(value.literal)"
    }

    /// Whether an update would leave a column as it is.
    private func isEqual(_ column: Int, _ value: String, where key: String) throws -> Bool {
        let texts = try session.execute(
            "SELECT coalesce(\(quoted(column))::text, 'NULL'), coalesce((\(value))::text, 'NULL') FROM \(shape.name) WHERE \(key)"
        )
        return try texts.text(0, 0) == texts.text(0, 1)
    }

    /// The state of a key is a version, and whether its row is present: an event takes effect if its version is newer, or equal and last.
    /// A Create and an Update are Upserts then.
    private mutating func applyVersioned(
        _ version: RowVersion, _ operation: Operation, _ values: [TestValue]
    ) throws -> String? {
        guard case .int(let own) = values[version.column] else { preconditionFailure("every event has a version") }
        let key = shape.key.map { "\(quoted($0)) = \(values[$0].literal)" }.joined(separator: " AND ")
        let wins = version.keepsFirst ? ">" : ">="
        let found = try session.execute(
            "SELECT coalesce(\(own) \(wins) \(quoted(version.column)), true) FROM \(shape.name) WHERE \(key)")
        let isNewer: Bool
        if found.rowCount == 1 {
            isNewer = try found.bool(0, 0)
        } else {
            isNewer = deleted[key].map { version.keepsFirst ? Int(own) > $0 : Int(own) >= $0 } ?? true
        }
        guard operation == .delete else { return isNewer ? try write(.upsert, values) : nil }
        let refusal = isNewer ? try write(.delete, values) : nil
        if refusal == nil { deleted[key] = max(deleted[key] ?? .min, Int(own)) }
        return refusal
    }

    /// Makes a table of the same columns, without any other constraint.
    func learnLimits() throws {
        try session.executeScript(
            "DROP TABLE IF EXISTS pg_temp.limits; CREATE TEMP TABLE limits AS SELECT * FROM \(shape.name) WHERE false")
    }

    /// Whether the columns refuse the values by themselves. A value of a key that is cut would name another row.
    func isBeyondLimits(_ values: [TestValue]) throws -> Bool {
        for column in values.indices where values[column] != .absent && shape.columns[column].policy.occasion == .always {
            let name = quoted(column)
            do {
                let row = try session.execute(
                    "INSERT INTO pg_temp.limits (\(name)) VALUES (\(values[column].literal)) RETURNING \(name) = \(values[column].literal)"
                )
                if shape.key.contains(column), try !row.bool(0, 0) { return true }
            } catch {
                if ["22001", "22003"].contains(error.sqlState?.rawValue) { return true }
                // Such as the constraint of a domain, which is no limit.
                guard error.sqlState == SQLState("23514") else { throw error }
            }
        }
        return false
    }

    /// The SQLSTATE the event was refused with; `nil`: it was applied, or there was nothing to do.
    mutating func apply(_ operation: Operation, _ values: [TestValue]) throws -> String? {
        if let version = shape.version { return try applyVersioned(version, operation, values) }
        return try write(operation, values)
    }

    private func write(_ operation: Operation, _ values: [TestValue]) throws -> String? {
        if shape.mode == .append { return operation == .delete ? nil : try execute(insertion(values)) }
        let key = shape.key.map { "\(quoted($0)) = \(values[$0].literal)" }.joined(separator: " AND ")
        let mark = shape.deletion.first.map { "\($0.column) IS NULL" } ?? "true"
        let found = try session.execute("SELECT \(mark) FROM \(shape.name) WHERE \(key)")
        let isPresent = try found.rowCount == 1 && found.bool(0, 0)
        let there = values.indices.filter { values[$0] != .absent }
        let sql: String
        switch (operation, isPresent) {
        case (.delete, _) where !shape.deletion.isEmpty && (isPresent || shape.version != nil):
            let sets =
                shape.deletion.map { "\($0.column) = current_date" }
                + (shape.version.map { ["\(quoted($0.column)) = \(values[$0.column].literal)"] } ?? [])
            sql = "UPDATE \(shape.name) SET \(sets.joined(separator: ", ")) WHERE \(key)"
        case (.create, true), (.update, false), (.delete, false): return nil
        case (.delete, true): sql = "DELETE FROM \(shape.name) WHERE \(key)"
        case (.create, false) where found.rowCount == 1, (.upsert, false) where found.rowCount == 1:
            // The row that counts as absent becomes as a new one.
            var sets = values.indices.filter { !shape.key.contains($0) }.map { column in
                let isSet = values[column] != .absent && shape.columns[column].policy.occasion != .update
                return "\(quoted(column)) = \(isSet ? values[column].literal : "DEFAULT")"
            }
            sets += shape.onUpdate.map { "\($0.column) = DEFAULT" } + shape.deletion.map { "\($0.column) = NULL" }
            sql = "UPDATE \(shape.name) SET \(sets.joined(separator: ", ")) WHERE \(key)"
        case (.create, false), (.upsert, false): sql = insertion(values)
        case (.update, true), (.upsert, true):
            let new = try there.compactMap { column in
                shape.key.contains(column) ? nil : try update(column, values[column], where: key).map { (column, $0) }
            }
            if shape.skipsUnchanged, try new.allSatisfy({ try isEqual($0.0, $0.1, where: key) }) { return nil }
            var sets = new.map { "\(quoted($0)) = \($1)" }
            sets += shape.onUpdate.map { "\($0.column) = current_date" }
            // Triggers see the update of a row that has nothing to set.
            if sets.isEmpty { sets = ["\(quoted(shape.key[0])) = \(quoted(shape.key[0]))"] }
            sql = "UPDATE \(shape.name) SET \(sets.joined(separator: ", ")) WHERE \(key)"
        }
        return try execute(sql)
    }

    private func insertion(_ values: [TestValue]) -> String {
        let there = values.indices.filter { values[$0] != .absent && shape.columns[$0].policy.occasion != .update }
        return "INSERT INTO \(shape.name) (\(there.map { quoted($0) }.joined(separator: ", "))) OVERRIDING SYSTEM VALUE "
            + "VALUES (\(there.map { values[$0].literal }.joined(separator: ", ")))"
    }

    private func execute(_ sql: String) throws -> String? {
        // Outside of a transaction a statement is its own savepoint, and what is deferred is checked at its end.
        do {
            try session.execute(sql)
            return nil
        } catch {
            guard let state = error.sqlState else { throw error }
            return state.rawValue
        }
    }
}
