// Transcripts of a group's lag from its committed offsets: what is known, what is not, and how fast it drains.

import Records
import Testing

@testable import Pipeline

private let second: UInt64 = 1_000_000_000
private let window = 12 * second
private let first = TopicPartition("t", 0)
private let other = TopicPartition("t", 1)

@Suite struct GroupLagMachineTests {
    private static func answer(_ committed: Int64?, _ end: Int64) -> GroupLagMachine.Answer {
        .init(committed: committed, end: end)
    }

    @Test func nothingIsKnownBeforeTheFirstAnswer() {
        var machine = GroupLagMachine()
        #expect(machine.sampled(now: second, window: window).partitions.isEmpty)
        machine.asked([first], now: 2 * second)
        let lag = machine.sampled(now: 5 * second, window: window)
        #expect(lag.partitions.map(\.backlog) == [nil])
        #expect(lag.partitions.map(\.answerAgeSeconds) == [3])
        #expect(lag.rates.secondsToDrain == nil)
    }

    @Test func lagIsTheDistanceFromTheCommittedOffsetToTheEnd() {
        var machine = GroupLagMachine()
        machine.asked([other, first], now: second)
        machine.answered([first: Self.answer(40, 100), other: Self.answer(7, 7)], now: second)
        let lag = machine.sampled(now: 2 * second, window: window)
        #expect(lag.partitions.map(\.source) == [first, other])
        #expect(lag.partitions.map(\.backlog) == [60, 0])
        #expect(lag.partitions.map(\.seconds) == [1, 0], "since the first answer")
        // An end that was read before the group committed beyond it.
        machine.answered([first: Self.answer(101, 100)], now: 3 * second)
        #expect(machine.sampled(now: 3 * second, window: window).partitions.map(\.backlog) == [0, 0])
    }

    @Test func theAgeIsThatOfTheOldestRecordNotCommitted() {
        var machine = GroupLagMachine()
        machine.asked([first], now: second)
        machine.answered([first: Self.answer(5, 5)], now: second)
        machine.answered([first: Self.answer(5, 8)], now: 2 * second)
        machine.answered([first: Self.answer(5, 20)], now: 4 * second)
        #expect(machine.sampled(now: 10 * second, window: window).partitions[0].seconds == 8)
        machine.answered([first: Self.answer(8, 20)], now: 10 * second)
        #expect(machine.sampled(now: 10 * second, window: window).partitions[0].seconds == 6)
    }

    @Test func aGroupThatHasCommittedNothingHasNoKnownLag() {
        var machine = GroupLagMachine()
        machine.asked([first, other], now: second)
        machine.answered([first: Self.answer(nil, 50), other: Self.answer(nil, 0)], now: second)
        let lag = machine.sampled(now: second, window: window)
        #expect(lag.partitions.map(\.backlog) == [nil, 0], "an empty log holds nothing to apply, wherever the group begins")
        #expect(lag.partitions.map(\.end) == [50, 0])
        #expect(lag.rates.secondsToDrain == nil)
        #expect(lag.rates.drain == 0)
        // The first commit shows where the group is, not what it has applied.
        machine.answered([first: Self.answer(40, 50), other: Self.answer(nil, 0)], now: 2 * second)
        let known = machine.sampled(now: 2 * second, window: window)
        #expect(known.partitions.map(\.backlog) == [10, 0])
        #expect(known.rates.drain == 0)
    }

    @Test func missingAnswersLeaveTheLastOnesAndAge() {
        var machine = GroupLagMachine()
        machine.asked([first, other], now: second)
        machine.answered([first: Self.answer(0, 10), other: Self.answer(0, 10)], now: second)
        machine.asked([first, other], now: 5 * second)
        machine.answered([first: Self.answer(0, 12)], now: 5 * second)
        let lag = machine.sampled(now: 6 * second, window: window)
        #expect(lag.partitions.map(\.backlog) == [12, 10])
        #expect(lag.partitions.map(\.answerAgeSeconds) == [1, 5])
        // Partitions that are no longer requested are forgotten.
        machine.asked([first], now: 7 * second)
        #expect(machine.sampled(now: 7 * second, window: window).partitions.map(\.source) == [first])
    }

    @Test func theDrainIsMeasuredOverTheWindow() {
        var machine = GroupLagMachine()
        machine.asked([first, other], now: second)
        var lag: GroupLag?
        for step in 0...20 {
            let now = UInt64(step + 1) * second
            machine.answered(
                [first: Self.answer(Int64(step) * 100, 10_000), other: Self.answer(0, Int64(step) * 30)], now: now)
            lag = machine.sampled(now: now, window: window)
        }
        #expect(lag?.rates.drain == 100)
        #expect(lag?.rates.arrival == 30)
        #expect(lag?.rates.secondsToDrain.map { abs($0 - 8_600.0 / 70) < 0.5 } == true)
        for step in 21...34 { lag = machine.sampled(now: UInt64(step + 1) * second, window: window) }
        #expect(lag?.rates.drain == 0, "nothing was committed for longer than the window")
        #expect(lag?.rates.secondsToDrain == .infinity)
        // Offsets that were set back are no drain, and neither is reading them again.
        machine.answered([first: Self.answer(0, 10_000)], now: 36 * second)
        #expect(machine.sampled(now: 36 * second, window: window).rates.drain == 0)
    }
}
