// Proves that credits under way stay within the budget over assignments, and that pauses for lack of credits follow from them.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

private func configuration(lanes: Int = 2) -> PipelineConfiguration {
    var configuration = brisk(lanes: lanes)
    configuration.drainDeadline = 20_000_000
    configuration.circuit = PipelineConfiguration().circuit
    return configuration
}

@Suite(.timeLimit(.minutes(3))) struct MemoryTests {
    /// Partitions are lost and assigned again, repeatedly, while their lanes wait for the database.
    @Test(arguments: [true, false]) func assignmentsDoNotPileUp(isLost: Bool) async throws {
        let isFrozen = Shared(true)
        let pool = CreditPool(batchOverhead: 20, recordOverhead: 5)
        let world = World(seed: 20, partitions: 4, records: 1_500, configuration: configuration(), pool: pool) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            let most = Shared(Credits.zero)
            @Sendable func sample() -> Credits {
                let seen = world.pipeline.memory.outstanding
                most.withLock { $0 = Credits(records: max($0.records, seen.records), bytes: max($0.bytes, seen.bytes)) }
                return seen
            }
            for round in 1...5 {
                world.source.post(.assigned(partitions))
                #expect(
                    await eventually {
                        // Up to the low watermark of a partition stays unread.
                        sample().records > 400 - 25 && world.source.assigns == round
                    }, "round \(round): \(world.pipeline.memory)")
                world.source.post(.revoked(partitions, isLost: isLost))
                #expect(
                    await eventually {
                        _ = sample()
                        return world.source.unassigns == round
                    })
            }
            #expect(most.current.records <= 400, "another assignment read as much again")
            #expect(most.current.bytes <= 1 << 20)
            #expect(world.pipeline.snapshot().positions.isEmpty)
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.pipeline.memory.outstanding == .zero }, "\(world.pipeline.memory)")
            world.source.post(.assigned(partitions))
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.memory.outstanding == .zero })
            #expect(world.pipeline.memory.bytesInTransactions == 0)
        }
        #expect(world.isExact)
    }

    /// The credits of a stopped partition return, also those of batches that the reader hands over after it was stopped.
    @Test func aStoppedPartitionReturnsItsCredits() async throws {
        let bad = TopicPartition("t", 0)
        let world = World(seed: 21, partitions: 3, records: 600, configuration: configuration(lanes: 1), maximumBatch: 7) {
            work, _ in
            work.contains { $0.source == bad } ? .stopped([bad], reason: StopReason(.poison, "mostly poison")) : nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually { world.database.state.withLock { $0.offsets.filter { $0.value.next == 600 }.count == 2 } })
            #expect(await eventually { world.pipeline.memory.outstanding == .zero }, "\(world.pipeline.memory)")
            #expect(await eventually { world.pipeline.snapshot().freeCredits == world.pipeline.snapshot().totalCredits })
        }
        #expect(world.isExact)
    }

    /// Bytes for one batch and no more: every batch is larger than what is free, and passes alone.
    @Test func aRecordLargerThanEverythingPasses() async throws {
        var configuration = configuration()
        configuration.budget = Credits(records: 400, bytes: 24)
        configuration.batch = Credits(records: 120, bytes: 10)
        let lowest = Shared(0)
        let world = World(seed: 22, partitions: 3, records: 60, configuration: configuration, maximumBatch: 3)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually {
                    let memory = world.pipeline.memory
                    lowest.withLock { $0 = min($0, memory.total.bytes - memory.outstanding.bytes) }
                    return world.isComplete
                })
            #expect(await eventually { world.pipeline.memory.outstanding == .zero })
        }
        #expect(lowest.current >= 1 - 48, "one batch may exceed what is free, not two")
        #expect(world.isExact)
    }

    /// Of transactions that are larger than their share one is under way at a time; others are not held up.
    @Test(arguments: [(bytes: 10, most: 1), (bytes: 1 << 20, most: 2)]) func largeTransactionsComeOneAtATime(
        _ batch: (bytes: Int, most: Int)
    ) async throws {
        var configuration = configuration()
        configuration.batch = Credits(records: 120, bytes: batch.bytes)
        let running = Shared((now: 0, most: 0))
        let world = World(seed: 24, partitions: 4, records: 200, configuration: configuration, maximumBatch: 5) { _, _ in
            running.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
            defer { running.withLock { $0.now -= 1 } }
            try await Task.sleep(nanoseconds: 1_000_000)
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.isComplete })
        }
        #expect(running.current.most == batch.most)
        #expect(world.isExact)
    }

    /// The pipeline is full of an older assignment's work: new partitions are paused without a dwell of their own.
    @Test func aNewAssignmentInheritsTheStarvation() async throws {
        var configuration = configuration()
        configuration.pauseDwell = 600_000_000
        let isFrozen = Shared(true)
        let world = World(seed: 23, partitions: 4, records: 2_000, configuration: configuration) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            world.source.post(.assigned(partitions))
            #expect(await eventually { world.source.pauseCounts.pauses == 4 })
            var rounds = 0
            let waited = await shortest(below: .milliseconds(550)) {
                rounds += 1
                let round = rounds
                world.source.post(.revoked(partitions, isLost: true))
                #expect(await eventually { world.source.unassigns == round })
                #expect(world.pipeline.snapshot().paused.isEmpty)
                let start = ContinuousClock.now
                world.source.post(.assigned(partitions))
                #expect(await eventually { world.source.pauseCounts.pauses == 4 + 4 * round })
                return ContinuousClock.now - start
            }
            #expect(waited < .milliseconds(550), "it waited for a dwell of its own: \(waited)")
            #expect(world.pipeline.snapshot().paused.count == 4)
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().paused.isEmpty })
        }
        #expect(world.isExact)
    }

    /// Each transaction takes longer than the dwell: partitions are paused and resumed, less often than they could be.
    @Test func aSlowSinkPausesAndResumes() async throws {
        var configuration = configuration()
        configuration.pauseDwell = 10_000_000
        let world = World(seed: 24, partitions: 4, records: 1_200, configuration: configuration) { _, _ in
            try await Task.sleep(nanoseconds: 40_000_000)
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually(within: .seconds(60)) { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().paused.isEmpty })
        }
        let counts = world.source.pauseCounts
        #expect(counts.pauses > 0)
        #expect(counts.pauses == counts.resumes)
        let events = world.recorder.all
        let paused = events.count { if case .paused = $0 { true } else { false } }
        let flaps = events.count { if case .flapped = $0 { true } else { false } }
        #expect(paused == counts.pauses)
        #expect(flaps < paused)
        #expect(world.isExact)
    }

    /// The level is low at almost every sample, but credits return all the time: no partition is paused.
    @Test func fullSpeedPausesNoPartition() async throws {
        var configuration = configuration()
        configuration.pauseDwell = 300_000_000
        // Few samples, as with the default dwell: the level alone would seldom show what returned in between.
        configuration.tick = 50_000_000
        // No credits return while the machine stands still for longer than the dwell: another attempt, then.
        var pauses = -1
        for _ in 0..<3 where pauses != 0 {
            let world = World(seed: 25, partitions: 4, records: 40_000, configuration: configuration) { _, _ in
                try await Task.sleep(nanoseconds: 3_000_000)
                return nil
            }
            try await world.run { world in
                world.source.post(.assigned(Array(world.ends.keys)))
                #expect(await eventually(within: .seconds(60)) { world.isComplete })
            }
            pauses = world.source.pauseCounts.pauses
            #expect(world.isExact)
        }
        #expect(pauses == 0)
    }
}
