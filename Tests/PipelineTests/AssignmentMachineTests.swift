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

private func machine() -> AssignmentMachine {
    var configuration = PipelineConfiguration()
    configuration.claimDeadline = 100
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

@Suite struct AssignmentMachineTests {
    @Test func claimsThenBeginsInOrder() {
        var machine = machine()
        #expect(machine.assigned([b, a], now: 0) == [.claim(claimRound: 1, [a, b])])
        let results: [TopicPartition: ClaimResult] = [
            a: .claimed(epoch: 4, nextOffset: 7), b: .claimed(epoch: 1, nextOffset: 0),
        ]
        #expect(
            machine.claimAnswered(claimRound: 1, results, now: 1, random: 0)
                == [
                    .begin([
                        entry(a, slot: 0, generation: 1, epoch: 4, offset: 7),
                        entry(b, slot: 1, generation: 1, epoch: 1, offset: 0),
                    ])
                ])
    }

    @Test func aHeldPartitionGetsNoSlot() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        #expect(
            machine.claimAnswered(
                claimRound: 1, [a: .held(reason: outside), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
                == [.reportStopped(a, reason: outside), .begin([entry(b, slot: 0, generation: 1, epoch: 1, offset: 0)])])
        #expect(machine.stoppedPartitions.map(\.source) == [a])
    }

    @Test func aSlowClaimIsAnsweredWithNothingOnceAndRetried() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.ticked(now: 99, lastPoll: 0) == [])
        #expect(machine.ticked(now: 100, lastPoll: 0) == [.assignNothing])
        #expect(machine.ticked(now: 101, lastPoll: 0) == [])
        #expect(
            machine.claimFailed(claimRound: 1, reason: "down", now: 110, random: 0)
                == [.reportClaimFailed(reason: "down", retryIn: 5)])
        #expect(machine.ticked(now: 114, lastPoll: 0) == [])
        #expect(machine.ticked(now: 115, lastPoll: 0) == [.claim(claimRound: 1, [a])])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 3)], now: 120, random: 0)
                == [.begin([entry(a, slot: 0, generation: 1, epoch: 1, offset: 3)])])
    }

    @Test func aClaimThatComesAfterARevokeIsIgnored() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.revoked(isLost: false, isDrained: true, now: 5) == [.release(commitsOffsets: false)])
        #expect(machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 6, random: 0) == [])
        #expect(machine.claimFailed(claimRound: 1, reason: "late", now: 6, random: 0) == [])
    }

    @Test func aFencedPartitionIsClaimedAgainAfterBackoffAndAPoll() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.fenced(a, generation: 9, now: 50, random: 0) == [], "a fence of another generation does not count")
        #expect(machine.fenced(a, generation: 1, now: 50, random: 0) == [.retract(a, slot: 0, generation: 1)])
        #expect(machine.fenced(a, generation: 1, now: 50, random: 0) == [])
        #expect(machine.ticked(now: 59, lastPoll: 55) == [])
        #expect(machine.ticked(now: 60, lastPoll: 50) == [], "no poll has shown the partition still ours")
        #expect(machine.ticked(now: 60, lastPoll: 51) == [.claim(claimRound: 1, [a])])
        #expect(machine.ticked(now: 61, lastPoll: 61) == [])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 3, nextOffset: 8)], now: 70, random: 0)
                == [.restart(entry(a, slot: 0, generation: 2, epoch: 3, offset: 8))])
    }

    @Test func aLostPositionIsDecidedByAClaim() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.positionLost(a, isDrained: true, now: 0, random: 0) == [], "nothing was read yet")
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.positionLost(a, isDrained: false, now: 49, random: 0) == [], "what was read before is applied first")
        #expect(machine.lostPositions == [a])
        #expect(machine.positionLost(a, isDrained: true, now: 50, random: 0) == [.retract(a, slot: 0, generation: 1)])
        #expect(machine.lostPositions == [])
        #expect(machine.ticked(now: 60, lastPoll: 60) == [.claim(claimRound: 1, [a])])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .held(reason: outside)], now: 61, random: 0)
                == [.reportStopped(a, reason: outside)])
        #expect(machine.stopped(a, reason: poison, now: 62) == [])
    }

    @Test func aStopBelongsToItsGeneration() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        #expect(machine.stopped(a, generation: 7, reason: poison, now: 2) == [], "nothing was read yet")
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.stopped(a, generation: 7, reason: poison, now: 2) == [])
        #expect(
            machine.stopped(a, generation: 1, reason: poison, now: 2) == [
                .retract(a, slot: 0, generation: 1), .reportStopped(a, reason: poison),
            ])
    }

    @Test func aStoppedPartitionIsClaimedAgainUnlessItsRecordsAreBad() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        _ = machine.claimAnswered(
            claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.stopped(a, generation: 1, reason: missing, now: 10)
        _ = machine.stopped(b, generation: 1, reason: poison, now: 10)
        #expect(machine.ticked(now: 1_009, lastPoll: 0) == [])
        #expect(machine.ticked(now: 1_010, lastPoll: 0) == [.claim(claimRound: 1, [a])])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .held(reason: missing)], now: 1_020, random: 0) == [],
            "a reason that stays the same is reported once")
        #expect(machine.ticked(now: 2_019, lastPoll: 0) == [])
        #expect(machine.ticked(now: 2_020, lastPoll: 0) == [.claim(claimRound: 1, [a])])
        #expect(
            machine.claimFailed(claimRound: 1, reason: "down", now: 2_021, random: 0)
                == [.reportClaimFailed(reason: "down", retryIn: 1_000)])
        // An operator need not wait, and may also mean the one whose records are bad.
        machine.retryRequested([a, b], now: 2_030)
        #expect(machine.ticked(now: 2_030, lastPoll: 0) == [.claim(claimRound: 1, [a, b])])
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

    /// The source knows only what was assigned to it: so everything is assigned anew, and what the others were doing is read again.
    @Test func aPartitionThatWasNeverReadJoinsByANewAssignment() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        _ = machine.claimAnswered(
            claimRound: 1, [a: .held(reason: missing), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.ticked(now: 1_001, lastPoll: 0) == [.claim(claimRound: 1, [a])])
        #expect(
            machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1_002, random: 0)
                == [.claim(claimRound: 2, [a, b])])
        #expect(machine.claimFailed(claimRound: 2, reason: "down", now: 1_003, random: 0).count == 1)
        #expect(machine.ticked(now: 1_008, lastPoll: 0) == [.claim(claimRound: 2, [a, b])])
        #expect(
            machine.claimAnswered(
                claimRound: 2, [a: .claimed(epoch: 2, nextOffset: 0), b: .claimed(epoch: 2, nextOffset: 9)], now: 1_010, random: 0
            )
                == [
                    .begin([
                        entry(a, slot: 0, generation: 2, epoch: 2, offset: 0),
                        entry(b, slot: 1, generation: 2, epoch: 2, offset: 9),
                    ])
                ])
    }

    /// Found by the simulation: the slot of the former assignment was kept, and a seek of a partition that nobody reads did nothing.
    @Test func aPartitionThatIsHeldByTheNewAssignmentHasNoSlotLeft() {
        var machine = machine()
        _ = machine.assigned([a, b], now: 0)
        _ = machine.claimAnswered(
            claimRound: 1, [a: .held(reason: missing), b: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.ticked(now: 1_001, lastPoll: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1_002, random: 0)
        #expect(
            machine.claimAnswered(
                claimRound: 2, [a: .claimed(epoch: 2, nextOffset: 0), b: .held(reason: outside)], now: 1_003, random: 0)
                == [.reportStopped(b, reason: outside), .begin([entry(a, slot: 0, generation: 2, epoch: 2, offset: 0)])])
        #expect(machine.ticked(now: 2_003, lastPoll: 0) == [.claim(claimRound: 2, [b])])
        #expect(
            machine.claimAnswered(claimRound: 2, [b: .claimed(epoch: 3, nextOffset: 0)], now: 2_004, random: 0)
                == [.claim(claimRound: 3, [a, b])])
    }

    @Test func aRevokeDrainsUnderADeadlineAndCommits() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.revoked(isLost: false, isDrained: false, now: 1000) == [.drain])
        #expect(machine.ticked(now: 1499, lastPoll: 0) == [])
        #expect(
            machine.drained(now: 1400) == [.reportDrained(isComplete: true, nanoseconds: 400), .release(commitsOffsets: true)])
        #expect(machine.drained(now: 1400) == [])
        #expect(machine.ticked(now: 1600, lastPoll: 0) == [])
    }

    @Test func aDrainThatTakesTooLongIsCutShort() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        _ = machine.revoked(isLost: false, isDrained: false, now: 1000)
        #expect(
            machine.ticked(now: 1500, lastPoll: 0)
                == [.reportDrained(isComplete: false, nanoseconds: 500), .release(commitsOffsets: true)])
    }

    @Test func lostPartitionsAreGivenBackAtOnceWithoutACommit() {
        var machine = machine()
        _ = machine.assigned([a], now: 0)
        _ = machine.claimAnswered(claimRound: 1, [a: .claimed(epoch: 1, nextOffset: 0)], now: 1, random: 0)
        #expect(machine.revoked(isLost: true, isDrained: false, now: 1000) == [.release(commitsOffsets: false)])
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
                == [.reportDrained(isComplete: false, nanoseconds: 800), .release(commitsOffsets: true), .end])
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
                == [.reportDrained(isComplete: false, nanoseconds: 1400), .release(commitsOffsets: true), .end])
    }

    @Test func shutdownBeforeAnyPartitionEndsAtOnce() {
        var machine = machine()
        #expect(machine.shutdownRequested(deadline: 900, isDrained: true, now: 0) == [.release(commitsOffsets: false), .end])
    }
}
