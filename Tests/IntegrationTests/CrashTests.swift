// Tests workers, brokers and databases that are killed under load.

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A worker is killed again and again, at random moments.
    @Test func aWorkerIsKilledAgainAndAgain() async throws {
        try await World.run("kill-loop", partitions: 6) { world in
            var random = SeededRandom(seed: testSeed("kill-loop"))
            // The load lasts until the last kill, so that every killed worker has records in flight.
            let load = try world.load(
                LoadPlan(rate: 6_000, badFraction: 0.002, seed: random.next() % 1_000_000))
            // With static membership a start does not wait for the end of the killed worker's session; small batches make many
            // transactions.
            let settings = ["SLUICE_KAFKA_GROUP_INSTANCE_ID": "mortal", "SLUICE_APPLY_BATCH_RECORDS": "100"]
            var kills = 0
            var withProgress = 0
            while kills < 12 {
                let worker = try world.launch("mortal", settings)
                let before = try await world.applied()
                // Most are killed while they apply records, some before.
                if random.unit() < 0.8 {
                    try await world.reached("the worker applies records") { try await world.applied() > before }
                }
                try await Task.sleep(for: .milliseconds(Int(random.unit() * 400)))
                await worker.kill()
                kills += 1
                if try await world.applied() > before { withProgress += 1 }
            }
            try await load.stopped()
            let left = try await world.ends().values.reduce(0, +) - world.applied()
            print("kill-loop: \(kills) kills, \(withProgress) of them after progress; \(left) records left for the last worker")
            try #require(left > 0 && withProgress >= 5)
            _ = try await world.worker("mortal", settings)
            try await world.expectExact()
        }
    }

    /// The broker is killed and started again; producer and workers continue.
    @Test func theBrokerIsKilled() async throws {
        try await World.run("broker-kill", partitions: 6) { world in
            let workers = [try await world.worker("one"), try await world.worker("two")]
            for worker in workers { try await world.hasPartitions(worker, 3) }
            let load = try world.load(LoadPlan(rate: 4_000))
            try await world.progress(3_000)
            await world.kafka.kill()
            try await world.kafka.start()
            try await world.progress(10_000)
            try await load.stopped()
            try await world.expectExact()
            for worker in workers { try #require(worker.process.ending == nil) }
        }
    }

    /// Sessions are ended five times a second for five seconds, then the whole server crashes and recovers.
    @Test func theDatabaseFails() async throws {
        try await World.run("database-fails", partitions: 6, onServerOfItsOwn: true) { world in
            let worker = try await world.worker("worker", ["SLUICE_APPLY_RETRY_MAXIMUM": "500ms"])
            try await world.hasPartitions(worker, 6)
            let load = try world.load(LoadPlan(rate: 4_000))
            try await world.progress(2_000)
            for _ in 0..<25 {
                try await world.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sluice lane%'")
                try await Task.sleep(for: .milliseconds(200))
            }
            try await world.progress(2_000)
            // When a backend is killed, the server ends all others and replays its WAL, as after a power cut.
            let lane = try await world.number(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sluice lane%' LIMIT 1")
            try #require(kill(pid_t(lane), SIGKILL) == 0)
            try await world.reached("the database is back") {
                (try? await world.number("SELECT count(*) FROM pg_stat_activity WHERE pid = \(lane)")) == 0
            }
            try await world.progress(2_000)
            try await load.stopped()
            try await world.expectExact()
            try #require(try await world.deadLetters().isEmpty, "an outage caused dead letters")
        }
    }
}
