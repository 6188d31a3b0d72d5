// Bisection against a server: whatever is refused, wherever it stands, table, dead letters and change capture are exact.

import Postgres
import Records
import SluiceTables
import Synchronization
import TestSupport
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

/// Where the refused events stand among all of them.
private let places: [(name: String, positions: @Sendable (Int, inout SeededRandom) -> [Int])] = [
    ("first", { _, _ in [0] }), ("last", { count, _ in [count - 1] }),
    ("one", { count, random in [Int.random(in: 0..<count, using: &random)] }),
    ("first and last", { count, _ in [0, count - 1] }),
    ("two", { count, random in (0..<2).map { _ in Int.random(in: 0..<count, using: &random) } }),
    (
        "adjacent",
        { count, random in
            let first = Int.random(in: 0..<count - 3, using: &random)
            return [first, first + 1, first + 2]
        }
    ),
    ("around the middle", { count, _ in [count / 2 - 1, count / 2] }),
    ("ten", { count, random in (0..<10).map { _ in Int.random(in: 0..<count, using: &random) } }),
]

extension ServerTests {
    @Suite struct BisectionTests {
        private let checked = "ALTER TABLE messages ADD CHECK (name <> 'bad');"

        /// Few keys, so that a key's events stand in both halves of every split; and Creates that are refused in bulk only, because
        /// their row is there.
        /// Whether the transaction is tried whole, or in pieces because refusals were frequent of late.
        @Test(arguments: places.map(\.name), [(8, 0), (64, 0), (8, 1), (64, 2)])
        func isExact(_ place: String, _ kind: (suspectEvents: Int, refusals: Int)) async throws {
            let suspectEvents = kind.suspectEvents
            let ddl = try TestDatabase.migration("0001") + TestDatabase.migration("0002") + checked
            let database = try await TestDatabase.fresh(ddl)
            var random = SeededRandom.printed("bisection, \(place), \(kind)")
            let count = 1_000
            let positions = Set(try #require(places.first { $0.name == place }).positions(count, &random))
            let alarm = Int.random(in: 0..<count, using: &random)
            let records = (0..<count).map { index -> TestRecord in
                let key = Int(random.next() % 150)
                if positions.contains(index) { return message(.upsert, key, "bad", "\(index)") }
                if index == alarm { return message(.create, 1_000, "bad", "there already") }
                return message(Operation.allCases[Int(random.next() % 4)], key, "n", "\(index)")
            }
            let there = "INSERT INTO messages VALUES (1000, 'n', 'm'), (1, 'n', 'm'), (2, 'n', 'm');"
            let oracle = try await database.connect()
            let refused = try await oracle.perform { session in
                try session.executeScript("SET synchronous_commit = off; CREATE SCHEMA oracle; SET search_path = oracle;" + ddl)
                try session.executeScript(there)
                return try records.indices.filter { index in
                    guard case .event(let operation, let values) = records[index] else { return false }
                    var model = OneAtATime(shape: messagesShape, session: session)
                    return try model.apply(operation, values) != nil
                }
            }
            #expect(refused == positions.sorted())

            try await database.script(there)
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.bisection.suspectEvents = suspectEvents
            configuration.leastRoundRows = 16
            let writer = try await database.writer(messagesShape, configuration: configuration)
            #expect(writer.plan.choice.strategy == .rounds)
            writer.refusals.withLock { $0.committed(events: 1_000, refusals: kind.refusals) }
            // Two partitions, so that a range may begin in one batch and end in another.
            let cut = Int.random(in: 1..<count, using: &random)
            let batches = [
                changeBatch(p0, from: 0, Array(records[..<cut]), shape: messagesShape),
                changeBatch(p1, from: 0, Array(records[cut...]), shape: messagesShape),
            ]
            let claims = try await database.claim(p0, p1)
            let outcome = try await database.apply(writer, batches, claims)
            #expect(outcome.report?.isReplayed == true)
            #expect(outcome.report?.deadLetters == ["sql:check": positions.count])
            if positions.count < 4 { #expect(outcome.report?.counts == nil, "some events were written in bulk") }
            let deadLetters = try await database.rows(
                "SELECT partition || ' ' || \"offset\" FROM sluice_dead_letters ORDER BY partition, \"offset\"")
            #expect(deadLetters == positions.sorted().map { $0 < cut ? "0 \($0 * 2)" : "1 \(($0 - cut) * 2)" })
            for query in [
                "SELECT t::text FROM messages t ORDER BY message_id",
                """
                SELECT (message_id, operation_type, name_before, message_before, name_after, message_after)::text
                FROM messages_cdc ORDER BY message_id, cdc_id
                """,
            ] {
                let expected = try await oracle.perform { session in
                    let result = try session.execute(query)
                    return try (0..<result.rowCount).map { try result.text($0, 0) }
                }
                #expect(try await database.rows(query) == expected, "\(query)")
            }
            #expect(
                try await database.rows("SELECT next_offset::text FROM sluice_offsets ORDER BY partition")
                    == batches.map { "\($0.records.nextOffset)" })
        }

        /// Forced coalescing is bisected too, with its own statements.
        @Test func aForcedFoldIsBisected() async throws {
            let database = try await TestDatabase.fresh(try TestDatabase.migration("0001") + checked)
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.bisection.suspectEvents = 4
            let writer = try await database.writer(messagesShape.written(.coalesce), configuration: configuration)
            let claims = try await database.claim(p0)
            // Keys come twice, once in each half; the second time they are changed or removed.
            let records = (0..<200).map { index -> TestRecord in
                if index == 130 { return message(.upsert, 999, "bad") }
                return index < 100 ? message(.upsert, index) : message(index % 2 == 0 ? .update : .delete, index - 100, "new")
            }
            let outcome = try await database.apply(writer, [changeBatch(p0, from: 0, records, shape: messagesShape)], claims)
            #expect(outcome.report?.deadLetters == ["sql:check": 1])
            #expect(try await database.rows("SELECT \"offset\"::text FROM sluice_dead_letters") == ["260"])
            #expect(
                try await database.rows("SELECT message_id::text FROM messages WHERE name = 'new' ORDER BY messages.message_id")
                    == stride(from: 0, to: 100, by: 2).filter { $0 != 30 }.map(String.init))
            #expect(try await database.rows("SELECT message_id::text FROM messages WHERE name <> 'new'") == ["30"])
        }

        @Test func transactionsAfterEachOtherShareOneSession() async throws {
            let database = try await TestDatabase.fresh(try TestDatabase.migration("0001") + checked)
            var configuration = ApplyConfiguration(group: "g", outcomes: try OutcomeTable())
            configuration.bisection.suspectEvents = 1
            let writer = try await database.writer(messagesShape, configuration: configuration)
            var claims = try await database.claim(p0)
            for round in 0..<3 {
                let records = (0..<9).map { message(.upsert, $0, $0 == 4 ? "bad" : "n\(round)") }
                let batch = changeBatch(p0, from: claims[0].nextOffset, records, shape: messagesShape)
                #expect(try await database.apply(writer, [batch], claims).word == "applied")
                claims[0].nextOffset = batch.records.nextOffset
                let isIdle = try await database.connection.perform { $0.transactionStatus == .idle }
                #expect(isIdle)
            }
            #expect(try await database.deadLetterCount() == 3)
        }
    }
}
