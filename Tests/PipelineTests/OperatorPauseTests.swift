// Proves that what an operator pauses is not read, and everything else is, through other pauses, fences, rebalances and the end.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

private func brisk(pauseDwell: UInt64) -> PipelineConfiguration {
    var configuration = brisk()
    configuration.pauseDwell = pauseDwell
    return configuration
}

private let second = TopicPartition("t", 1)
private let pauseOfSecond = OperatorPauses([OperatorPause(topic: "t", partition: 1, reason: "bad rows")])

extension World {
    fileprivate func next(_ source: TopicPartition) -> Int64 { database.state.withLock { $0.offsets[source]?.next ?? 0 } }

    /// Every partition but the second is applied to its end.
    fileprivate var areOthersComplete: Bool { ends.allSatisfy { $0.key == second || next($0.key) == $0.value } }

    /// Nothing of a partition is under way, and a while later its offset has not moved.
    fileprivate func isStill(_ source: TopicPartition) async throws -> Bool {
        let isIdle = await eventually {
            pipeline.snapshot().positions.first { $0.source == source }?.outstanding.records == 0
        }
        let before = next(source)
        try await Task.sleep(for: .milliseconds(60))
        return isIdle && next(source) == before
    }

    fileprivate func hold(_ pauses: OperatorPauses = pauseOfSecond) async throws {
        pipeline.operatorDecided(pauses)
        let expected = ends.keys.filter { pauses.reason(for: $0) != nil }
        #expect(await eventually { expected.allSatisfy { pipeline.snapshot().pausedByOperator[$0] != nil } })
    }
}

@Suite(.timeLimit(.minutes(3))) struct OperatorPauseTests {
    /// A world whose second partition cannot get past record 500 while `isHeld`, and reports that it waits.
    private func world(_ seed: UInt64, _ isHeld: Shared<Bool>, _ isWaiting: Shared<Bool>, pauseDwell: UInt64 = 20_000_000)
        -> World
    {
        World(seed: seed, partitions: 3, records: 2_000, configuration: brisk(pauseDwell: pauseDwell)) { work, _ in
            let isSecond = work.contains { $0.source == second && $0.next >= 500 }
            if isSecond { isWaiting.withLock { $0 = true } }
            while isSecond, isHeld.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
    }

    @Test func aPausedPartitionIsNotReadAndTheOthersAre() async throws {
        let (isHeld, isWaiting) = (Shared(true), Shared(false))
        // No pauses for lack of credits.
        let world = world(1, isHeld, isWaiting, pauseDwell: 60_000_000_000)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { isWaiting.current })
            try await world.hold()
            let snapshot = world.pipeline.snapshot()
            #expect(snapshot.pausedByOperator == [second: "bad rows"])
            #expect(snapshot.paused.contains(second))
            isHeld.withLock { $0 = false }
            #expect(await eventually { world.areOthersComplete })
            #expect(try await world.isStill(second))
            #expect(world.next(second) < 2_000)
            #expect(world.source.pauseCounts.pauses == 1)

            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
            #expect(world.pipeline.snapshot().pausedByOperator == [:])
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
        let isCreditPauseCounted = world.recorder.all.contains { if case .paused = $0 { true } else { false } }
        #expect(!isCreditPauseCounted, "an operator's pause is not one for lack of credits")
    }

    @Test func whatIsPausedBeforeTheClaimIsNotRead() async throws {
        let world = World(seed: 2, partitions: 3, records: 500, configuration: brisk(pauseDwell: 20_000_000))
        try await world.run { world in
            world.pipeline.operatorDecided(OperatorPauses([OperatorPause(reason: "maintenance")]))
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.source.pauseCounts.pauses == 3 })
            for source in world.ends.keys { #expect(try await world.isStill(source)) }
            #expect(world.database.state.withLock { $0.applied.isEmpty }, "a paused partition has been read")

            try await world.hold()
            #expect(await eventually { world.areOthersComplete })
            #expect(world.next(second) == 0)
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
    }

    @Test func aPauseHoldsOverARebalance() async throws {
        let (isHeld, isWaiting) = (Shared(true), Shared(false))
        let world = world(3, isHeld, isWaiting)
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            world.source.post(.assigned(partitions))
            #expect(await eventually { isWaiting.current })
            try await world.hold()
            isHeld.withLock { $0 = false }
            for isLost in [false, true] {
                let before = world.source.unassigns
                world.source.post(.revoked(partitions, isLost: isLost))
                #expect(await eventually { world.source.unassigns > before })
                #expect(world.pipeline.snapshot().pausedByOperator == [:], "it is not ours now")
                world.source.post(.assigned(partitions))
                #expect(await eventually { world.pipeline.snapshot().pausedByOperator[second] != nil })
                #expect(try await world.isStill(second))
            }
            #expect(await eventually { world.areOthersComplete })
            #expect(world.next(second) < 2_000)
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
    }

    @Test func pausesForCreditsAndByOperatorsDoNotUndoEachOther() async throws {
        let isFrozen = Shared(true)
        let world = World(seed: 4, partitions: 3, records: 2_000, configuration: brisk(pauseDwell: 20_000_000)) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.source.pauseCounts.pauses == 3 })
            try await world.hold()
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.areOthersComplete })
            #expect(await eventually { world.pipeline.snapshot().paused == [second] })
            #expect(try await world.isStill(second))
            #expect(world.next(second) < 2_000)
            #expect(world.source.pauseCounts.resumes >= 2)
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().paused.isEmpty })
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
        #expect(world.source.pauseCounts.pauses == world.source.pauseCounts.resumes)
    }

    @Test func aPartitionThatIsClaimedAgainStaysPaused() async throws {
        let (isHeld, isWaiting) = (Shared(true), Shared(false))
        let world = world(5, isHeld, isWaiting)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { isWaiting.current })
            try await world.hold()
            world.database.steal(second)
            isHeld.withLock { $0 = false }
            #expect(
                await eventually {
                    world.recorder.all.contains { event in
                        if case .claimed(let claims) = event { claims.map(\.source) == [second] } else { false }
                    }
                }, "what was under way is refused, and the partition claimed again")
            #expect(try await world.isStill(second))
            #expect(world.next(second) < 2_000)
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
    }

    @Test func theEndDoesNotWaitForPausedPartitions() async throws {
        let world = World(seed: 6, partitions: 3, records: 500, configuration: brisk(pauseDwell: 20_000_000))
        try await world.run { world in
            world.pipeline.operatorDecided(pauseOfSecond)
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.areOthersComplete })
        }
        let isComplete = world.recorder.all.contains { if case .drained(isComplete: true, _) = $0 { true } else { false } }
        #expect(isComplete)
        #expect(world.next(second) == 0)
        #expect(world.isExact)
    }

    @Test func theStallCheckNamesTheOperator() async throws {
        var configuration = brisk(pauseDwell: 20_000_000)
        configuration.stallTimeout = 50_000_000
        let world = World(seed: 7, partitions: 2, records: 500, configuration: configuration)
        try await world.run { world in
            world.pipeline.operatorDecided(OperatorPauses([OperatorPause(reason: "maintenance")]))
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().stall?.reason == .pausedByOperator })
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().stall == nil })
        }
        #expect(world.isExact)
    }

    /// Pauses and resumes at random, during fences, rebalances, outages and pauses for lack of credits.
    @Test(arguments: 0..<6) func randomPausesNeverLoseOrRepeatARecord(round: Int) async throws {
        let seed = testSeed("operator pauses \(round)") &+ UInt64(round)
        let random = Mutex(SeededRandom(seed: seed))
        let world = World(seed: seed, partitions: 4, records: 2_000, configuration: brisk(pauseDwell: 20_000_000)) { _, _ in
            switch random.withLock({ $0.unit() }) {
            case ..<0.1: return .retry(reason: "deadlock", isOutage: false)
            case ..<0.2: try await Task.sleep(for: .milliseconds(30))
            default: break
            }
            return nil
        }
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            world.source.post(.assigned(partitions))
            for _ in 0..<20 {
                try await Task.sleep(nanoseconds: 8_000_000)
                let dice = random.withLock { $0.unit() }
                if dice < 0.6 {
                    let pauses = partitions.filter { _ in random.withLock { $0.unit() } < 0.5 }
                        .map { OperatorPause(topic: $0.topic, partition: $0.partition, reason: "random") }
                    world.pipeline.operatorDecided(OperatorPauses(pauses))
                } else if dice < 0.75 {
                    world.database.steal(partitions[0])
                } else if dice < 0.9 {
                    let before = world.source.unassigns
                    world.source.post(.revoked(partitions, isLost: dice < 0.82))
                    #expect(await eventually { world.source.unassigns > before })
                    world.source.post(.assigned(partitions))
                }
            }
            world.pipeline.operatorDecided(.none)
            #expect(await eventually(within: .seconds(60)) { world.isComplete }, "stuck: \(world.pipeline.snapshot())")
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
    }
}
