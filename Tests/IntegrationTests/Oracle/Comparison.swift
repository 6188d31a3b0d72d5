// Compares the database with the oracle: offsets, rows, the captured changes of each key in order, dead letters.

import Foundation
import Postgres
import Records
import Synchronization
import TestSupport
import Testing

extension World {
    /// Waits until every partition is applied to its end; then the tables must be equal to the oracle's.
    /// - Parameters:
    ///   - limit: how long the workers may take.
    ///   - except: partitions of which nothing must be applied.
    ///   - skipping: by partition, the number of first records that must not be applied.
    func expectExact(
        within limit: Duration = .seconds(180), except: Set<Int32> = [], skipping: [Int32: Int64] = [:],
        refuses: @escaping @Sendable (Texts) -> Bool = { _ in false }, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let ends = try await self.ends().filter { !except.contains($0.key) }
        let isApplied = await eventually(within: limit, every: .milliseconds(50)) {
            // Partitions without a record need no row.
            let offsets = (try? await self.offsets()) ?? [:]
            return ends.allSatisfy { $0.value == 0 || offsets[$0.key] == $0.value }
        }
        let offsets = try await self.offsets()
        if !isApplied { record("not applied within \(limit): log ends \(ends), sluice_offsets \(offsets)", sourceLocation) }
        let skipping = skipping.merging(except.map { ($0, .max) }) { $1 }
        try await expectTables(try await oracle(skipping: skipping, refuses: refuses), sourceLocation: sourceLocation)
    }

    /// The tables must be equal to the oracle's.
    func expectTables(_ oracle: Oracle, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        var differences: [String] = []
        let rows = try await tableRows()
        if rows.count != oracle.rows.count { differences.append("\(rows.count) rows, not \(oracle.rows.count)") }
        differences += oracle.rows.keys.sorted().filter { rows[$0] != oracle.rows[$0] }.prefix(5).map { "row \($0) differs" }
        differences += rows.keys.sorted().filter { oracle.rows[$0] == nil }.prefix(5).map { "row \($0) should not be there" }
        let changes = try await captured()
        for id in Set(changes.keys).union(oracle.changes.keys).sorted() where changes[id] != oracle.changes[id] {
            let (found, expected) = (changes[id] ?? [], oracle.changes[id] ?? [])
            differences.append(
                "key \(id): captured \(found.map(\.operation).joined(separator: " ")), expected "
                    + expected.map(\.operation).joined(separator: " "))
            if differences.count > 20 { break }
        }
        let actual = try await deadLetters()
        differences += actual.subtracting(oracle.deadLetters).sorted().prefix(5).map { "dead letter \($0) should not be there" }
        differences += oracle.deadLetters.subtracting(actual).sorted().prefix(5).map { "dead letter \($0) is missing" }
        if differences.isEmpty {
            let total = oracle.changes.values.reduce(0) { $0 + $1.count }
            print(
                "\(name): exact: \(oracle.records) records, \(rows.count) rows, \(total) changes, \(actual.count) dead letters")
        } else {
            record(differences.joined(separator: "\n"), sourceLocation)
        }
    }

    private func record(_ text: String, _ location: SourceLocation) {
        hasFailed.withLock { $0 = true }
        Issue.record("\(name): \(text)", sourceLocation: location)
    }

    private func tableRows() async throws -> [Int32: Texts] {
        try await sql { session in
            let result = try session.execute("SELECT message_id, name, message FROM messages")
            var rows: [Int32: Texts] = [:]
            for row in 0..<result.rowCount {
                rows[try result.int32(row, 0)] = Texts(name: try result.text(row, 1), message: try result.text(row, 2))
            }
            return rows
        }
    }

    private func captured() async throws -> [Int32: [Change]] {
        try await sql { session in
            let result = try session.execute(
                "SELECT message_id, operation_type, name_before, message_before, name_after, message_after FROM messages_cdc "
                    + "ORDER BY cdc_id")
            func texts(_ row: Int, _ column: Int) throws -> Texts? {
                if result.isNull(row, column) { return nil }
                return Texts(name: try result.text(row, column), message: try result.text(row, column + 1))
            }
            var changes: [Int32: [Change]] = [:]
            for row in 0..<result.rowCount {
                changes[try result.int32(row, 0), default: []].append(
                    Change(operation: try result.text(row, 1), before: try texts(row, 2), after: try texts(row, 4)))
            }
            return changes
        }
    }

    /// Coordinates of the group's dead letters.
    func deadLetters() async throws -> Set<Coordinate> {
        let query =
            "SELECT partition, \"offset\" FROM sluice_dead_letters WHERE consumer_group = '\(group)' AND topic = '\(topic)'"
        return try await sql { session in
            let result = try session.execute(query)
            var coordinates: Set<Coordinate> = []
            for row in 0..<result.rowCount {
                coordinates.insert(Coordinate(partition: try result.int32(row, 0), offset: try result.int64(row, 1)))
            }
            return coordinates
        }
    }
}
