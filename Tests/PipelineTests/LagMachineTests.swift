// Transcripts of the lag machine, and its bound against a model that knows every record's age.

import Records
import TestSupport
import Testing

@testable import Pipeline

private let source = TopicPartition("t", 0)
private let second: UInt64 = 1_000_000_000

/// A partition of which `underWay` records are under way. `oldest`: the earliest timestamp under way.
func position(
    _ source: TopicPartition = source, generation: UInt64 = 1, applied: Int64, end: Int64?, underWay: Int = 0,
    oldest: Int64? = nil
) -> PartitionSample {
    PartitionSample(
        source: source, generation: generation, applied: applied, settled: applied, end: end, isUnderWay: underWay > 0,
        oldestTimestamp: oldest)
}

@Suite struct LagMachineTests {
    @Test func aPartitionThatIsNotReadAgesFromWhenItsRecordsWereSeen() {
        var machine = LagMachine()
        machine.asked([source], now: 10 * second)
        #expect(machine.sampled(position(applied: 5, end: nil), now: 10 * second, wallMilliseconds: 0) == nil)
        machine.endRead(source, end: 5, now: 10 * second)
        #expect(machine.sampled(position(applied: 5, end: 5), now: 11 * second, wallMilliseconds: 0) == 0)
        machine.endRead(source, end: 7, now: 12 * second)
        machine.endRead(source, end: 9, now: 14 * second)
        #expect(machine.sampled(position(applied: 5, end: 9), now: 15 * second, wallMilliseconds: 0) == 3 * second)
        // Offsets 5 and 6 are applied: the oldest is now one that was seen later.
        #expect(machine.sampled(position(applied: 7, end: 9), now: 16 * second, wallMilliseconds: 0) == 2 * second)
        #expect(machine.sampled(position(applied: 8, end: 9), now: 17 * second, wallMilliseconds: 0) == 3 * second)
        #expect(machine.sampled(position(applied: 9, end: 9), now: 18 * second, wallMilliseconds: 0) == 0)
    }

    @Test func whatIsUnderWayIsExactAndStaysSoWhenItIsDropped() {
        var machine = LagMachine()
        machine.asked([source], now: second)
        machine.endRead(source, end: 100, now: second)
        let read = position(applied: 0, end: 100, underWay: 10, oldest: 1_000)
        #expect(machine.sampled(read, now: 3 * second, wallMilliseconds: 91_000) == 90 * second)
        // The partition was claimed again: nothing of it is under way, and its oldest record is the same.
        let dropped = position(generation: 2, applied: 0, end: 100)
        #expect(machine.sampled(dropped, now: 4 * second, wallMilliseconds: 92_000) == 91 * second)
        // A producer's clock that is ahead, or ours set back, makes nothing younger.
        let ahead = position(generation: 2, applied: 0, end: 100, underWay: 10, oldest: 99_000)
        #expect(machine.sampled(ahead, now: 5 * second, wallMilliseconds: 80_000) == 92 * second)
        let next = position(generation: 2, applied: 10, end: 100, underWay: 10, oldest: 60_000)
        #expect(machine.sampled(next, now: 6 * second, wallMilliseconds: 81_000) == 21 * second)
    }

    @Test func recordsWithoutTimestampsAgeFromWhenTheyWereSeen() {
        var machine = LagMachine()
        // Read before the end was ever answered.
        #expect(machine.sampled(position(applied: 0, end: nil, underWay: 3), now: second, wallMilliseconds: 0) == 0)
        #expect(
            machine.sampled(position(applied: 0, end: nil, underWay: 3), now: 4 * second, wallMilliseconds: 0) == 3 * second)
    }

    @Test func absurdTimestampsDoNotOverflow() {
        var machine = LagMachine()
        let read = position(applied: 0, end: nil, underWay: 1, oldest: 0)
        let age = machine.sampled(read, now: second, wallMilliseconds: .max)
        #expect(age.map { $0 > 100 * 365 * 86_400 * second } == true)
    }

    @Test func anAnswerAgesUntilTheNextAndHistoriesGoWithTheirPartitions() {
        var machine = LagMachine()
        machine.asked([source], now: second)
        #expect(machine.answerAge(of: source, now: 4 * second) == 3 * second)
        machine.endRead(source, end: 8, now: 5 * second)
        // Failed questions: asked, not answered.
        machine.asked([source], now: 6 * second)
        machine.asked([source], now: 7 * second)
        #expect(machine.answerAge(of: source, now: 7 * second) == 2 * second)
        #expect(machine.sampled(position(applied: 0, end: 8), now: 9 * second, wallMilliseconds: 0) == 4 * second)
        machine.asked([TopicPartition("t", 1)], now: 10 * second)
        #expect(machine.sampled(position(applied: 0, end: 8), now: 11 * second, wallMilliseconds: 0) == 0)
    }

    @Test func aTopicCreatedAnewForgetsTheOldOne() {
        var machine = LagMachine()
        machine.endRead(source, end: 100, now: second)
        #expect(machine.sampled(position(applied: 50, end: 100), now: 9 * second, wallMilliseconds: 0) == 8 * second)
        machine.endRead(source, end: 60, now: 10 * second)
        #expect(machine.sampled(position(applied: 50, end: 60), now: 11 * second, wallMilliseconds: 0) == second)
    }

    /// Against a model with each record's true arrival: never too old, too young by an interval and a share of the age at most, and
    /// never younger while the oldest record is the same.
    @Test(arguments: 0..<8) func theBoundHoldsOverLongHistories(round: Int) {
        var random = SeededRandom(seed: testSeed("lag bound \(round)") &+ UInt64(round))
        var machine = LagMachine()
        var arrivals: [UInt64] = []
        var applied = 0
        var last: (applied: Int, age: UInt64)?
        machine.asked([source], now: 0)
        machine.endRead(source, end: 0, now: 0)
        let drains = Double(round) / 8
        for step in 1...4_000 {
            let now = UInt64(step) * second
            let count = random.unit() < 0.3 ? 0 : Int.random(in: 0...3, using: &random)
            for _ in 0..<count { arrivals.append(now - UInt64.random(in: 0..<second, using: &random)) }
            machine.endRead(source, end: Int64(arrivals.count), now: now)
            if random.unit() < drains { applied = Swift.min(arrivals.count, applied + Int.random(in: 0...3, using: &random)) }
            let shown = machine.sampled(
                position(applied: Int64(applied), end: Int64(arrivals.count)), now: now, wallMilliseconds: 0)
            guard let shown else {
                Issue.record("no age at step \(step)")
                return
            }
            if let last, last.applied == applied { #expect(shown >= last.age) }
            last = (applied, shown)
            guard applied < arrivals.count else {
                #expect(shown == 0)
                last = nil
                continue
            }
            let age = now - arrivals[applied]
            #expect(shown <= age)
            #expect(shown + second + age / 6 >= age, "\(shown / second) of \(age / second) s at step \(step)")
        }
    }
}
