// Transcripts of the stall check: each reason, their precedence, and what is no stall.

import Records
import Testing

@testable import Pipeline

private let a = TopicPartition("t", 0)
private let b = TopicPartition("t", 1)
private let limits = StallMachine.Limits(timeout: 30, answers: 10)

private func partition(
    _ source: TopicPartition = a, applied: Int64? = 5, backlog: Int64? = 10,
    _ change: (inout StallMachine.Partition) -> Void = { _ in }
) -> StallMachine.Partition {
    var partition = StallMachine.Partition(source, applied: applied, backlog: backlog)
    change(&partition)
    return partition
}

private func inputs(
    _ partitions: StallMachine.Partition..., change: (inout StallMachine.Inputs) -> Void = { _ in }
) -> StallMachine.Inputs {
    var inputs = StallMachine.Inputs()
    inputs.partitions = partitions
    change(&inputs)
    return inputs
}

/// The reason after the same inputs have held for the time-out.
private func reason(of inputs: StallMachine.Inputs) -> StallReason? {
    var machine = StallMachine()
    #expect(machine.checked(inputs, now: 100, limits: limits) == .none)
    #expect(machine.checked(inputs, now: 129, limits: limits) == .none)
    _ = machine.checked(inputs, now: 130, limits: limits)
    return machine.stall?.reason
}

@Suite struct StallMachineTests {
    @Test func aStallIsReportedOnceAndItsEndOnce() {
        var machine = StallMachine()
        let stuck = inputs(
            partition {
                $0.isUnderWay = true; $0.isLaneBusy = true
            })
        #expect(machine.checked(stuck, now: 100, limits: limits) == .none)
        #expect(machine.checked(stuck, now: 130, limits: limits) == .entered(.waitingForDatabase, nanoseconds: 30))
        #expect(machine.checked(stuck, now: 140, limits: limits) == .none)
        #expect(machine.stall == .init(reason: .waitingForDatabase, since: 100))
        var open = stuck
        open.isCircuitClosed = false
        #expect(machine.checked(open, now: 150, limits: limits) == .entered(.circuitOpen, nanoseconds: 50))
        let moved = inputs(partition(applied: 6) { $0.isUnderWay = true })
        #expect(machine.checked(moved, now: 160, limits: limits) == .left(nanoseconds: 60))
        #expect(machine.checked(moved, now: 189, limits: limits) == .none)
        #expect(machine.stall == nil)
    }

    @Test func everyReasonIsFound() {
        #expect(reason(of: inputs(partition { $0.waitsForTransaction = true })) == .openTransaction)
        #expect(reason(of: inputs(partition { $0.isUnderWay = true }) { $0.isCircuitClosed = false }) == .circuitOpen)
        #expect(
            reason(
                of: inputs(
                    partition {
                        $0.isUnderWay = true; $0.isLaneBusy = true
                    })) == .waitingForDatabase)
        #expect(reason(of: inputs(partition { $0.answerAge = 10 })) == .brokerGone)
        #expect(reason(of: inputs(partition()) { $0.pollAge = 30 }) == .brokerGone)
        #expect(reason(of: inputs(partition { $0.hasCredits = false })) == .noCredits)
        #expect(
            reason(
                of: inputs(
                    partition {
                        $0.isUnderWay = true; $0.hasCredits = false
                    })) == .noCredits)
        #expect(reason(of: inputs(partition { $0.isFenced = true })) == .claiming)
        #expect(reason(of: inputs { $0.isClaiming = true }) == .claiming)
        #expect(reason(of: inputs(partition { $0.isStopped = true })) == .partitionStopped)
        #expect(reason(of: inputs(partition(applied: nil, backlog: nil) { $0.isStopped = true })) == .partitionStopped)
        #expect(reason(of: inputs(partition { $0.isPausedByOperator = true })) == .pausedByOperator)
        #expect(reason(of: inputs(partition())) == .unknown)
        #expect(reason(of: inputs(partition { $0.isUnderWay = true })) == .unknown)
    }

    @Test func recordsUnderWayWaitForLaterStages() {
        // Everything is wrong at once.
        let all = partition { partition in
            partition.isUnderWay = true
            partition.isPausedByOperator = true
            partition.hasCredits = false
            partition.isLaneBusy = true
            partition.answerAge = 1_000
        }
        #expect(
            reason(
                of: inputs(all) {
                    $0.isCircuitClosed = false; $0.pollAge = 1_000
                }) == .circuitOpen)
        #expect(reason(of: inputs(all) { $0.pollAge = 1_000 }) == .waitingForDatabase)
        var unread = all
        unread.isUnderWay = false
        #expect(reason(of: inputs(unread)) == .brokerGone, "everybody's trouble comes before one partition's")
        unread.answerAge = 0
        #expect(reason(of: inputs(unread)) == .pausedByOperator)
        unread.isPausedByOperator = false
        #expect(reason(of: inputs(unread)) == .noCredits)
    }

    @Test func acrossPartitionsTheOrderOfTheReasonsCounts() {
        let stopped = partition(a) { $0.isStopped = true }
        let waiting = partition(b) {
            $0.isUnderWay = true; $0.isLaneBusy = true
        }
        #expect(reason(of: inputs(stopped, waiting)) == .waitingForDatabase)
        #expect(reason(of: inputs(stopped, partition(b))) == .partitionStopped)
        #expect(reason(of: inputs(partition(a), partition(b) { $0.isPausedByOperator = true })) == .pausedByOperator)
        #expect(StallReason.allCases.last == .unknown)
    }

    @Test func noBacklogIsNoStall() {
        #expect(reason(of: inputs()) == nil)
        #expect(reason(of: inputs(partition(backlog: 0))) == nil)
        #expect(reason(of: inputs(partition(backlog: nil))) == nil)
        #expect(reason(of: inputs(partition(backlog: 0) { $0.isStopped = true })) == nil)
        // Given back: records that are not read any more belong to another member.
        #expect(reason(of: inputs(partition()) { $0.isDraining = true }) == nil)
    }

    @Test func withoutAnswersTheBacklogIsNotKnownToBeZero() {
        #expect(reason(of: inputs(partition(backlog: 0) { $0.answerAge = 30 })) == .brokerGone)
        #expect(reason(of: inputs(partition(backlog: nil) { $0.answerAge = 30 })) == .brokerGone)
        #expect(reason(of: inputs(partition(a, backlog: 0) { $0.answerAge = 30 }, partition(b, backlog: 0))) == nil)
        // The loss of the partitions does not end it.
        #expect(reason(of: inputs { $0.silence = 30 }) == .brokerGone)
        #expect(reason(of: inputs(partition(backlog: 0)) { $0.silence = 29 }) == nil)
        // Records still come.
        var machine = StallMachine()
        for now in stride(from: UInt64(100), to: 200, by: 10) {
            let silent = inputs(partition(applied: Int64(now), backlog: 1) { $0.answerAge = now })
            #expect(machine.checked(silent, now: now, limits: limits) == .none)
        }
    }

    @Test func aPauseByAnOperatorIsNoStallOfTheOthers() {
        var machine = StallMachine()
        let paused = partition(a) { $0.isPausedByOperator = true }
        for now in stride(from: UInt64(100), through: 200, by: 10) {
            #expect(machine.checked(inputs(paused, partition(b, applied: Int64(now))), now: now, limits: limits) == .none)
        }
        let idle = partition(b, applied: 200, backlog: 0)
        #expect(machine.checked(inputs(paused, idle), now: 229, limits: limits) == .none)
        #expect(
            machine.checked(inputs(paused, idle), now: 230, limits: limits) == .entered(.pausedByOperator, nanoseconds: 130))
        // Another stalled partition is named, also while an operator has paused some.
        let gone = partition(b, applied: 200) {
            $0.isUnderWay = true; $0.isLaneBusy = true
        }
        _ = machine.checked(inputs(paused, gone), now: 231, limits: limits)
        #expect(
            machine.checked(inputs(paused, gone), now: 261, limits: limits) == .entered(.waitingForDatabase, nanoseconds: 161))
    }

    @Test func timeInAnOperatorsPauseDoesNotCount() {
        var machine = StallMachine()
        let paused = partition(a) { $0.isPausedByOperator = true }
        for now in stride(from: UInt64(100), through: 200, by: 10) {
            #expect(machine.checked(inputs(paused, partition(b, applied: Int64(now))), now: now, limits: limits) == .none)
        }
        let idle = partition(b, applied: 200, backlog: 0)
        #expect(machine.checked(inputs(partition(a), idle), now: 210, limits: limits) == .none, "it stood still on request")
        #expect(machine.checked(inputs(partition(a), idle), now: 239, limits: limits) == .none)
        #expect(machine.checked(inputs(partition(a), idle), now: 240, limits: limits) != .none)
    }

    @Test func aLongLagIntervalIsNoSilence() {
        var machine = StallMachine()
        let seldom = StallMachine.Limits(timeout: limits.timeout, answers: 10 * limits.timeout)
        var seen = inputs(partition(backlog: 0) { $0.answerAge = 60 })
        seen.silence = 60
        #expect(machine.checked(seen, now: 100, limits: seldom) == .none)
        #expect(machine.checked(seen, now: 200, limits: seldom) == .none)
    }

    @Test func aBreakBeginsTheTimeAnew() {
        var machine = StallMachine()
        #expect(machine.checked(inputs(partition()), now: 100, limits: limits) == .none)
        #expect(machine.checked(inputs(partition(backlog: 0)), now: 120, limits: limits) == .none)
        #expect(machine.checked(inputs(partition()), now: 129, limits: limits) == .none)
        #expect(machine.checked(inputs(partition()), now: 140, limits: limits) == .none)
        // Revoked and assigned again.
        #expect(machine.checked(inputs(), now: 150, limits: limits) == .none)
        #expect(machine.checked(inputs(partition()), now: 160, limits: limits) == .none)
        #expect(machine.checked(inputs(partition()), now: 189, limits: limits) == .none)
        #expect(machine.checked(inputs(partition()), now: 190, limits: limits) == .entered(.unknown, nanoseconds: 30))
        // A shorter time-out counts at once.
        #expect(machine.checked(inputs(), now: 200, limits: limits) == .left(nanoseconds: 40))
        _ = machine.checked(inputs(partition()), now: 210, limits: limits)
        let short = StallMachine.Limits(timeout: 5, answers: 5)
        #expect(machine.checked(inputs(partition()), now: 215, limits: short) == .entered(.unknown, nanoseconds: 5))
    }
}
