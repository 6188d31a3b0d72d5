// Proves that with a version the table does not depend on the order of arrival, nor on which of two lanes writes an event: on a real
// PostgreSQL.

import Foundation
import Postgres
import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply

/// One event of a sequence; its version is the only one of its key.
private struct Versioned {
    let key: Int
    let version: Int
    /// `nil`: a Delete.
    let text: String?
}

extension ServerTests {
    @Suite(.timeLimit(.minutes(3))) struct VersionOrderTests {
        private static func shape(_ strategy: WriteChoice.Strategy, deletes: Bool) -> TableShape {
            TableShape(
                name: "t",
                columns: [
                    ColumnShape(name: "id", type: .int4), ColumnShape(name: "at", type: .int4),
                    ColumnShape(name: "a", type: .text),
                ], key: [0], write: WriteChoice(strategy), deletion: deletes ? [("gone", .now)] : [],
                version: RowVersion(column: 1))
        }

        private static func events(_ random: inout SeededRandom) -> [Versioned] {
            (0..<Int.random(in: 1...5, using: &random)).flatMap { key in
                (0..<Int.random(in: 1...8, using: &random)).map { version in
                    Versioned(key: key, version: version, text: random.chance(0.3) ? nil : "\(key).\(version)")
                }
            }.shuffled(using: &random)
        }

        /// Writes one partition's records in batches; what is in the way of another lane's transaction is repeated.
        private static func write(
            _ batches: [[TestRecord]], _ source: TopicPartition, _ claim: PartitionClaim, _ writer: TableWriter,
            _ connection: PostgresConnection
        ) async throws {
            var (claim, start) = (claim, Int64(0))
            for records in batches {
                let batch = changeBatch(source, from: start, records, shape: writer.plan.shape)
                start = batch.records.nextOffset
                let transaction = try writer.prepare([batch], claims: [claim])
                var outcome = try await connection.perform { writer.execute(transaction, on: $0, now: 0) }
                while case .retry(.conflict, _) = outcome {
                    outcome = try await connection.perform { writer.execute(transaction, on: $0, now: 0) }
                }
                #expect(outcome.report?.records == records.count, "\(outcome)")
                writer.recycle(transaction)
                claim = PartitionClaim(source: source, epoch: claim.epoch, nextOffset: start)
            }
        }

        @Test(
            arguments: [
                (WriteChoice.Strategy.auto, false), (.rounds, false), (.rounds, true), (.sequential, false), (.sequential, true),
            ])
        func equalsTheOrderOfVersions(_ strategy: WriteChoice.Strategy, deletes: Bool) async throws {
            var random = SeededRandom.printed("versions, \(strategy), deletes \(deletes)")
            let database = try await TestDatabase.fresh("CREATE TABLE t (id int PRIMARY KEY, at int, a text, gone timestamptz);")
            let lanes = [database.connection, try await database.connect()]
            _ = try await lanes[1].perform { try $0.execute("SET synchronous_commit = off") }
            let first = try await database.writer(Self.shape(strategy, deletes: deletes))
            let writers = [
                first, TableWriter(plan: first.plan, configuration: first.configuration, poison: first.poison),
            ]
            let sources = [TopicPartition("t", 0), TopicPartition("t", 1)]
            for sequence in 0..<60 {
                try await database.script("TRUNCATE t, sluice_offsets, sluice_tombstones")
                let claims = try await database.claim(sources[0], sources[1])
                let events = Self.events(&random)
                // One lane, or a key's events over both.
                let hasTwo = random.chance(0.8)
                var batches: [[[TestRecord]]] = [[], []]
                for event in events {
                    let lane = hasTwo ? Int(random.next() % 2) : 0
                    if batches[lane].isEmpty || random.chance(0.25) { batches[lane].append([]) }
                    let operation: Records.Operation =
                        event.text == nil ? .delete : [.create, .update, .upsert][Int(random.next() % 3)]
                    batches[lane][batches[lane].count - 1].append(
                        .event(
                            operation,
                            [.int(Int32(event.key)), .int(Int32(event.version)), event.text.map { .text($0) } ?? .absent]))
                }
                let planned = batches
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for lane in 0..<2 {
                        group.addTask {
                            try await Self.write(planned[lane], sources[lane], claims[lane], writers[lane], lanes[lane])
                        }
                    }
                    try await group.waitForAll()
                }
                let newest = Dictionary(events.map { ($0.key, $0) }) { $0.version > $1.version ? $0 : $1 }
                let expected = newest.values.sorted { $0.key < $1.key }.compactMap { event in
                    event.text.map { "\(event.key) \(event.version) \($0)" }
                }
                let rows = try await database.rows(
                    "SELECT concat_ws(' ', id, at, a) FROM t WHERE gone IS NULL ORDER BY id")
                #expect(rows == expected, "sequence \(sequence)")
            }
            for connection in lanes { await connection.close() }
        }
    }
}
