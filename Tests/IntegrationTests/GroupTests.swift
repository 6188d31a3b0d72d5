// Members that join, leave, die, freeze and come back while events flow.

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// One of two workers leaves in order, one is killed in the middle of a batch and started again.
    @Test func twoWorkersJoinLeaveAndDie() async throws {
        try await World.run("two-workers", partitions: 12) { world in
            var first = try await world.worker("first")
            let load = try world.load(LoadPlan(rate: 4_000, badFraction: 0.002))
            try await world.progress(2_000)

            let second = try await world.worker("second")
            try await world.holds(second, 6)
            try await world.holds(first, 6)
            try await world.progress(2_000)

            // In order.
            try #require(try await second.terminate() == .exited(0))
            try await world.holds(first, 12)
            try await world.progress(2_000)

            // Not in order: its transaction has begun and cannot end before it is dead.
            let again = try await world.worker("second")
            try await world.holds(again, 6)
            try await world.holdingTable {
                try await world.reached("a batch of each worker waits") { try await world.waitingLanes() >= 2 }
                await first.process.kill()
            }
            first = try await world.worker("first")
            try await world.holds(first, 6)
            try await world.progress(2_000)
            try await load.stopped()
            try await world.expectExact()
        }
    }

    /// A worker that is frozen in the middle of a batch, longer than its session lasts, has nothing to say when it wakes.
    @Test func aZombieWritesNothing() async throws {
        try await World.run("zombie", partitions: 6) { world in
            let settings = ["SLUICE_POSTGRES_LOCK_TIMEOUT": "1s"]
            let zombie = try await world.worker("zombie", settings)
            let load = try world.load(LoadPlan(rate: 5_000))
            try await world.progress(1_000)
            // What it has sent goes on in the server; what it has read and decoded waits in its memory.
            try await world.holdingTable {
                try await world.reached("a batch of the zombie waits") { try await world.waitingLanes() >= 1 }
                zombie.process.signal(SIGSTOP)
            }
            let successor = try await world.worker("successor", settings)
            try await world.holds(successor, 6)
            try await world.progress(5_000)
            zombie.process.signal(SIGCONT)
            try await world.holds(zombie, 3)
            try await world.holds(successor, 3)

            // The other one, in the middle of whatever it is doing.
            try await world.progress(5_000)
            successor.process.signal(SIGSTOP)
            try await world.holds(zombie, 6)
            try await world.progress(5_000)
            successor.process.signal(SIGCONT)
            for worker in [zombie, successor] { try await world.holds(worker, 3) }

            try await load.stopped()
            try await world.expectExact()
            for worker in [zombie, successor] {
                try await world.reached("no lag is left") { try await worker.metric("kafka_consumergroup_lag") == 0 }
                try #require(try await worker.get("/readyz").status == 200)
                print("zombie: fenced \(try await worker.metric("sluice_fenced_total")) times: \(worker.process.log)")
            }
        }
    }

    /// With a name of its own a worker's restart is nobody else's business; two processes of one name are one too many.
    @Test func staticMembership() async throws {
        try await World.run("static", partitions: 4) { world in
            func settings(_ name: String) -> [String: String] {
                ["SLUICE_KAFKA_GROUP_INSTANCE_ID": name, "SLUICE_KAFKA_SESSION_TIMEOUT": "20s"]
            }
            let steady = try await world.worker("steady", settings("a"))
            try await world.holds(steady, 4)
            let mortal = try await world.worker("mortal", settings("b"))
            try await world.holds(mortal, 2)
            try await world.holds(steady, 2)
            let before = try await steady.metric("sluice_rebalances_total")

            let load = try world.load(LoadPlan(events: 20_000, rate: 4_000))
            try await world.progress(2_000)
            await mortal.process.kill()
            let reborn = try await world.worker("mortal", settings("b"))
            try await world.holds(reborn, 2)
            try await load.finished()
            try await world.expectExact()
            try #require(try await steady.metric("sluice_rebalances_total") == before)

            let usurper = try await world.worker("usurper", settings("b"))
            let ending = try await reborn.process.ended(within: .seconds(30))
            try #require(ending != .exited(0))
            let lastWords = reborn.process.output.split(separator: "\n").suffix(5).joined(separator: "\n")
            try #require(lastWords.contains("group_instance_id"), "what it says at its end: \(lastWords)")
            try await world.holds(usurper, 2)
        }
    }
}
