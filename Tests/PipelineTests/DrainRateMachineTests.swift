// Transcripts of the drain rate: steady, stepping, stalled, caught up, and across assignments.

import Records
import Testing

@testable import Pipeline

private let second: UInt64 = 1_000_000_000

/// Samples one partition once a second that drains and grows at given rates.
private struct Flow: ~Copyable {
    var machine = DrainRateMachine()
    var now: UInt64 = 0
    var applied: Int64 = 0
    var end: Int64
    var generation: UInt64 = 1
    var records = 0

    init(end: Int64) {
        self.end = end
        sample()
    }

    mutating func sample() {
        machine.sampled(
            [position(generation: generation, applied: applied, end: end)], records: records, now: now, window: 12 * second)
    }

    mutating func run(seconds: Int, drain: Int64, arrival: Int64) {
        for _ in 0..<seconds * 10 {
            now += second / 10
            end += arrival / 10
            let step = Swift.min(drain / 10, end - applied)
            applied += step
            records += Int(step)
            sample()
        }
    }

    var eta: Double { machine.secondsToDrain(end - applied) }
}

@Suite struct DrainRateMachineTests {
    @Test func aConstantRateIsMeasuredFromItsFirstSeconds() {
        var flow = Flow(end: 1_000_000)
        #expect(flow.machine.drainRate == 0)
        #expect(flow.eta == .infinity)
        flow.run(seconds: 2, drain: 1_000, arrival: 200)
        #expect(flow.machine.drainRate == 1_000)
        #expect(flow.machine.arrivalRate == 200)
        flow.run(seconds: 100, drain: 1_000, arrival: 200)
        #expect(abs(flow.machine.drainRate - 1_000) < 1)
        #expect(abs(flow.machine.arrivalRate - 200) < 1)
        #expect(abs(flow.eta - Double(flow.end - flow.applied) / 800) < 2)
    }

    @Test func aYoungWindowMakesNoPeak() {
        var flow = Flow(end: 1_000_000)
        // A whole batch a millisecond after the first sample is not a million per second.
        flow.now += 1_000_000
        flow.applied += 5_000
        flow.records += 5_000
        flow.sample()
        #expect(flow.machine.drainRate == 5_000)
    }

    @Test func aStepIsFollowedWithinAWindow() {
        var flow = Flow(end: 10_000_000)
        flow.run(seconds: 30, drain: 1_000, arrival: 0)
        flow.run(seconds: 6, drain: 3_000, arrival: 0)
        #expect(flow.machine.drainRate > 1_800 && flow.machine.drainRate < 2_200)
        flow.run(seconds: 7, drain: 3_000, arrival: 0)
        #expect(abs(flow.machine.drainRate - 3_000) < 1)
    }

    @Test func aStallIsZeroAndNeverEnds() {
        var flow = Flow(end: 100_000)
        flow.run(seconds: 30, drain: 1_000, arrival: 0)
        #expect(abs(flow.eta - 70) < 1)
        flow.run(seconds: 14, drain: 0, arrival: 0)
        #expect(flow.machine.drainRate == 0)
        #expect(flow.eta == .infinity)
        flow.run(seconds: 2, drain: 1_000, arrival: 0)
        #expect(flow.eta.isFinite)
    }

    @Test func moreThanDrainsNeverEnds() {
        var flow = Flow(end: 100_000)
        flow.run(seconds: 30, drain: 1_000, arrival: 2_000)
        #expect(flow.eta == .infinity)
    }

    @Test func aWorkerThatKeepsUpIsNotToldInfinity() {
        var flow = Flow(end: 0)
        #expect(flow.eta == 0)
        flow.run(seconds: 30, drain: 5_000, arrival: 1_000)
        #expect(flow.eta == 0)
        // The records under way in a steady flow.
        #expect(abs(flow.machine.secondsToDrain(300) - 0.3) < 0.01)
        // More than a steady flow has under way, and it does not shrink.
        #expect(flow.machine.secondsToDrain(10_000) == .infinity)
    }

    @Test func assignmentsMakeNoPeaks() {
        var flow = Flow(end: 100_000)
        flow.run(seconds: 20, drain: 1_000, arrival: 0)
        // Revoked, drained and filled by others, and assigned again.
        flow.machine.sampled([], records: flow.records, now: flow.now, window: 12 * second)
        flow.applied += 50_000
        flow.end += 1_000_000
        flow.sample()
        #expect(abs(flow.machine.drainRate - 1_000) < 1)
        #expect(flow.machine.arrivalRate == 0)
        // Claimed again at another offset.
        flow.generation = 2
        flow.applied += 70_000
        flow.sample()
        flow.run(seconds: 20, drain: 1_000, arrival: 0)
        #expect(abs(flow.machine.drainRate - 1_000) < 1)
        // The end is answered late: the backlog of a new partition has not arrived in the window.
        var late = DrainRateMachine()
        late.sampled([position(applied: 0, end: nil)], records: 0, now: 0, window: 12 * second)
        late.sampled([position(applied: 0, end: 1_000_000)], records: 0, now: second, window: 12 * second)
        #expect(late.arrivalRate == 0)
    }
}
