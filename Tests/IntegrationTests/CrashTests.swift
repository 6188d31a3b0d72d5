// Workers and servers that are killed while events flow.

import Foundation
import Glibc
import TestSupport
import Testing

extension EndToEnd {
    /// A worker that dies again and again, wherever it happens to be.
    @Test func aWorkerIsKilledAgainAndAgain() async throws {
        try await World.run("kill-loop", partitions: 6) { world in
            var random = SeededRandom(seed: testSeed("kill-loop"))
            // It goes on until the last worker is dead, so that there is always something to die over.
            let load = try world.load(
                LoadPlan(events: 5_000_000, rate: 6_000, badFraction: 0.002, seed: random.next() % 1_000_000))
            // A name of its own spares each start the wait for the dead one's session; small batches make many places to die in.
            let settings = ["SLUICE_KAFKA_GROUP_INSTANCE_ID": "mortal", "SLUICE_APPLY_BATCH_RECORDS": "100"]
            var kills = 0
            var inDrain = 0
            while kills < 12 {
                let worker = try world.launch("mortal", settings)
                let before = try await world.applied()
                // Most die at work, some on the way to it.
                if random.unit() < 0.8 {
                    try await world.reached("the worker goes on") { try await world.applied() > before }
                }
                try await Task.sleep(for: .milliseconds(Int(random.unit() * 400)))
                await worker.kill()
                kills += 1
                if try await world.applied() > before { inDrain += 1 }
            }
            load.process.signal(SIGTERM)
            try await load.finished()
            let left = try await world.ends().values.reduce(0, +) - world.applied()
            print("kill-loop: \(kills) kills, \(inDrain) of them behind some progress; \(left) records left for the last worker")
            try #require(left > 0 && inDrain >= 5)
            _ = try await world.worker("mortal", settings)
            try await world.expectExact()
        }
    }
}
