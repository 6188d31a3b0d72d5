// The oracle: applies events one at a time with statements of its own, and notes what was refused.

import Postgres
import Records

@testable import Apply

/// One event at a time means: look the row up, then do what the event says under a savepoint.
struct OneAtATime {
    let shape: TableShape
    let session: PostgresSession

    private func quoted(_ column: Int) -> String {
        "\"" + shape.columns[column].name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
            + "\""
    }

    /// The SQLSTATE the event was refused with; `nil`: it was applied, or there was nothing to do.
    func apply(_ operation: Operation, _ values: [TestValue]) throws -> String? {
        if shape.mode == .append { return operation == .delete ? nil : try execute(insertion(values)) }
        let key = shape.key.map { "\(quoted($0)) = \(values[$0].literal)" }.joined(separator: " AND ")
        let isPresent = try session.execute("SELECT 1 FROM \(shape.name) WHERE \(key)").rowCount == 1
        let there = values.indices.filter { values[$0] != .absent }
        let sql: String
        switch (operation, isPresent) {
        case (.create, true), (.update, false), (.delete, false): return nil
        case (.delete, true): sql = "DELETE FROM \(shape.name) WHERE \(key)"
        case (.create, false), (.upsert, false): sql = insertion(values)
        case (.update, true), (.upsert, true):
            var sets = there.filter { !shape.key.contains($0) }.map { "\(quoted($0)) = \(values[$0].literal)" }
            sets += shape.onUpdate.map { "\($0.column) = current_date" }
            sql = "UPDATE \(shape.name) SET \(sets.joined(separator: ", ")) WHERE \(key)"
        }
        return try execute(sql)
    }

    private func insertion(_ values: [TestValue]) -> String {
        let there = values.indices.filter { values[$0] != .absent }
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
