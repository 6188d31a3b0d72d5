// Proves that a pipeline takes another configuration while it runs: nothing is lost, repeated, refilled or not woken.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(3))) struct ReconfigureTests {
    @Test func creditsUnderWayStayCounted() async throws {
        let isFrozen = Shared(true)
        let world = World(seed: 1, partitions: 4, records: 2_000, configuration: brisk()) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().positions.count { $0.outstanding.records == 100 } == 4 })
            var smaller = brisk()
            smaller.budget.records = 200
            world.pipeline.reconfigure(smaller)
            #expect(await eventually { world.pipeline.snapshot().totalCredits.records == 200 })
            #expect(world.pipeline.snapshot().freeCredits.records == -200, "what is under way is a debt now")
            var larger = brisk()
            larger.partitionRecords = 150
            larger.budget.records = 600
            world.pipeline.reconfigure(larger)
            // The readers sleep: they are woken for the new credits, and use them.
            #expect(await eventually { world.pipeline.snapshot().totalCredits.records == 600 })
            #expect(await eventually { world.pipeline.snapshot().freeCredits.records == 0 })
            // What was read last may still be on its way to the ledger.
            #expect(await eventually { world.pipeline.snapshot().positions.allSatisfy { $0.outstanding.records == 150 } })
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().freeCredits.records == 600 })
        }
        #expect(world.isExact)
    }

    @Test func theBudgetIsReducedByTheSourcesOverrun() async throws {
        let isFrozen = Shared(true)
        @Sendable func configuration(_ records: Int) -> PipelineConfiguration {
            var configuration = brisk()
            configuration.budget.bytes = 16 * records
            return configuration
        }
        let world = World(seed: 5, partitions: 4, records: 2_000, configuration: configuration(400)) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        @Sendable func becomes(_ bytes: Int) async -> Bool { await eventually { world.pipeline.memory.total.bytes == bytes } }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            // Before the assignment there are no free credits either.
            #expect(await eventually { world.pipeline.snapshot().positions.count { $0.outstanding.records == 100 } == 4 })
            world.source.overruns(by: 16 * 100)
            #expect(await becomes(16 * 300))
            #expect(world.pipeline.snapshot().totalCredits.bytes == 16 * 300, "the partitions' accounts give way, too")
            #expect(world.pipeline.snapshot().freeCredits.bytes == -16 * 100, "what is under way is a debt now")
            // A reload must not undo the reduction.
            world.pipeline.reconfigure(configuration(360))
            #expect(await becomes(16 * 260))
            world.source.overruns(by: 1 << 30)
            #expect(await becomes(16 * 90), "a quarter stays, or nothing would move any more")
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.isComplete })
            world.source.overruns(by: 0)
            #expect(await becomes(16 * 360))
        }
        #expect(world.isExact)
    }

    @Test func aSmallerBatchAppliesToTheNextTransaction() async throws {
        let world = World(seed: 2, partitions: 2, records: 4_000, configuration: brisk(), maximumBatch: 10) { _, _ in
            try await Task.sleep(nanoseconds: 2_000_000)
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.database.state.withLock { $0.largest } > 20 })
            var smaller = brisk()
            smaller.batch.records = 20
            world.pipeline.reconfigure(smaller)
            // One transaction may be under way in each lane.
            let begun = world.database.state.withLock { $0.transactions }
            #expect(await eventually { world.database.state.withLock { $0.transactions } > begun + 4 })
            world.database.state.withLock { $0.largest = 0 }
            #expect(await eventually { world.isComplete })
            #expect(world.database.state.withLock { $0.largest } <= 20)
        }
        #expect(world.isExact)
    }

    @Test func aShorterIntervalTakesEffectAtOnce() async throws {
        var slow = brisk()
        slow.offsetCommitInterval = 3_600_000_000_000
        let world = World(seed: 3, partitions: 1, records: 100, configuration: slow)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.isComplete })
            #expect(world.source.committed.isEmpty)
            world.pipeline.reconfigure(brisk())
            #expect(await eventually { world.source.committed == world.ends })
        }
    }

    @Test func aLimitIsChangedWhileARefusedReaderWaits() async throws {
        let world = World(
            seed: 4, partitions: 2, records: 3_000, configuration: brisk(), limits: ConsumeLimits(all: .init(events: 1)))
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().positions.count == 2 })
            try await Task.sleep(for: .milliseconds(200))
            #expect(world.pipeline.snapshot().positions.map { Int($0.applied) }.reduce(0, +) <= 2)
            #expect(world.source.pauseCounts.pauses == 0)
            world.limiter.update(ConsumeLimits(), batch: brisk().batch)
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
    }

    @Test(arguments: 0..<6) func randomChangesDuringFaultsAndRebalances(round: Int) async throws {
        let seed = testSeed("pipeline changes \(round)") &+ UInt64(round)
        let random = Mutex(SeededRandom(seed: seed))
        let world = World(seed: seed, partitions: 5, records: 3_000, configuration: brisk()) { _, _ in
            switch random.withLock({ $0.unit() }) {
            case ..<0.05: return .retry(reason: "deadlock", isOutage: true)
            case ..<0.10: return .tooLarge(reason: "statement timeout")
            default: return nil
            }
        }
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            world.source.post(.assigned(partitions))
            for _ in 0..<25 {
                try await Task.sleep(nanoseconds: 4_000_000)
                var changed = brisk()
                random.withLock { random in
                    changed.budget.records = Int.random(in: 10...2_000, using: &random)
                    changed.partitionRecords = Int.random(in: 1...500, using: &random)
                    changed.batch.records = Int.random(in: 1...300, using: &random)
                    changed.lowWatermark = Double.random(in: 0.01...0.9, using: &random)
                    changed.highWatermark = 0.95
                    changed.pauseDwell = UInt64.random(in: 1_000_000...30_000_000, using: &random)
                    changed.circuitThreshold = Int.random(in: 1...10, using: &random)
                }
                world.pipeline.reconfigure(changed)
                let events = random.withLock { Int.random(in: 0...20_000, using: &$0) }
                world.limiter.update(ConsumeLimits(all: .init(events: events)), batch: changed.batch)
                if random.withLock({ $0.unit() }) < 0.2 {
                    let before = world.source.unassigns
                    world.source.post(.revoked(partitions, isLost: random.withLock { $0.unit() } < 0.5))
                    #expect(await eventually { world.source.unassigns > before })
                    world.source.post(.assigned(partitions))
                }
            }
            world.limiter.update(ConsumeLimits(), batch: brisk().batch)
            world.pipeline.reconfigure(brisk())
            #expect(await eventually(within: .seconds(60)) { world.isComplete }, "stuck: \(world.pipeline.snapshot())")
            #expect(
                await eventually {
                    let snapshot = world.pipeline.snapshot()
                    return snapshot.freeCredits == snapshot.totalCredits && snapshot.totalCredits.records == 400
                })
        }
        #expect(world.isExact)
    }
}
