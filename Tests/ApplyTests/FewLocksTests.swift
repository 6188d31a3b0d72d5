// A server with so few locks that no statement may touch all partitions of a table: everything is written all the same.

import Foundation
import Postgres
import Records
import SluiceTables
import TestSupport
import Testing

@testable import Apply

extension ServerTests {
    @Suite(.timeLimit(.minutes(5))) struct FewLocksTests {
        private static let partitions = 600

        /// Connects to a server of the test's own with about 80 locks, and what the rest of its shared memory holds.
        private func serverWithFewLocks(_ directory: String) async throws -> PostgresConnection {
            func start() async throws -> PostgresConnection {
                let started = try await PostgresScript.run(["start", directory, "--owner-pid", "\(getpid())"])
                try #require(started.status == 0, "\(started.errors)")
                return try await PostgresConnection.connect(PostgresConfiguration(uri: started.output))
            }
            let first = try await start()
            for setting in [
                "max_locks_per_transaction = 10", "max_connections = 5", "superuser_reserved_connections = 0",
                "max_wal_senders = 0", "max_worker_processes = 0", "autovacuum_max_workers = 1", "fsync = off",
            ] {
                _ = try await first.perform { try $0.execute("ALTER SYSTEM SET \(setting)") }
            }
            await first.close()
            _ = try await PostgresScript.run(["stop", directory])
            return try await start()
        }

        @Test func aTableWithManyPartitionsIsWritten() async throws {
            let directory = TestPostgres.checkout.appending(path: ".sluice/test-few-locks-\(getpid())").path
            do {
                try await writes(try await serverWithFewLocks(directory))
            } catch {
                Issue.record("\(error)")
            }
            _ = try await PostgresScript.run(["stop", directory])
            try FileManager.default.removeItem(atPath: directory)
        }

        private func writes(_ connection: PostgresConnection) async throws {
            let partitions = Self.partitions
            try await connection.perform { session in
                try MigrationRunner().apply(session, [OwnSchema.migrations])
                try session.execute("CREATE TABLE ev (id int PRIMARY KEY, v text) PARTITION BY LIST (id)")
                try session.execute(
                    """
                    DO $$ BEGIN FOR n IN 0..\(partitions - 1) LOOP
                      EXECUTE format('CREATE TABLE ev_%s PARTITION OF ev FOR VALUES IN (%s)', n, n); COMMIT;
                    END LOOP; END $$
                    """)
            }
            let shape = TableShape(
                name: "ev", columns: [ColumnShape(name: "id", type: .int4), ColumnShape(name: "v", type: .text)], key: [0])
            let source = TopicPartition("t", 0)
            let plan = try await connection.perform { try WritePlan.checked(shape, on: $0) }
            #expect(plan.choice.strategy == .coalesce)
            let claim = try await connection.perform { session in
                try OffsetStore(group: "g").claim([(source, 0)], member: "m", on: session)[0]
            }
            let outcomes = try OutcomeTable()
            let writer = TableWriter(
                plan: plan, configuration: ApplyConfiguration(group: "g", outcomes: outcomes),
                poison: PoisonGuard(PoisonLimits()))
            // All rows are created, half of them changed, a third removed.
            let events: [TestRecord] =
                (0..<partitions).map { .event(.create, [.int(Int32($0)), .text("created")]) }
                + (0..<partitions / 2).map { .event(.update, [.int(Int32($0)), .text("changed")]) }
                + (0..<partitions / 3).map { .event(.delete, [.int(Int32($0)), .absent]) }
            let batch = changeBatch(source, from: 0, events, shape: shape)
            var machine = LaneMachine(outcomes: outcomes, constraintTimeout: 0)
            var action = machine.batchesArrived(
                [PartitionBatches(source: source, generation: 1, epoch: claim.epoch, expected: 0, batches: [batch])], at: 1)
            var halved = 0
            while case .write(let slices, let claims, let final, _) = action {
                let transaction = try writer.prepare(slices, claims: claims)
                let outcome = try await connection.perform { writer.execute(transaction, on: $0, final: final, now: 0) }
                if outcome.word == "halved" { halved += 1 }
                action = machine.executed(outcome, of: transaction.advances, at: 1)
            }
            var counts = AppliedCounts()
            counts.applied = events.count
            #expect(action == .answer(.applied(counts)))
            #expect(halved > 0, "there were locks enough")
            // A query of the whole table would need all locks, too.
            let rows = try await connection.perform { session in
                try (0..<partitions).map { id in
                    let result = try session.execute("SELECT v FROM ev WHERE id = \(id)")
                    return result.rowCount == 0 ? "removed" : try result.text(0, 0)
                }
            }
            let expected = (0..<partitions).map {
                $0 < partitions / 3 ? "removed" : $0 < partitions / 2 ? "changed" : "created"
            }
            #expect(rows == expected)
            await connection.close()
        }
    }
}
