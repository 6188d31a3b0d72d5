// Proves that every record is applied exactly once and in order, under faults of the source and the database.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(3))) struct PipelineTests {
    @Test func appliesEverythingAndCommitsTheOffsets() async throws {
        let world = World(seed: 1, partitions: 4, records: 3_000, configuration: brisk())
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.source.committed == world.ends })
            let snapshot = world.pipeline.snapshot()
            #expect(snapshot.positions.count == 4)
            #expect(await eventually { world.pipeline.snapshot().positions.allSatisfy { $0.end == 3_000 } })
            #expect(await eventually { world.pipeline.snapshot().freeCredits == snapshot.totalCredits })
        }
        #expect(world.isExact)
        #expect(world.source.unassigns == 1)
        #expect(world.pipeline.snapshot().summary == "ended")
    }

    /// What the source found out under an older assignment says nothing about the present one.
    @Test func anOldFailureStopsNoPartition() async throws {
        let world = World(seed: 2, partitions: 3, records: 50, configuration: brisk())
        try await world.run { world in
            let partitions = Array(world.ends.keys).sorted()
            for round in 1...2 {
                world.source.post(.assigned(partitions))
                #expect(await eventually { world.source.assigns == round })
                if round == 1 { world.source.post(.revoked(partitions, isLost: true)) }
            }
            world.source.post(.partitionFailed(partitions[0], generation: 1, reason: "old"))
            world.source.post(.positionLost(partitions[1], generation: 1, reason: "old"))
            world.source.post(.partitionFailed(partitions[2], generation: 2, reason: "new"))
            #expect(await eventually { !world.pipeline.snapshot().stopped.isEmpty })
            #expect(world.pipeline.snapshot().stopped.map(\.source) == [partitions[2]])
            #expect(world.database.state.withLock { $0.requests }.filter { $0.source == partitions[1] }.count == 2)
        }
    }

    @Test func batchesThatArriveDuringATransactionMakeUpTheNext() async throws {
        let world = World(seed: 1, partitions: 1, records: 2_000, configuration: brisk(lanes: 1), maximumBatch: 10) { _, _ in
            try await Task.sleep(nanoseconds: 20_000_000)
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.database.state.withLock { $0.transactions } >= 8 })
        }
        let (largest, transactions) = world.database.state.withLock { ($0.largest, $0.transactions) }
        #expect(largest > 10, "batches of 10 were not merged in \(transactions) transactions")
        #expect(largest <= 120)
        #expect(world.isExact)
    }

    /// Retries, fences, oversize answers, outages, rebalances and lost assignments at random.
    @Test(arguments: 0..<12) func randomFaultsNeverLoseOrRepeatARecord(round: Int) async throws {
        let seed = testSeed("pipeline faults \(round)") &+ UInt64(round)
        let random = Mutex(SeededRandom(seed: seed))
        func chance(_ share: Double) -> Bool { random.withLock { $0.unit() } < share }
        let database = Shared<FakeDatabase?>(nil)
        let world = World(seed: seed, partitions: 5, records: 2_000, configuration: brisk()) { work, _ in
            switch random.withLock({ $0.unit() }) {
            case ..<0.10: return .retry(reason: "deadlock", isOutage: false)
            case ..<0.16: return .retry(reason: "connection lost", isOutage: true)
            case ..<0.22: return .tooLarge(reason: "statement timeout")
            case ..<0.26:
                // The commit succeeded and its answer was lost: resolved as applied.
                if let database = database.current { return database.write(work) }
                return nil
            default: return nil
            }
        }
        database.withLock { $0 = world.database }
        try await world.run { world in
            let partitions = Array(world.ends.keys)
            world.source.post(.assigned(partitions))
            for _ in 0..<12 {
                try await Task.sleep(nanoseconds: 10_000_000)
                let dice = random.withLock { $0.unit() }
                if dice < 0.3 {
                    world.database.steal(partitions[0])
                } else if dice < 0.6 {
                    let before = world.source.unassigns
                    world.source.post(.revoked(partitions, isLost: dice < 0.4))
                    #expect(await eventually { world.source.unassigns > before })
                    world.source.post(.assigned(partitions))
                } else if dice < 0.8 {
                    world.database.state.withLock { $0.isDown = true }
                    try await Task.sleep(nanoseconds: 30_000_000)
                    world.database.state.withLock { $0.isDown = false }
                }
            }
            #expect(await eventually(within: .seconds(60)) { world.isComplete }, "stuck: \(world.pipeline.snapshot())")
            #expect(
                await eventually { world.pipeline.memory.outstanding == .zero },
                "the credits of every batch return: \(world.pipeline.memory)")
        }
        #expect(world.isExact)
    }

    @Test func aDatabaseThatIsDownAtTheStartDelaysNoOtherMember() async throws {
        let world = World(seed: 3, partitions: 2, records: 100, configuration: brisk())
        world.database.state.withLock { $0.isDown = true }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            // The group gets its answer within the claim deadline; nothing of it is read.
            #expect(await eventually { world.source.assigns == 1 })
            #expect(world.database.state.withLock { $0.claims } == 0)
            world.database.state.withLock { $0.isDown = false }
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
    }

    @Test func aHeldPartitionStopsAloneAndReportsWhy() async throws {
        let world = World(seed: 4, partitions: 3, records: 200, configuration: brisk())
        let held = TopicPartition("t", 1)
        world.database.state.withLock { $0.held[held] = StopReason(.offset, "the offset is outside the log") }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually {
                    world.database.state.withLock { $0.offsets.filter { $0.value.next == 200 }.count == 2 }
                })
            #expect(
                world.pipeline.snapshot().stopped == [
                    .init(source: held, reason: StopReason(.offset, "the offset is outside the log"))
                ])
        }
        #expect(world.isExact)
    }

    /// A partition without a leader: the others are read, and go on undisturbed when it joins them.
    @Test func aPartitionThatIsClaimedLaterJoinsTheOthers() async throws {
        let late = TopicPartition("t", 1)
        let world = World(seed: 16, partitions: 3, records: 400, configuration: brisk())
        world.database.state.withLock { $0.later[late] = "the partition has no leader" }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually {
                    world.database.state.withLock { $0.offsets.filter { $0.value.next == 400 }.count == 2 }
                })
            #expect(
                await eventually {
                    world.pipeline.snapshot().unclaimed == [.init(source: late, reason: "the partition has no leader")]
                })
            #expect(world.pipeline.snapshot().summary == "running")
            world.database.state.withLock { $0.later[late] = nil }
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().unclaimed.isEmpty })
        }
        #expect(world.isExact)
        #expect(world.source.assigns == 1)
        #expect(
            world.database.state.withLock { $0.offsets.values.allSatisfy { $0.epoch == 1 } }, "an active partition was claimed")
    }

    @Test func aPartitionThatIsClaimedLaterIsStillPausedByItsOperator() async throws {
        let late = TopicPartition("t", 1)
        let world = World(seed: 17, partitions: 2, records: 100, configuration: brisk())
        world.database.state.withLock { $0.later[late] = "the partition has no leader" }
        try await world.run { world in
            world.pipeline.operatorDecided(OperatorPauses([OperatorPause(topic: "t", partition: 1, reason: "hot")]))
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.source.assigns == 1 })
            world.database.state.withLock { $0.later[late] = nil }
            #expect(await eventually { world.pipeline.snapshot().pausedByOperator == [late: "hot"] })
            #expect(await eventually { world.source.pauseCounts.pauses == 1 })
            #expect(world.database.state.withLock { $0.offsets[late]?.next } == 0)
            world.pipeline.operatorDecided(.none)
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
        #expect(world.source.wrongPauses == 0)
    }

    /// The table is created after the start, and later it is dropped and created again: all records arrive without a rebalance.
    @Test func whatStoppedIsReadOnceItIsMended() async throws {
        let late = TopicPartition("t", 1)
        let isBroken = Shared(true)
        var configuration = brisk(lanes: 1)
        configuration.recheckInterval = 50_000_000
        let world = World(seed: 14, partitions: 3, records: 500, configuration: configuration) { work, _ in
            isBroken.current ? .stopped(work.map(\.source), reason: StopReason(.schema, "the table is gone")) : nil
        }
        world.database.state.withLock { $0.held[late] = StopReason(.schema, "the table does not exist") }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().stopped.count == 3 })
            isBroken.withLock { $0 = false }
            #expect(
                await eventually {
                    world.database.state.withLock { $0.offsets.filter { $0.value.next == 500 }.count == 2 }
                })
            world.database.state.withLock { $0.held[late] = nil }
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().stopped.isEmpty })
        }
        #expect(world.isExact)
    }

    /// The parents lie in another partition of the same lane.
    @Test func aPartitionThatWaitsDoesNotHoldUpItsLane() async throws {
        let (children, parents) = (TopicPartition("t", 0), TopicPartition("t", 1))
        let hasParents = Shared(false)
        let world = World(seed: 15, partitions: 2, records: 500, configuration: brisk(lanes: 1)) { work, _ in
            guard !hasParents.current, work.contains(where: { $0.source == children }) else { return nil }
            return .appliedInPart(
                AppliedCounts(),
                waiting: [WaitingPartition(source: children, retryIn: 3_000_000, reason: "a parent row is missing")])
        }
        try await world.run { world in
            world.source.post(.assigned([children, parents]))
            #expect(await eventually { world.database.state.withLock { $0.offsets[parents]?.next } == 500 })
            #expect(world.database.state.withLock { $0.offsets[children]?.next } == 0)
            hasParents.withLock { $0 = true }
            #expect(await eventually { world.isComplete })
            let waited = world.recorder.all.compactMap { if case .waits(let waiting) = $0 { waiting.source } else { nil } }
            #expect(Set(waited) == [children])
        }
        #expect(world.isExact)
    }

    /// The decoder lacks something for the second half of one partition, as a schema that must be fetched first.
    @Test func aPartitionWaitsForItsDecoderWhileOthersGoOn() async throws {
        let (parked, other) = (TopicPartition("t", 0), TopicPartition("t", 1))
        let asked = Shared(0)
        let hasSchema = Shared(false)
        let world = World(
            seed: 16, partitions: 2, records: 500, configuration: brisk(lanes: 1),
            executors: Executors(lacks: { batch in
                guard batch.source == parked, batch.nextOffset > 250, !hasSchema.current else { return nil }
                asked.withLock { $0 += 1 }
                return "schema 7 is on its way"
            }))
        try await world.run { world in
            world.source.post(.assigned([parked, other]))
            #expect(await eventually { world.database.state.withLock { $0.offsets[other]?.next } == 500 })
            #expect(await eventually { asked.current >= 3 }, "it is asked again by itself")
            let applied = world.database.state.withLock { $0.offsets[parked]?.next }
            #expect(applied.map { $0 <= 250 } == true)
            #expect(world.pipeline.snapshot().stopped.isEmpty)
            // Nothing of it is held meanwhile.
            #expect(
                await eventually {
                    let snapshot = world.pipeline.snapshot()
                    return snapshot.freeCredits == snapshot.totalCredits
                })
            hasSchema.withLock { $0 = true }
            #expect(await eventually { world.isComplete })
            let waits = world.recorder.all.compactMap { if case .waits(let waiting) = $0 { waiting } else { nil } }
            #expect(waits.allSatisfy { $0.source == parked && $0.cause == .decoder && $0.reason == "schema 7 is on its way" })
            // The back-off grows.
            let (first, longest) = (try #require(waits.first?.retryIn), try #require(waits.map(\.retryIn).max()))
            #expect(longest > first)
        }
        #expect(world.isExact)
    }

    /// The end of the process does not wait for what a decoder lacks.
    @Test func aParkedPartitionDoesNotDelayTheEnd() async throws {
        let world = World(
            seed: 17, partitions: 2, records: 100, configuration: brisk(),
            executors: Executors(lacks: { _ in "no registry answers" }))
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.recorder.all.contains { if case .waits = $0 { true } else { false } } })
        }
        #expect(world.database.state.withLock { $0.transactions } == 0)
    }

    @Test func aStoppedPartitionDoesNotDelayTheOthers() async throws {
        let bad = TopicPartition("t", 0)
        let world = World(seed: 5, partitions: 3, records: 500, configuration: brisk(lanes: 1)) { work, _ in
            work.contains { $0.source == bad } ? .stopped([bad], reason: StopReason(.poison, "mostly poison")) : nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually {
                    world.database.state.withLock { $0.offsets.filter { $0.value.next == 500 }.count == 2 }
                })
            #expect(world.pipeline.snapshot().stopped.map(\.source) == [bad])
        }
        #expect(world.database.state.withLock { $0.offsets[bad]?.next } == 0)
        #expect(world.isExact)
    }

    @Test func aFrozenDatabasePausesPartitionsAndItsEndResumesThem() async throws {
        var configuration = brisk()
        configuration.pauseDwell = 20_000_000
        let isFrozen = Shared(true)
        let world = World(seed: 6, partitions: 2, records: 2_000, configuration: configuration) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.source.pauseCounts.pauses == 2 })
            #expect(world.pipeline.snapshot().paused.count == 2)
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().paused.isEmpty })
            let counts = world.source.pauseCounts
            #expect(counts.pauses == counts.resumes)
        }
        #expect(world.isExact)
    }

    @Test func shutdownDoesNotWaitForAFrozenDatabase() async throws {
        let world = World(seed: 7, partitions: 2, records: 2_000, configuration: brisk()) { _, _ in
            try await Task.sleep(nanoseconds: 60_000_000_000)
            return nil
        }
        let clock = ContinuousClock()
        let started = Shared(clock.now)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually {
                    world.pipeline.snapshot().positions.contains { $0.outstanding.records > 0 }
                })
            started.withLock { $0 = clock.now }
        }
        #expect(clock.now - started.current < .seconds(10))
        let isIncomplete = world.recorder.all.contains {
            if case .drained(isComplete: false, _) = $0 { true } else { false }
        }
        #expect(isIncomplete)
        #expect(world.isExact)
    }

    @Test func aRevokePassesRecordsThatWaitForTheDatabase() async throws {
        // Records so large that one batch puts every account into debt: more is under way than the channels hold.
        var configuration = brisk(lanes: 1)
        configuration.budget = Credits(records: 4_000, bytes: 64)
        configuration.drainDeadline = 50_000_000
        let world = World(seed: 9, partitions: 8, records: 1_000, configuration: configuration) { _, _ in
            try await Task.sleep(nanoseconds: 60_000_000_000)
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(
                await eventually { world.pipeline.snapshot().positions.contains { $0.outstanding.bytes > 64 } })
            world.source.post(.revoked(Array(world.ends.keys), isLost: false))
            #expect(await eventually { world.source.unassigns == 1 }, "the group waits for a channel that is full")
        }
        #expect(world.isExact)
    }

    @Test func aStopOfAnOlderAssignmentDoesNotStopTheNewOne() async throws {
        let source = TopicPartition("t", 0)
        let isReleased = Shared(false)
        let calls = Shared(0)
        let world = World(seed: 10, partitions: 1, records: 500, configuration: brisk(lanes: 1)) { work, _ in
            let isFirst = calls.withLock { calls in
                calls += 1
                return calls == 1
            }
            guard isFirst else { return nil }
            while !isReleased.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return .stopped([source], reason: StopReason(.schema, "what was wrong before the rebalance"))
        }
        try await world.run { world in
            world.source.post(.assigned([source]))
            #expect(await eventually { calls.current == 1 })
            world.source.post(.revoked([source], isLost: true))
            world.source.post(.assigned([source]))
            #expect(
                await eventually {
                    world.recorder.all.count { event in if case .claimed = event { true } else { false } } == 2
                })
            isReleased.withLock { $0 = true }
            #expect(await eventually { world.isComplete })
            #expect(world.pipeline.snapshot().stopped == [])
        }
        #expect(world.isExact)
    }

    @Test func aLostPositionIsClaimedAfterWhatWasReadBeforeIt() async throws {
        let source = TopicPartition("t", 0)
        let isFrozen = Shared(true)
        let world = World(seed: 11, partitions: 1, records: 40, configuration: brisk(lanes: 1)) { _, _ in
            isFrozen.current ? .retry(reason: "frozen", isOutage: false) : nil
        }
        try await world.run { world in
            world.source.post(.assigned([source]))
            #expect(await eventually { world.pipeline.snapshot().positions.first?.outstanding.records == 40 })
            world.source.post(.positionLost(source, reason: "retention has passed it"))
            #expect(
                await eventually {
                    world.recorder.all.contains { event in if case .positionLost = event { true } else { false } }
                })
            // A claim that does not wait is made within the back-off, 4 ms; one that waits is not made at all.
            let patience = ContinuousClock().now + .milliseconds(300)
            // Nor is more read meanwhile: the log may be another one by now.
            _ = world.source.append(10, to: source)
            while ContinuousClock().now < patience, world.database.state.withLock({ $0.claims }) < 2 {
                try await Task.sleep(nanoseconds: 1_000_000)
            }
            #expect(world.source.positions[source] == 40)
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.database.state.withLock { $0.claims } == 2 })
            // The claim is counted when it is made, and observed after its answer.
            let begins: @Sendable () -> [Int64] = {
                world.recorder.all.compactMap { event in
                    if case .claimed(let claims) = event { claims.first?.offset } else { nil }
                }
            }
            #expect(await eventually { begins().count == 2 })
            #expect(world.database.state.withLock { $0.requests.map(\.checksBounds) } == [false, true])
            #expect(begins() == [0, 40], "what was read may be gone from the log: it must be applied before the claim")
        }
        #expect(world.isExact)
    }

    /// What the database does not answer must not keep the group waiting for a member that takes no events any more.
    @Test func aPipelineThatFailsLeavesItsGroupWhileALaneWaits() async throws {
        struct Fenced: Error {}
        let isFrozen = Shared(true)
        let world = World(seed: 11, partitions: 1, records: 10, configuration: brisk()) { _, _ in
            // Like a call of libpq, it does not end by cancellation.
            await Task.detached { _ = await eventually { !isFrozen.current } }.value
            return nil
        }
        await #expect(throws: Fenced.self) {
            try await world.run { world in
                world.source.post(.assigned(Array(world.ends.keys)))
                #expect(await eventually { world.pipeline.snapshot().positions.contains { $0.outstanding.records > 0 } })
                #expect(!world.source.hasLeft)
                world.source.post(.failed(Fenced()))
                #expect(await eventually { world.source.hasLeft })
                isFrozen.withLock { $0 = false }
                try await Task.sleep(nanoseconds: 60_000_000_000)
            }
        }
    }

    /// Partitions were added to the topic: with them the source would exceed its memory, so none is claimed, and a larger one is needed.
    @Test func morePartitionsThanTheSourceWasMadeForEndThePipeline() async throws {
        let world = World(seed: 9, partitions: 3, records: 100, configuration: brisk())
        world.source.fits(2)
        await #expect(throws: TooManyPartitions(assigned: 3, limit: 2)) {
            try await world.run { world in
                let two = Array(world.ends.keys.sorted().prefix(2))
                world.source.post(.assigned(two))
                #expect(await eventually { two.allSatisfy { source in world.source.committed[source] == 100 } })
                world.source.post(.revoked(two, isLost: false))
                world.source.post(.assigned(Array(world.ends.keys)))
                try await Task.sleep(nanoseconds: 60_000_000_000)
            }
        }
        #expect(world.database.state.withLock { $0.requests.count } == 2, "a partition of the larger assignment was claimed")
        // The group is answered: the revocation, and the assignment.
        #expect(world.source.unassigns == 2)
        #expect(world.source.positions.isEmpty)
        #expect(world.isExact)
    }

    /// A topic that is deleted, or a log that is shorter than what was applied: librdkafka says nothing, and would go on in a new log.
    @Test(arguments: [true, false]) func aLogThatIsGoneIsClaimedAgain(isMissing: Bool) async throws {
        let (source, other) = (TopicPartition("t", 0), TopicPartition("t", 1))
        let world = World(seed: 12, partitions: 2, records: 40, configuration: brisk(lanes: 1))
        let requests: @Sendable () -> [ClaimRequest] = { world.database.state.withLock { $0.requests } }
        try await world.run { world in
            world.source.post(.assigned([source, other]))
            #expect(await eventually { world.isComplete })
            #expect(await eventually { world.pipeline.snapshot().positions.allSatisfy { $0.end == 40 } })
            #expect(requests().count == 2)
            if isMissing { world.source.miss([source]) } else { world.source.grow(source, to: 39) }
            #expect(await eventually { requests().contains(ClaimRequest(source: source, checksBounds: true)) })
            #expect(!requests().dropFirst(2).contains { $0.source == other })
            let reasons = world.recorder.all.compactMap { event in
                if case .positionLost(source, let reason) = event { reason } else { nil }
            }
            #expect(reasons.first?.contains(isMissing ? "does not exist" : "ends at 39, before the applied offset 40") == true)
        }
    }

    @Test func aDeadSourceEndsThePipelineWithItsError() async throws {
        struct Fenced: Error {}
        let world = World(seed: 8, partitions: 1, records: 10, configuration: brisk())
        await #expect(throws: Fenced.self) {
            try await world.run { world in
                world.source.post(.failed(Fenced()))
                try await Task.sleep(nanoseconds: 60_000_000_000)
            }
        }
    }
}
