// Proves on a running pipeline that lag stays right while nothing moves, and that a stall is found and named without a scrape.

import Backpressure
import Records
import Synchronization
import TestSupport
import Testing

@testable import Pipeline

/// One lane; a stall after 100 ms. Where the machine stands still for as long, there is one of another reason before that of the test.
private func watchful() -> PipelineConfiguration {
    var configuration = brisk(lanes: 1)
    configuration.stallTimeout = 100_000_000
    return configuration
}

extension World {
    fileprivate var stalls: [StallReason] {
        recorder.all.compactMap { if case .stalled(let reason, _) = $0 { reason } else { nil } }
    }
    /// For each end of a stall: the reason it names, and the reason that was reported last before it.
    fileprivate var endsOfStalls: [(ended: StallReason, lastReported: StallReason?)] {
        var last: StallReason?
        return recorder.all.compactMap { event in
            if case .stalled(let reason, _) = event { last = reason }
            guard case .stallEnded(let reason, _) = event else { return nil }
            return (reason, last)
        }
    }
    fileprivate var stall: StallReason? { pipeline.snapshot().stall?.reason }
    fileprivate func lag(_ partition: Int32) -> Double? {
        pipeline.snapshot().lags.first { $0.source.partition == partition }?.seconds
    }
}

@Suite(.timeLimit(.minutes(2))) struct WatchTests {
    @Test func aPartitionThatCannotBeClaimedIsAStall() async throws {
        let source = TopicPartition("t", 0)
        let world = World(seed: 28, partitions: 2, records: 100, configuration: watchful())
        world.database.state.withLock { $0.later[source] = "the partition has no leader" }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.stalls.last == .claiming })
            world.database.state.withLock { $0.later[source] = nil }
            #expect(await eventually { world.isComplete && world.stall == nil })
        }
        #expect(world.isExact)
    }

    /// A producer has died in a transaction: what it has written cannot be read, and is lag all the same.
    @Test func anOpenTransactionIsLagAndAStallOfItsOwn() async throws {
        let source = TopicPartition("t", 0)
        let world = World(seed: 27, partitions: 2, records: 200, configuration: watchful())
        world.source.openTransaction(source, at: 50)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.stalls.last == .openTransaction })
            #expect(await eventually { world.pipeline.snapshot().positions.map(\.backlog) == [150, 0] })
            #expect(world.lag(0).map { $0 > 0 } == true)
            #expect(world.lag(1) == 0)
            world.source.openTransaction(source, at: nil)
            #expect(await eventually { world.isComplete && world.stall == nil })
            #expect(await eventually { world.lag(0) == 0 })
        }
        #expect(world.isExact)
    }

    @Test func aFrozenDatabaseIsNamedAndItsEndToo() async throws {
        let isFrozen = Shared(true)
        let world = World(seed: 21, partitions: 2, records: 2_000, configuration: watchful()) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            // No snapshot was taken before it was reported.
            #expect(await eventually { world.stalls.last == .waitingForDatabase })
            let snapshot = world.pipeline.snapshot()
            #expect(snapshot.stall?.reason == .waitingForDatabase)
            #expect(snapshot.stall.map { $0.seconds >= 0.1 } == true)
            // The stall began with the backlog, which the lanes took a moment later.
            #expect(await eventually { world.pipeline.snapshot().laneBusySeconds.compactMap { $0 }.contains { $0 >= 0.1 } })
            #expect(snapshot.rates.secondsToDrain == .infinity)
            isFrozen.withLock { $0 = false }
            #expect(await eventually { world.pipeline.snapshot().rates.drain > 0 })
            #expect(await eventually { world.isComplete && world.stall == nil })
            // On a machine that pauses for a tenth of a second the stall may go on for another reason: its end names the last one.
            #expect(await eventually { world.endsOfStalls.first.map { $0.ended == $0.lastReported } == true })
            #expect(await eventually { world.lag(0) == 0 && world.lag(1) == 0 })
            #expect(await eventually { world.pipeline.snapshot().rates.secondsToDrain == 0 })
        }
        #expect(world.isExact)
    }

    @Test func anOpenCircuitIsNamed() async throws {
        let world = World(seed: 22, partitions: 2, records: 500, configuration: watchful())
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().positions.count == 2 })
            world.database.state.withLock { $0.isDown = true }
            for partition in world.ends.keys { world.source.grow(partition, to: 5_000) }
            #expect(await eventually { world.stall == .circuitOpen })
            world.database.state.withLock { $0.isDown = false }
            #expect(await eventually { world.stall == nil })
        }
        #expect(world.isExact)
    }

    @Test func aClaimThatDoesNotComeIsNamed() async throws {
        let world = World(seed: 23, partitions: 2, records: 50, configuration: watchful())
        world.database.state.withLock { $0.isDown = true }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.stall == .claiming })
            world.database.state.withLock { $0.isDown = false }
            #expect(await eventually { world.isComplete && world.stall == nil })
            #expect(world.stalls.first == .claiming)
        }
    }

    @Test func aStoppedPartitionIsNamedWhileTheOthersContinue() async throws {
        let bad = TopicPartition("t", 0)
        let world = World(seed: 24, partitions: 2, records: 500, configuration: watchful()) { work, _ in
            work.contains { $0.source == bad } ? .stopped([bad], reason: StopReason(.poison, "mostly poison")) : nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.stall == .partitionStopped })
            // Its lag is known, and stays right while it is not read.
            let before = try #require(world.lag(0))
            world.source.grow(bad, to: 900)
            #expect(
                await eventually {
                    world.pipeline.snapshot().positions.first { $0.source == bad }?.backlog == 900
                })
            #expect(await eventually { world.lag(0).map { $0 > before } == true })
            #expect(await eventually { world.lag(1) == 0 })
        }
    }

    @Test func partitionsThatAreNotReadHaveTheRightLag() async throws {
        var configuration = watchful()
        configuration.pauseDwell = 10_000_000
        let isFrozen = Shared(true)
        let world = World(seed: 25, partitions: 2, records: 1_000, configuration: configuration) { _, _ in
            while isFrozen.current { try await Task.sleep(nanoseconds: 1_000_000) }
            return nil
        }
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().paused.count == 2 })
            for partition in world.ends.keys { world.source.grow(partition, to: 3_000) }
            #expect(await eventually { world.pipeline.snapshot().positions.allSatisfy { $0.backlog == 3_000 } })
            let (first, second) = (try #require(world.lag(0)), try #require(world.lag(1)))
            #expect(await eventually { (world.lag(0) ?? 0) > first && (world.lag(1) ?? 0) > second })
            isFrozen.withLock { $0 = false }
            // The applied offset passes ends that were read before it: never a negative lag.
            while world.database.state.withLock({ state in !world.ends.keys.allSatisfy { state.offsets[$0]?.next == 3_000 } }) {
                #expect(world.pipeline.snapshot().positions.allSatisfy { ($0.backlog ?? 0) >= 0 })
                try await Task.sleep(nanoseconds: 1_000_000)
            }
            #expect(await eventually { world.lag(0) == 0 && world.lag(1) == 0 })
        }
    }

    @Test func unansweredQuestionsLeaveTheLastAnswerAndAreReported() async throws {
        let world = World(seed: 26, partitions: 1, records: 100, configuration: watchful())
        let source = TopicPartition("t", 0)
        try await world.run { world in
            world.source.post(.assigned([source]))
            #expect(await eventually { world.isComplete && world.pipeline.snapshot().positions.first?.end == 100 })
            world.source.answers(false)
            let ended = world.endsOfStalls.count
            let asked = world.source.questions
            #expect(await eventually { world.source.questions > asked + 5 })
            #expect(await eventually { world.stall == .brokerGone })
            let snapshot = world.pipeline.snapshot()
            #expect(snapshot.positions.first?.end == 100)
            #expect(snapshot.lags.first.map { $0.answerAgeSeconds >= 0.1 } == true)
            let notices = world.recorder.all.count { if case .sourceNotice = $0 { true } else { false } }
            #expect(notices == 1, "reported once, not at every question")
            // The session times out and the partitions are lost; the brokers still do not answer.
            world.source.post(.revoked([source], isLost: true))
            #expect(await eventually { world.pipeline.snapshot().positions.isEmpty })
            let lost = world.source.questions
            #expect(await eventually { world.source.questions > lost + 20 })
            #expect(world.stall == .brokerGone)
            #expect(world.stalls.last == .brokerGone && world.endsOfStalls.count == ended)
            world.source.answers(true)
            #expect(await eventually { world.stall == nil })
            #expect(await eventually { world.endsOfStalls.last.map { $0.ended == $0.lastReported } == true })
        }
    }

    /// Where it is not known how far a log can be read, no transaction is said to be open, and the notice says which question failed.
    @Test func anUnansweredQuestionForReadableEndsIsNoOpenTransaction() async throws {
        let world = World(seed: 27, partitions: 1, records: 100, configuration: watchful())
        let source = TopicPartition("t", 0)
        try await world.run { world in
            world.source.openTransaction(source, at: 40)
            world.source.post(.assigned([source]))
            #expect(await eventually { world.stall == .openTransaction })
            world.source.answersReadableEnds(false)
            #expect(
                await eventually { world.pipeline.snapshot().positions.first.map { $0.readableEnd == nil } == true },
                "an old answer stays in force")
            #expect(await eventually { world.stall.map { $0 != .openTransaction } == true })
            let asked = world.source.questions
            #expect(await eventually { world.source.questions > asked + 5 })
            let notices = world.recorder.all.compactMap { event in
                if case .sourceNotice(let sentence) = event { sentence } else { nil }
            }
            #expect(notices.count == 1, "reported once, not at every question: \(notices)")
            #expect(notices.first?.hasPrefix("How far the logs can be read could not be learned") == true, "\(notices)")
            world.source.answersReadableEnds(true)
            #expect(await eventually { world.stall == .openTransaction })
            world.source.openTransaction(source, at: nil)
            #expect(await eventually { world.isComplete && world.stall == nil })
        }
        #expect(world.isExact)
    }

    @Test func newPartitionsAreAskedForAtOnce() async throws {
        var configuration = watchful()
        configuration.lagInterval = 3_600_000_000_000
        let world = World(seed: 27, partitions: 2, records: 100, configuration: configuration)
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.pipeline.snapshot().positions.count { $0.end != nil } == 2 })
            #expect(world.source.questions == 1)
        }
    }
}
