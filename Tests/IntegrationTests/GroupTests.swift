// Tests members that join, leave, are killed, hang and continue under load.

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// One of two workers leaves the group, one is killed during a transaction and started again.
    @Test func twoWorkersJoinLeaveAndAreKilled() async throws {
        try await World.run("two-workers", partitions: 12) { world in
            var first = try await world.worker("first")
            let load = try world.load(LoadPlan(rate: 4_000, badFraction: 0.002))
            try await world.progress(2_000)

            let second = try await world.worker("second")
            try await world.hasPartitions(second, 6)
            try await world.hasPartitions(first, 6)
            try await world.progress(2_000)

            // With SIGTERM.
            try #require(try await second.terminate() == .exited(0))
            try await world.hasPartitions(first, 12)
            try await world.progress(2_000)

            // With SIGKILL: its transaction has started and cannot end before the kill.
            let again = try await world.worker("second")
            try await world.hasPartitions(again, 6)
            try await world.holdingTable {
                try await world.reached("a batch of each worker waits") { try await world.waitingLanes() >= 2 }
                await first.process.kill()
            }
            first = try await world.worker("first")
            try await world.hasPartitions(first, 6)
            try await world.progress(2_000)
            try await load.stopped()
            try await world.expectExact()
        }
    }

    /// A worker that is stopped during a transaction, for longer than its session timeout, writes nothing when it continues.
    @Test func aZombieWritesNothing() async throws {
        try await World.run("zombie", partitions: 6) { world in
            let settings = ["SLUICE_POSTGRES_LOCK_TIMEOUT": "1s"]
            let zombie = try await world.worker("zombie", settings)
            let load = try world.load(LoadPlan(rate: 5_000))
            try await world.progress(1_000)
            // The server executes what the zombie has sent; what it has read and decoded is in its memory.
            try await world.holdingTable {
                try await world.reached("a batch of the zombie waits") { try await world.waitingLanes() >= 1 }
                zombie.process.signal(SIGSTOP)
            }
            let successor = try await world.worker("successor", settings)
            try await world.hasPartitions(successor, 6)
            try await world.progress(5_000)
            zombie.process.signal(SIGCONT)
            try await world.hasPartitions(zombie, 3)
            try await world.hasPartitions(successor, 3)

            // Then the other worker, at any moment.
            try await world.progress(5_000)
            successor.process.signal(SIGSTOP)
            try await world.hasPartitions(zombie, 6)
            try await world.progress(5_000)
            successor.process.signal(SIGCONT)
            for worker in [zombie, successor] { try await world.hasPartitions(worker, 3) }

            try await load.stopped()
            try await world.expectExact()
            for worker in [zombie, successor] {
                try await world.reached("no lag is left") { try await worker.metric("kafka_consumergroup_lag") == 0 }
                try #require(try await worker.get("/readyz").status == 200)
                print("zombie: fenced \(try await worker.metric("sluice_fenced_total")) times: \(worker.process.log)")
            }
        }
    }

    /// With static membership a restart does not rebalance the group; of two processes with one instance id the first ends.
    @Test func staticMembership() async throws {
        try await World.run("static", partitions: 4) { world in
            func settings(_ name: String) -> [String: String] {
                ["SLUICE_KAFKA_GROUP_INSTANCE_ID": name, "SLUICE_KAFKA_SESSION_TIMEOUT": "20s"]
            }
            let first = try await world.worker("first", settings("a"))
            try await world.hasPartitions(first, 4)
            let mortal = try await world.worker("mortal", settings("b"))
            try await world.hasPartitions(mortal, 2)
            try await world.hasPartitions(first, 2)
            let before = try await first.metric("sluice_rebalances_total")

            let load = try world.load(LoadPlan(events: 20_000, rate: 4_000))
            try await world.progress(2_000)
            await mortal.process.kill()
            let reborn = try await world.worker("mortal", settings("b"))
            try await world.hasPartitions(reborn, 2)
            try await load.finished()
            try await world.expectExact()
            try #require(try await first.metric("sluice_rebalances_total") == before)

            let usurper = try await world.worker("usurper", settings("b"))
            let ending = try await reborn.process.ended(within: .seconds(60))
            try #require(ending != .exited(0))
            let lastLines = reborn.process.output.split(separator: "\n").suffix(5).joined(separator: "\n")
            try #require(lastLines.contains("group_instance_id"), "its last lines: \(lastLines)")
            try await world.hasPartitions(usurper, 2)
        }
    }
}
