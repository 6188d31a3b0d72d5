// Transcripts of the Kafka module's machines.

import Records
import TestSupport
import Testing

@testable import Kafka

@Suite struct OffsetGuardMachineTests {
    @Test func takesEachOffsetOnce() {
        var machine = OffsetGuardMachine(expected: 5)
        #expect(machine.observed(5) == .accept)
        #expect(machine.observed(6) == .accept)
        #expect(machine.observed(5) == .drop)
        #expect(machine.observed(6) == .drop)
        #expect(machine.observed(7) == .accept)
        #expect(machine.expected == 8)
    }

    @Test func onlyTheFirstRecordAfterAMoveIsSought() {
        var machine = OffsetGuardMachine(expected: 0)
        #expect(machine.observed(10) == .reseek(to: 0))
        #expect(machine.observed(10) == .acceptGap)
        #expect(machine.observed(11) == .accept)
        // From here on gaps are legal.
        #expect(machine.observed(20) == .acceptGap)
        #expect(machine.observed(21) == .accept)
        #expect(machine.observed(30) == .acceptGap)
        machine.moved(to: 31)
        #expect(machine.observed(40) == .reseek(to: 31))
        #expect(machine.observed(31) == .accept)
        #expect(machine.observed(40) == .acceptGap)
    }

    @Test func repeatedRecordsDoNotEndTheSuspicion() {
        var machine = OffsetGuardMachine(expected: 5)
        #expect(machine.observed(3) == .drop)
        #expect(machine.observed(8) == .reseek(to: 5))
        #expect(machine.observed(4) == .drop)
        #expect(machine.observed(5) == .accept)
    }

    @Test func anEndBeyondTheLastRecordIsReportedAtOnce() {
        var machine = OffsetGuardMachine(expected: 5)
        #expect(machine.observed(5) == .accept)
        #expect(machine.ended(at: 6) == .none)
        #expect(machine.ended(at: 8) == .report)
        // Reported once: the next record is where it must be.
        #expect(machine.ended(at: 8) == .none)
        #expect(machine.observed(8) == .accept)
        #expect(machine.expected == 9)
    }

    @Test func anEndBeyondTheExpectedOffsetAfterAMoveIsSought() {
        var machine = OffsetGuardMachine(expected: 5)
        #expect(machine.ended(at: 4) == .none)
        #expect(machine.ended(at: 7) == .reseek(to: 5))
        #expect(machine.ended(at: 7) == .report)
        // The end at the expected offset is a sign of the right position, too.
        machine.moved(to: 7)
        #expect(machine.ended(at: 7) == .none)
        #expect(machine.observed(9) == .acceptGap)
        // Here librdkafka had begun behind the last records.
        machine.moved(to: 10)
        #expect(machine.ended(at: 12) == .reseek(to: 10))
        #expect(machine.observed(10) == .accept && machine.observed(11) == .accept)
        #expect(machine.ended(at: 12) == .none)
    }

    @Test func aMoveForgetsTheGap() {
        var machine = OffsetGuardMachine(expected: 0)
        #expect(machine.observed(10) == .reseek(to: 0))
        machine.moved(to: 3)
        #expect(machine.observed(10) == .reseek(to: 3))
        #expect(machine.observed(3) == .accept)
    }

    /// A compacted log with a hole before every second record, or before each: one seek at most.
    @Test func compactedLogsCostAtMostOneSeek() {
        for (first, hole) in [(Int64(0), Int64(3)), (7, 3), (7, 2)] {
            var machine = OffsetGuardMachine(expected: 0)
            var log: [Int64] = []
            while log.count < 1_000 { log.append((log.last.map { $0 + (log.count.isMultiple(of: 2) ? hole : 1) }) ?? first) }
            var (seeks, gaps, at) = (0, 0, 0)
            while at < log.count {
                switch machine.observed(log[at]) {
                case .accept: at += 1
                case .acceptGap:
                    gaps += 1
                    at += 1
                case .drop: Issue.record("\(log[at]) was dropped")
                case .reseek: seeks += 1
                }
            }
            #expect(seeks == (first > 0 ? 1 : 0))
            #expect(gaps == 499 + (first > 0 ? 1 : 0))
        }
    }

    /// A log with legal gaps. Now and then the position changes, and librdkafka begins somewhere else: each record is taken once, in
    /// order, with one seek a change at most.
    @Test func randomMovesAndGaps() {
        var random = SeededRandom(seed: testSeed("randomMovesAndGaps"))
        for _ in 0..<200 {
            var log: [Int64] = []
            var offset: Int64 = 0
            for _ in 0..<100 {
                offset += Int.random(in: 0..<3, using: &random) == 0 ? Int64.random(in: 2...5, using: &random) : 1
                log.append(offset)
            }
            var machine = OffsetGuardMachine(expected: 0)
            var taken: [Int64] = []
            var (at, seeks, moves) = (0, 0, 1)
            while at < log.count {
                switch machine.observed(log[at]) {
                case .accept, .acceptGap:
                    taken.append(log[at])
                    at += 1
                    if Int.random(in: 0..<8, using: &random) == 0 {
                        machine.moved(to: machine.expected)
                        moves += 1
                        at = Int.random(in: max(0, at - 5)...min(log.count - 1, at + 5), using: &random)
                    }
                case .drop: at += 1
                case .reseek(let target):
                    seeks += 1
                    at = log.firstIndex { $0 >= target } ?? log.count
                }
                // librdkafka began at the end, which it reports.
                if at == log.count, case .reseek(let target) = machine.ended(at: offset + 1) {
                    seeks += 1
                    at = log.firstIndex { $0 >= target } ?? log.count
                }
            }
            #expect(taken == log)
            #expect(seeks <= moves)
        }
    }
}

@Suite struct FetchStartMachineTests {
    private let second: UInt64 = 1_000_000_000

    @Test func silenceAfterAnOrderIsOverdueAndAnAnswerEndsTheWait() {
        var machine = FetchStartMachine(limit: 2 * second)
        #expect(machine.isOverdue(at: 100 * second, isReachable: true) == false)
        machine.ordered(at: 100 * second)
        #expect(machine.isAwaited == true)
        #expect(machine.isOverdue(at: 102 * second - 1, isReachable: true) == false)
        #expect(machine.isOverdue(at: 102 * second, isReachable: true) == true)
        machine.answered()
        #expect(machine.isAwaited == false)
        #expect(machine.isOverdue(at: 200 * second, isReachable: true) == false)
    }

    @Test func eachRestartDoublesTheWaitUntilAnAnswer() {
        var machine = FetchStartMachine(limit: 2 * second)
        machine.ordered(at: 0)
        var times: [UInt64] = []
        for now in 1...1_600 where machine.isOverdue(at: UInt64(now) * second, isReachable: true) {
            times.append(UInt64(now))
            machine.ordered(at: UInt64(now) * second)
        }
        #expect(times == [2, 6, 14, 30, 62, 126, 254, 510, 1_022, 1_534])
        machine.answered()
        machine.ordered(at: 1_600 * second)
        #expect(machine.isOverdue(at: 1_602 * second, isReachable: true) == true)
    }

    @Test func timeWithoutALeaderAndPausesDoNotCount() {
        var machine = FetchStartMachine(limit: 2 * second)
        machine.ordered(at: 0)
        #expect(machine.isOverdue(at: 60 * second, isReachable: false) == false)
        #expect(machine.isOverdue(at: 61 * second, isReachable: true) == false)
        #expect(machine.isOverdue(at: 62 * second, isReachable: true) == true)
        machine.stopped()
        #expect(machine.isOverdue(at: 600 * second, isReachable: true) == false)
    }
}

@Suite struct FetchWakeUpMachineTests {
    private let second: UInt64 = 1_000_000_000

    @Test func wakesOnlyForAQueueThatWasFullAndIsDrainedToHalf() {
        var machine = FetchWakeUpMachine()
        func sample(_ queued: Int, _ consumed: Int, _ now: UInt64) -> Bool {
            machine.sampled(queued: queued, consumed: consumed, capacity: 1000, now: now)
        }
        #expect(!sample(100, 0, 0))  // never full: librdkafka is fetching
        #expect(!sample(1000, 0, 1))
        #expect(!sample(600, 400, 2))
        #expect(sample(500, 500, 3))
        #expect(sample(200, 800, 4))
        #expect(!sample(600, 800, 5))  // it refills
        #expect(sample(400, 1000, 6))
        #expect(!sample(1000, 1000, 7))
    }

    @Test func stopsAfterASecondWithoutGrowth() {
        var machine = FetchWakeUpMachine()
        func sample(_ queued: Int, _ consumed: Int, _ now: UInt64) -> Bool {
            machine.sampled(queued: queued, consumed: consumed, capacity: 1000, now: now)
        }
        #expect(!sample(1000, 0, 0))
        #expect(sample(0, 1000, second))
        #expect(sample(0, 1000, second + second / 2))
        #expect(sample(10, 1000, second * 3 / 2 + 1))  // growth: another second
        #expect(sample(10, 1000, second * 2 + 1))
        #expect(!sample(10, 1000, second * 5 / 2 + 1))
        // After the log's end there is no wake-up until the queue has been full again.
        #expect(!sample(10, 2000, second * 4))
    }
}

@Suite struct CommitMachineTests {
    private let a = TopicPartition("t", 0)
    private let b = TopicPartition("t", 1)

    @Test func neverBackwards() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 10), (b, 5)]).map(\.1) == [10, 5])
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.requested([(a, 9), (b, 6)]).map(\.1) == [6])
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.requested([(a, 10)]).isEmpty)
        #expect(machine.isBusy == false)
        machine.unassigned()
        #expect(machine.requested([(a, 3)]).count == 1)
    }

    @Test func oneRequestAtATimeAndWaitingOffsetsAreMerged() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 1)]).count == 1)
        #expect(machine.requested([(a, 2)]).isEmpty)
        #expect(machine.requested([(a, 3), (b, 1)]).isEmpty)
        #expect(machine.requested([(a, 2)]).isEmpty)
        #expect(machine.isBusy == true)
        #expect(machine.answered(failed: []).map(\.1) == [3, 1])
        #expect(machine.isBusy == true)
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.isBusy == false)
    }

    @Test func failedOffsetsMayBeSentAgain() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 20), (b, 1)]).count == 2)
        #expect(machine.answered(failed: [a]).isEmpty)
        #expect(machine.requested([(a, 20), (b, 1)]).map(\.0) == [a])
    }

    @Test func aPartitionThatIsSetBackIsCommittedAgain() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 100), (b, 7)]).count == 2)
        #expect(machine.answered(failed: []).isEmpty)
        // Claimed again where it was: nothing is sent twice.
        machine.moved(a, to: 100)
        #expect(machine.requested([(a, 100)]).isEmpty)
        machine.moved(a, to: 10)
        #expect(machine.requested([(a, 10), (b, 7)]).map(\.1) == [10])
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.requested([(a, 9)]).isEmpty)
        #expect(machine.requested([(a, 11)]).map(\.1) == [11])
    }

    @Test func aSetBackDuringARequestCountsAfterItsAnswer() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 100)]).count == 1)
        #expect(machine.requested([(a, 120)]).isEmpty)
        machine.moved(a, to: 10)
        #expect(machine.requested([(a, 10)]).isEmpty)
        #expect(machine.answered(failed: []).map(\.1) == [10])
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.isBusy == false)
    }

    @Test func theEndOfAnAssignmentDropsWaitingOffsets() {
        var machine = CommitMachine()
        #expect(machine.requested([(a, 1)]).count == 1)
        #expect(machine.requested([(a, 2)]).isEmpty)
        machine.unassigned()
        #expect(machine.isBusy == true)
        #expect(machine.answered(failed: []).isEmpty)
        #expect(machine.isBusy == false)
    }
}

@Suite struct RoundRobinMachineTests {
    @Test func aRoundVisitsEachOnceAndTheNextStartsAfterTheLastServed() {
        var round = RoundRobinMachine(first: 2, count: 4)
        var visited: [Int] = []
        while let slot = round.next() {
            visited.append(slot)
            if slot == 3 || slot == 0 { round.served(slot) }
        }
        #expect(visited == [2, 3, 0, 1])
        #expect(round.first == 1)
    }

    @Test func aRoundThatServesNoneKeepsTheOrder() {
        var round = RoundRobinMachine(first: 3, count: 4)
        while round.next() != nil {}
        #expect(round.first == 3)
        #expect(RoundRobinMachine(first: 9, count: 4).first == 0)
        var none = RoundRobinMachine(first: 0, count: 0)
        #expect(none.next() == nil)
    }

    /// One portion every few rounds, for any number of rounds: all slots get the same number of portions.
    @Test func scarcePortionsAreSharedEqually() {
        for count in 1...12 {
            for rounds in 1...12 {
                var first = 0
                var portions = [Int](repeating: 0, count: count)
                for number in 0..<count * rounds * 10 {
                    var round = RoundRobinMachine(first: first, count: count)
                    var isThere = number.isMultiple(of: rounds)
                    while let slot = round.next() {
                        guard isThere else { continue }
                        isThere = false
                        portions[slot] += 1
                        round.served(slot)
                    }
                    first = round.first
                }
                #expect(Set(portions) == [10], "\(count) slots, a portion every \(rounds) rounds: \(portions)")
            }
        }
    }
}
