// Proves that read rates hold in both units, of all topics and of single ones, and that a change refills nothing.

import Backpressure
import TestSupport
import Testing

private let second: UInt64 = 1_000_000_000
private typealias Rates = ConsumeLimits.Rates

/// The levels of the buckets at time 0, in both units.
private func expectLevel(
    _ machine: inout ConsumeLimitMachine, topic: String? = nil, _ records: Int?, _ bytes: Int?,
    at place: SourceLocation = #_sourceLocation
) {
    let level = machine.availableTokens(topic: topic, at: 0)
    #expect(level.records == records, sourceLocation: place)
    #expect(level.bytes == bytes, sourceLocation: place)
}

@Suite struct ConsumeLimitTests {
    @Test func theLowestRateDecidesAndAllAreCharged() {
        var machine = ConsumeLimitMachine(
            ConsumeLimits(
                all: Rates(events: 1_000, bytes: 100_000), topics: ["a": Rates(events: 200), "b": Rates(bytes: 2_000)]),
            now: 0)
        machine.assigned(topics: ["a", "b", "c"])
        #expect(machine.allowanceAsked(slot: 0, now: 0) == Credits(records: 10, bytes: 5_000))
        #expect(machine.allowanceAsked(slot: 1, now: 0) == Credits(records: 50, bytes: 100))
        #expect(machine.allowanceAsked(slot: 2, now: 0) == Credits(records: 50, bytes: 5_000))
        machine.spent(slot: 0, Credits(records: 10, bytes: 900), now: 0)
        expectLevel(&machine, 90, 9_100)
        expectLevel(&machine, topic: "a", 10, nil)
        expectLevel(&machine, topic: "b", nil, 200)
        expectLevel(&machine, topic: "c", nil, nil)
    }

    @Test func aRefusedReaderLearnsWhenToReadAgain() {
        var machine = ConsumeLimitMachine(ConsumeLimits(topics: ["a": Rates(events: 100)]), now: 0)
        machine.assigned(topics: ["a", "b"])
        #expect(machine.openingAsked() == nil)
        machine.spent(slot: 0, Credits(records: 10, bytes: 10), now: 0)
        #expect(machine.allowanceAsked(slot: 1, now: 0) != .zero, "another topic is not delayed")
        #expect(machine.openingAsked() == nil)
        #expect(machine.allowanceAsked(slot: 0, now: 0) == .zero)
        #expect(machine.openingAsked() == second / 20)
        #expect(machine.openingAsked() == nil)
        #expect(machine.allowanceAsked(slot: 0, now: second / 20) == Credits(records: 5, bytes: .max))
    }

    @Test func aRecordLargerThanAllPassesAndIsPaidFor() {
        var machine = ConsumeLimitMachine(ConsumeLimits(all: Rates(bytes: 1_000)), now: 0)
        machine.assigned(topics: ["a"])
        #expect(machine.allowanceAsked(slot: 0, now: 0) == Credits(records: .max, bytes: 50))
        machine.spent(slot: 0, Credits(records: 1, bytes: 5_100), now: 0)
        #expect(machine.allowanceAsked(slot: 0, now: 5 * second) == .zero)
        #expect(machine.openingAsked() == 5_050_000_000)
        #expect(machine.allowanceAsked(slot: 0, now: 5_050_000_000) != .zero)
    }

    @Test func oneEventASecondIsPossible() {
        var machine = ConsumeLimitMachine(ConsumeLimits(all: Rates(events: 1)), now: 0)
        machine.assigned(topics: ["a"])
        #expect(machine.allowanceAsked(slot: 0, now: 0).records == 1)
        machine.spent(slot: 0, Credits(records: 1, bytes: 1), now: 0)
        #expect(machine.allowanceAsked(slot: 0, now: second - 1) == .zero)
        #expect(machine.allowanceAsked(slot: 0, now: second).records == 1)
    }

    @Test func aChangeKeepsLevelsAndRefillsNothing() {
        let limits = ConsumeLimits(all: Rates(events: 1_000), topics: ["a": Rates(events: 500)])
        var machine = ConsumeLimitMachine(limits, now: 0)
        machine.assigned(topics: ["a"])
        machine.spent(slot: 0, Credits(records: 30, bytes: 30), now: 0)
        machine.update(ConsumeLimits(all: Rates(events: 100_000, bytes: 1 << 20), topics: limits.topics), now: 0)
        // A new limit begins empty.
        expectLevel(&machine, 70, 0)
        expectLevel(&machine, topic: "a", 20, nil)
        // Off and on again.
        machine.update(ConsumeLimits(), now: 0)
        #expect(machine.isLimited == false)
        #expect(machine.allowanceAsked(slot: 0, now: 0) == Credits(records: .max, bytes: .max))
        machine.update(limits, now: 0)
        expectLevel(&machine, 0, nil)
        expectLevel(&machine, topic: "a", 0, nil)
        #expect(machine.allowanceAsked(slot: 0, now: 0) == .zero, "the assigned slots know the new buckets")
    }

    /// Partitions of three topics read round robin what they may, with changes of the limits in between.
    @Test func randomReadingKeepsEveryRateInEverySpan() {
        let seed = testSeed("read limits")
        var random = SeededRandom(seed: seed)
        let topics = ["a", "b", "a", "c", "b"]
        for round in 0..<30 {
            func rates(_ most: Int) -> Rates {
                Rates(
                    events: Bool.random(using: &random) ? Int.random(in: 1...most, using: &random) : 0,
                    bytes: Bool.random(using: &random) ? Int.random(in: 1...most * 100, using: &random) : 0)
            }
            let limits = ConsumeLimits(all: rates(5_000), topics: ["a": rates(2_000), "b": rates(2_000)])
            var machine = ConsumeLimitMachine(limits, now: 0)
            machine.assigned(topics: topics)
            var reads: [(time: UInt64, topic: String, amount: Credits)] = []
            var now: UInt64 = 0
            for _ in 0..<400 {
                now += UInt64.random(in: 0...5_000_000, using: &random)
                // The same limits again: a reload that changes nothing changes nothing.
                if Int.random(in: 0..<20, using: &random) == 0 { machine.update(limits, now: now) }
                let slot = Int.random(in: topics.indices, using: &random)
                let allowance = machine.allowanceAsked(slot: slot, now: now)
                guard allowance.isPositive else { continue }
                let records = Int.random(in: 1...Swift.min(allowance.records, 300), using: &random)
                let bytes = Int.random(in: 0...Swift.min(allowance.bytes, 30_000) + 200, using: &random)
                machine.spent(slot: slot, Credits(records: records, bytes: bytes), now: now)
                reads.append((now, topics[slot], Credits(records: records, bytes: bytes)))
            }
            func check(_ rates: Rates, _ reads: [(time: UInt64, topic: String, amount: Credits)]) {
                for first in reads.indices {
                    var sum = Credits.zero
                    for last in first..<reads.endIndex {
                        sum += reads[last].amount
                        let span = Double(reads[last].time - reads[first].time) / 1e9
                        if rates.events > 0 {
                            let bound = Swift.max(1, (Double(rates.events) / 10).rounded(.up)) + Double(rates.events) * span
                            #expect(Double(sum.records) <= bound + 1e-3, "seed \(seed), round \(round)")
                        }
                        if rates.bytes > 0 {
                            let bound = (Double(rates.bytes) / 10).rounded(.up) + Double(rates.bytes) * span
                            #expect(Double(sum.bytes) <= bound + 200 + 1e-3, "seed \(seed), round \(round)")
                        }
                    }
                }
            }
            check(limits.all, reads)
            for (topic, rates) in limits.topics { check(rates, reads.filter { $0.topic == topic }) }
        }
    }

    @Test func theShellReadsNoClockWithoutALimit() {
        let asked = Shared(0)
        let limiter = ConsumeLimiter(ConsumeLimits(), batch: Credits(records: 100, bytes: 300)) {
            asked.withLock { $0 += 1 }
            return 0
        }
        limiter.assigned(topics: ["a"])
        let before = asked.current
        #expect(limiter.allowance(slot: 0, within: Credits(records: 50, bytes: 900)) == Credits(records: 50, bytes: 300))
        limiter.spent(slot: 0, Credits(records: 50, bytes: 300))
        #expect(limiter.opensIn() == nil)
        #expect(asked.current == before)
        limiter.update(ConsumeLimits(all: Rates(events: 100)), batch: Credits(records: 7, bytes: 300))
        #expect(limiter.allowance(slot: 0, within: Credits(records: 50, bytes: 900)) == .zero)
        #expect(limiter.opensIn() == second / 20)
    }
}
