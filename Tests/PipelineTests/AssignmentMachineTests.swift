// Transcripts of the assignment machine: inputs and actions.

import Backpressure
import Records
import Testing

@testable import Pipeline

private let a = TopicPartition("t", 0)
private let b = TopicPartition("t", 1)
private let outside = StopReason(.offset, "outside of the log")
private let missing = StopReason(.schema, "the table does not exist")
private let poison = StopReason(.poison, "mostly bad records")
private let denied = StopReason(.kafka, "access was denied")

private func machine() -> AssignmentMachine {
    var configuration = PipelineConfiguration()
    configuration.claimDeadline = 100
    configuration.stragglerWait = 30
    configuration.drainDeadline = 500
    configuration.retry = Backoff(initial: 10, maximum: 10)
    configuration.reclaim = Backoff(initial: 20, maximum: 20)
    configuration.recheckInterval = 1_000
    return AssignmentMachine(configuration: configuration)
}

private func entry(_ source: TopicPartition, slot: Int, generation: UInt64, epoch: Int64, offset: Int64)
    -> OffsetLedgerMachine.Entry
{
    .init(
        source: source, slot: slot, lane: EventPipeline.lane(of: source, among: 2), generation: generation, epoch: epoch,
        offset: offset)
}

private func requests(_ sources: TopicPartition..., checksBounds: Bool = false, mismatch: Int64? = nil) -> [ClaimRequest] {
    sources.map { ClaimRequest(source: $0, checksBounds: checksBounds, mismatch: mismatch) }
}

@Suite struct AssignmentMachineTests {
    @Test func claimsThenBeginsInOrder() {
        var machine = machine()
        #expect(machine.assigned([b, a], now: 0) == [.claim(claimRound: 1, requests(a, b))])
        let results: [TopicPartition: ClaimResult] = [
            a: .claimed(epoch: 4, nextOffset: 7), b: .claimed(epoch: 1, nextOffset: 0),
        ]
        #expect(
            machine.claimAnswered(claimRound: 1, results, now: 1, random: 0)
                == [
                    .begin(
                        generation: 1,
                        [
                            entry(a, slot: 0, generation: 1, epoch: 4, offset: 7),
                            entry(b, slot: 1, generation: 1, epoch: 1, offset: 0),
                        ], unclaimed: [])
                ])
    }

    @Test func aHeldPartitionHasItsSlotBehindTheOthers() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        #expect(
            machine.claimAnswered(
                claimRound: 1, [a: .held(reason: outside), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
                == [
                    .reportStopped(a, reason: outside),
                    .begin(generation: 1, [entry(b, slot: 0, generation: 1, epoch: 1, offset: 0)], unclaimed: [a]),
                ])
        #expect(machine.stoppedPartitions.map(\.source) == [a])
    }

    @Test func aFailedClaimIsTriedAgainBeforeTheGroupIsAnswered() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .later(reason: "down")], now: 10, random: 0)
                == [.reportClaimFailed([a], reason: "down", retryIn: 5)])
        #expect(machine.ticked(now: 14, lastPoll: 14) == [])
        #expect(machine.ticked(now: 15, lastPoll: 10) == [], "no poll has shown the partition still ours")
        #expect(machine.ticked(now: 15, lastPoll: 11) == [.claim(claimRound: 1, requests(a))])
        #expect(machine.ticked(now: 99, lastPoll: 99) == [], "one claim of a partition at a time")
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 3)], now: 99, random: 0)
                == [.begin(generation: 1, [entry(a, slot: 0, generation: 1, epoch: 1, offset: 3)], unclaimed: [])])
    }

    @Test func aSlowClaimIsAnsweredWithUnreadPartitionsOnceAndGoesOn() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.ticked(now: 99, lastPoll: 0) == [])
        #expect(machine.state == .claiming)
        #expect(machine.ticked(now: 100, lastPoll: 0) == [.begin(generation: 1, [], unclaimed: [a])])
        #expect(machine.ticked(now: 101, lastPoll: 0) == [])
        #expect(machine.state == .claiming, "nothing is claimed yet")
        #expect(machine.unclaimedPartitions.map(\.source) == [a])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .later(reason: "down")], now: 110, random: 0)
                == [.reportClaimFailed([a], reason: "down", retryIn: 5)])
        #expect(machine.unclaimedPartitions.first?.reason == "down")
        #expect(machine.ticked(now: 115, lastPoll: 114) == [.claim(claimRound: 1, requests(a))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 3)], now: 120, random: 0)
                == [.restart(entry(a, slot: 0, generation: 2, epoch: 1, offset: 3))])
        #expect(machine.state == .running)
    }

    /// A partition without a leader, or a lane whose thread is stuck, holds up nobody; and what is active is not claimed again for it.
    @Test func whatIsClaimedBeginsAndStragglersJoin() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        #expect(machine.claimAnswered(claimRound: 1, [b: .claimed(epoch: 7, nextOffset: 5)], now: 10, random: 0) == [])
        #expect(machine.ticked(now: 39, lastPoll: 39) == [])
        #expect(
            machine.ticked(now: 40, lastPoll: 40)
                == [.begin(generation: 1, [entry(b, slot: 0, generation: 1, epoch: 7, offset: 5)], unclaimed: [a])])
        #expect(machine.state == .running)
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .later(reason: "no leader")], now: 50, random: 0)
                == [.reportClaimFailed([a], reason: "no leader", retryIn: 5)])
        #expect(machine.ticked(now: 55, lastPoll: 55) == [.claim(claimRound: 1, requests(a))])
        // Meanwhile another partition is fenced: its claim does not wait for that one.
        #expect(
            machine.fenced(b, generation: 1, hasProgressed: false, now: 56, random: 0) == [.retract(b, slot: 0, generation: 1)])
        #expect(machine.ticked(now: 66, lastPoll: 66) == [.claim(claimRound: 1, requests(b))])
        #expect(
            machine.claimAnswered(claimRound: 1, [b: .claimed(epoch: 9, nextOffset: 6)], now: 67, random: 0)
                == [.restart(entry(b, slot: 0, generation: 2, epoch: 9, offset: 6))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 70, random: 0)
                == [.restart(entry(a, slot: 1, generation: 3, epoch: 1, offset: 0))])
        #expect(
            machine.claimAnswered(claimRound: 1, [b: .claimed(epoch: 10, nextOffset: 6)], now: 71, random: 0) == [],
            "no claim was under way")
    }

    @Test func aClaimThatComesAfterARevokeIsIgnored() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.revoked(isLost: false, isDrained: true, now: 5) == [.release(commitUntil: nil)])
        #expect(machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 6, random: 0) == [])
        #expect(machine.claimAnswered(claimRound: 1, [a: .later(reason: "late")], now: 6, random: 0) == [])
        #expect(machine.claimRound > 1, "a claim that has not been written yet is not wanted")
    }

    @Test func aFencedPartitionIsClaimedAgainAfterBackoffAndAPoll() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(
            machine.fenced(a, generation: 9, hasProgressed: false, now: 50, random: 0) == [],
            "a fence of another generation does not count")
        #expect(
            machine.fenced(a, generation: 1, hasProgressed: false, now: 50, random: 0) == [.retract(a, slot: 0, generation: 1)])
        #expect(machine.fenced(a, generation: 1, hasProgressed: false, now: 50, random: 0) == [])
        #expect(machine.ticked(now: 59, lastPoll: 55) == [])
        #expect(machine.ticked(now: 60, lastPoll: 50) == [], "no poll has shown the partition still ours")
        #expect(machine.ticked(now: 60, lastPoll: 51) == [.claim(claimRound: 1, requests(a))])
        #expect(machine.ticked(now: 61, lastPoll: 61) == [])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 3, nextOffset: 8)], now: 70, random: 0)
                == [.restart(entry(a, slot: 0, generation: 2, epoch: 3, offset: 8))])
    }

    @Test func theBackOffBeginsAnewAfterProgress() {
        var configuration = PipelineConfiguration()
        configuration.reclaim = Backoff(initial: 20, maximum: 1_000)
        var machine = AssignmentMachine(configuration: configuration)
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 0, random: 0)
        var waits: [UInt64] = []
        var now: UInt64 = 0
        for (round, hasProgressed) in [false, false, false, true, false].enumerated() {
            let start = now
            _ = machine.fenced(a, generation: UInt64(round + 1), hasProgressed: hasProgressed, now: now, random: 0)
            while machine.ticked(now: now, lastPoll: now) == [] { now += 1 }
            waits.append(now - start)
            _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: now, random: 0)
        }
        #expect(waits == [10, 20, 40, 10, 20])
    }

    /// What the claim knows of the last record reaches the source; that the log is another one is known until a claim succeeds.
    @Test func anotherLogIsDecidedByAClaim() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        let began = machine.claimAnswered(
            claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 7, lastApplied: 99)], now: 1, random: 0)
        guard case .begin(_, let entries, _)? = began.first else {
            Issue.record("\(began)")
            return
        }
        #expect(entries.map(\.start) == [PartitionStart(source: a, offset: 7, lastApplied: 99)])
        _ = machine.positionLost(a, mismatch: 99, isDrained: false, hasProgressed: false, now: 49, random: 0)
        _ = machine.positionLost(a, isDrained: true, hasProgressed: false, now: 50, random: 0)
        let claim = AssignmentMachine.Action.claim(claimRound: 1, requests(a, checksBounds: true, mismatch: 99))
        #expect(machine.ticked(now: 60, lastPoll: 60) == [claim])
        _ = machine.claimAnswered(claimRound: 1, [a: .held(reason: outside)], now: 61, random: 0)
        #expect(machine.ticked(now: 1_061, lastPoll: 1_061) == [claim])
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 2, nextOffset: 0)], now: 1_062, random: 0)
        _ = machine.fenced(a, generation: 2, hasProgressed: false, now: 1_070, random: 0)
        #expect(machine.ticked(now: 1_090, lastPoll: 1_090) == [.claim(claimRound: 1, requests(a))])
    }

    /// A partition that was read, and cannot be claimed again, is among those that are not claimed until it is.
    @Test func aFencedPartitionThatCannotBeClaimedIsNamed() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 7)], now: 1, random: 0)
        _ = machine.fenced(a, generation: 1, hasProgressed: false, now: 50, random: 0)
        #expect(machine.unclaimedPartitions.isEmpty)
        #expect(machine.ticked(now: 60, lastPoll: 60) == [.claim(claimRound: 1, requests(a))])
        _ = machine.claimAnswered(claimRound: 1, [a: .later(reason: "no such topic")], now: 61, random: 0)
        #expect(machine.unclaimedPartitions.map(\.reason) == ["no such topic"])
        while machine.ticked(now: 1_000, lastPoll: 1_000) == [] {}
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 2, nextOffset: 7)], now: 1_001, random: 0)
        #expect(machine.unclaimedPartitions.isEmpty)
    }

    @Test func aLostPositionIsDecidedByAClaim() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.positionLost(a, isDrained: true, hasProgressed: false, now: 0, random: 0) == [])
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(
            machine.positionLost(a, isDrained: false, hasProgressed: false, now: 49, random: 0) == [],
            "what was read before is applied first")
        #expect(machine.lostPositions == [a])
        #expect(
            machine.positionLost(a, isDrained: true, hasProgressed: false, now: 50, random: 0)
                == [.retract(a, slot: 0, generation: 1)])
        #expect(machine.lostPositions == [])
        #expect(machine.ticked(now: 60, lastPoll: 60) == [.claim(claimRound: 1, requests(a, checksBounds: true))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .held(reason: outside)], now: 61, random: 0)
                == [.reportStopped(a, reason: outside)])
        #expect(machine.stopped(a, reason: poison, hasProgressed: false, now: 62, random: 0) == [])
        // As long as it is stopped for that, the stored offset must not be taken as it is.
        #expect(machine.ticked(now: 1_061, lastPoll: 1_061) == [.claim(claimRound: 1, requests(a, checksBounds: true))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 2, nextOffset: 9)], now: 1_062, random: 0)
                == [.restart(entry(a, slot: 0, generation: 2, epoch: 2, offset: 9))])
        _ = machine.fenced(a, generation: 2, hasProgressed: false, now: 1_070, random: 0)
        #expect(machine.ticked(now: 1_090, lastPoll: 1_090) == [.claim(claimRound: 1, requests(a))])
    }

    @Test func aStopBelongsToItsGeneration() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(
            machine.stopped(a, generation: 7, reason: poison, hasProgressed: false, now: 2, random: 0) == [],
            "nothing was read yet")
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.stopped(a, generation: 7, reason: poison, hasProgressed: false, now: 2, random: 0) == [])
        #expect(
            machine.stopped(a, generation: 1, reason: poison, hasProgressed: false, now: 2, random: 0) == [
                .retract(a, slot: 0, generation: 1), .reportStopped(a, reason: poison),
            ])
    }

    @Test func aStoppedPartitionIsClaimedAgainUnlessItsRecordsAreBad() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        _ = machine.claimAnswered(
            claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.stopped(a, generation: 1, reason: missing, hasProgressed: false, now: 10, random: 0)
        _ = machine.stopped(b, generation: 1, reason: poison, hasProgressed: false, now: 10, random: 0)
        #expect(machine.ticked(now: 1_009, lastPoll: 1_009) == [])
        #expect(machine.ticked(now: 1_010, lastPoll: 1_010) == [.claim(claimRound: 1, requests(a))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .held(reason: missing)], now: 1_020, random: 0) == [],
            "a reason that stays the same is reported once")
        #expect(machine.ticked(now: 2_019, lastPoll: 2_019) == [])
        #expect(machine.ticked(now: 2_020, lastPoll: 2_020) == [.claim(claimRound: 1, requests(a))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .later(reason: "down")], now: 2_021, random: 0)
                == [.reportClaimFailed([a], reason: "down", retryIn: 1_000)])
        // An operator need not wait, and may also mean the one whose records are bad.
        machine.retryRequested([a, b], now: 2_030)
        #expect(machine.ticked(now: 2_030, lastPoll: 2_030) == [.claim(claimRound: 1, requests(a, b))])
        #expect(
            machine.claimAnswered(
                claimRound: 1, [a: .claimed(epoch: 2, nextOffset: 5), b: .claimed(epoch: 2, nextOffset: 6)], now: 2_031, random: 0
            )
                == [
                    .restart(entry(a, slot: 0, generation: 2, epoch: 2, offset: 5)),
                    .restart(entry(b, slot: 1, generation: 3, epoch: 2, offset: 6)),
                ])
        #expect(machine.stoppedPartitions.isEmpty)
    }

    /// An error of Kafka may pass: the partition is claimed again like a fenced one, not at the interval of what somebody has to mend.
    @Test func aPartitionThatKafkaRefusesIsClaimedAgainSoonAndThenLessOften() {
        var configuration = PipelineConfiguration()
        configuration.reclaim = Backoff(initial: 20, maximum: 100)
        configuration.recheckInterval = 1_000_000
        var machine = AssignmentMachine(configuration: configuration)
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 0, random: 0)
        var waits: [UInt64] = []
        var now: UInt64 = 0
        for (round, hasProgressed) in [false, false, false, false, true].enumerated() {
            let start = now
            let generation = UInt64(round + 1)
            #expect(
                machine.stopped(a, reason: denied, hasProgressed: hasProgressed, now: now, random: 0)
                    == [.retract(a, slot: 0, generation: generation), .reportStopped(a, reason: denied)])
            #expect(machine.stoppedPartitions.map(\.reason) == [denied], "health names it")
            #expect(machine.ticked(now: now + 100, lastPoll: now) == [], "no poll has shown the partition still ours")
            while machine.ticked(now: now, lastPoll: now) == [] { now += 1 }
            waits.append(now - start)
            _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: now, random: 0)
        }
        #expect(waits == [10, 20, 40, 50, 10])
        // A claim that Kafka refuses, or that finds a server away, is such a setback, too; an operator need not wait.
        _ = machine.stopped(a, reason: denied, hasProgressed: false, now: 1_000, random: 0)
        #expect(machine.ticked(now: 1_020, lastPoll: 1_020) == [.claim(claimRound: 1, requests(a))])
        #expect(machine.claimAnswered(claimRound: 1, [a: .held(reason: denied)], now: 1_020, random: 0) == [])
        #expect(machine.ticked(now: 1_059, lastPoll: 1_059) == [])
        #expect(machine.ticked(now: 1_060, lastPoll: 1_060) == [.claim(claimRound: 1, requests(a))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .later(reason: "down")], now: 1_060, random: 0)
                == [.reportClaimFailed([a], reason: "down", retryIn: 50)])
        machine.retryRequested([a], now: 1_061)
        #expect(machine.ticked(now: 1_061, lastPoll: 1_061) == [.claim(claimRound: 1, requests(a))])
    }

    /// Its place in the source's assignment is kept for it: nothing else is assigned, fetched or claimed again.
    @Test func aPartitionThatWasNeverReadJoinsByASeek() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        _ = machine.claimAnswered(
            claimRound: 1, [a: .held(reason: missing), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.ticked(now: 1_001, lastPoll: 1_001) == [.claim(claimRound: 1, requests(a))])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1_002, random: 0)
                == [.restart(entry(a, slot: 1, generation: 2, epoch: 1, offset: 0))])
        #expect(machine.ticked(now: 5_000, lastPoll: 5_000) == [])
    }

    @Test func aRevokeDrainsUnderADeadlineAndCommits() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.revoked(isLost: false, isDrained: false, now: 1000) == [.drain])
        #expect(machine.ticked(now: 1499, lastPoll: 0) == [])
        #expect(
            machine.drained(now: 1400)
                == [.reportDrained(isComplete: true, nanoseconds: 400), .release(commitUntil: 1500)],
            "the drain's deadline holds for the commit, too")
        #expect(machine.drained(now: 1400) == [])
        #expect(machine.ticked(now: 1600, lastPoll: 0) == [])
    }

    @Test func theLastOffsetCommitHasAShortLimitOfItsOwn() {
        var configuration = PipelineConfiguration()
        configuration.drainDeadline = 60_000_000_000
        configuration.offsetCommitInterval = 600_000_000_000
        var machine = AssignmentMachine(configuration: configuration)
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(
            machine.revoked(isLost: false, isDrained: true, now: 10)
                == [.drain, .reportDrained(isComplete: true, nanoseconds: 0), .release(commitUntil: 1_000_000_010)])
    }

    @Test func aDrainThatTakesTooLongIsCutShort() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.revoked(isLost: false, isDrained: false, now: 1000)
        #expect(
            machine.ticked(now: 1500, lastPoll: 0)
                == [.reportDrained(isComplete: false, nanoseconds: 500), .release(commitUntil: 1500)])
    }

    @Test func lostPartitionsAreGivenBackAtOnceWithoutACommit() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.revoked(isLost: true, isDrained: false, now: 1000) == [.release(commitUntil: nil)])
    }

    @Test func shutdownDrainsAndEndsOnce() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.shutdownRequested(deadline: 900, isDrained: false, now: 100) == [.drain])
        #expect(machine.shutdownRequested(deadline: 900, isDrained: false, now: 100) == [])
        #expect(machine.assigned([b], now: 200) == [.assignNothing], "an assignment on the way out is answered with nothing")
        #expect(
            machine.ticked(now: 900, lastPoll: 0)
                == [.reportDrained(isComplete: false, nanoseconds: 800), .release(commitUntil: 900), .end])
        #expect(machine.assigned([b], now: 901) == [])
        #expect(machine.state == .ended)
    }

    @Test func aRevokeDuringALongShutdownIsAnsweredInTime() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.shutdownRequested(deadline: 10_000, isDrained: false, now: 100)
        #expect(machine.revoked(isLost: false, isDrained: false, now: 1000) == [])
        #expect(machine.ticked(now: 1499, lastPoll: 0) == [])
        #expect(
            machine.ticked(now: 1500, lastPoll: 0)
                == [.reportDrained(isComplete: false, nanoseconds: 1400), .release(commitUntil: 1500), .end])
    }

    @Test func shutdownBeforeAnyPartitionEndsAtOnce() {
        var machine = machine()
        #expect(machine.shutdownRequested(deadline: 900, isDrained: true, now: 0) == [.release(commitUntil: nil), .end])
    }
}
