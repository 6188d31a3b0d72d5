// Transcripts of pauses for lack of credits: their dwell, what a partition inherits, and how flapping is limited.

import Backpressure
import Testing

private let limits = PauseDecisionMachine.Limits(dwell: 100, low: 0.25, high: 0.75)
private let total = Credits(records: 100, bytes: 100)

extension PauseDecisionMachine {
    fileprivate mutating func read(_ records: Int, wasAvailable: Bool = false, at now: UInt64) -> Action {
        levelRead(free: Credits(records: records, bytes: 100), total: total, wasAvailable: wasAvailable, now: now, limits: limits)
    }
}

@Suite struct PauseDecisionTests {
    @Test func creditsBetweenTwoReadingsEndAStarvation() {
        var decision = PauseDecisionMachine()
        #expect(decision.read(0, at: 0) == .none)
        // Every level that is read is low, as it is under full load, but credits came and went in between.
        for now in stride(from: UInt64(10), through: 1000, by: 10) {
            #expect(decision.read(0, wasAvailable: now % 50 == 0, at: now) == .none)
        }
        #expect(decision.read(0, at: 1010) == .none)
        #expect(decision.read(0, at: 1110) == .pause)
    }

    @Test func anInheritedStarvationCountsFromItsBeginning() {
        var late = PauseDecisionMachine(starvedSince: 50)
        #expect(late.isStarved == true)
        #expect(late.read(0, at: 149) == .none)
        #expect(late.read(0, at: 150) == .pause)
        var again = PauseDecisionMachine(starvedSince: 50)
        #expect(again.read(80, at: 400) == .none)
        #expect(again.isStarved == false)
        #expect(again.read(0, at: 410) == .none, "the starvation had a break")
        #expect(again.read(0, at: 510) == .pause)
    }

    /// Starved again at once after each resume: the pauses come further and further apart, up to a bound.
    @Test func eachFlapDelaysTheNextPause() {
        var decision = PauseDecisionMachine()
        var pauses: [UInt64] = []
        for now in stride(from: UInt64(0), to: 12_000, by: 10) {
            switch decision.read(decision.isPaused ? 100 : 0, at: now) {
            case .pause: pauses.append(now)
            case .resume, .none: break
            }
        }
        #expect(pauses == [100, 220, 430, 840, 1650, 3260, 4870, 6480, 8090, 9700, 11310])
        #expect(decision.flaps == pauses.count - 1)
        let gaps = zip(pauses.dropFirst(), pauses).map { $0 - $1 }
        #expect(gaps.allSatisfy { $0 <= limits.longestHold + 30 })
    }

    @Test func windowsWithoutAPauseTakeTheDelayBack() {
        var decision = PauseDecisionMachine()
        var now: UInt64 = 0
        func step() -> UInt64 {
            now += 10
            return now
        }
        while decision.flaps < 4 { _ = decision.read(decision.isPaused ? 100 : 0, at: step()) }
        #expect(decision.read(100, at: step()) == .resume)
        let resumed = now
        // Five windows without a pause: as new.
        while now < resumed + 5 * limits.window { #expect(decision.read(100, at: step()) == .none) }
        let starved = step()
        #expect(decision.read(0, at: starved) == .none)
        #expect(decision.read(0, at: starved + 99) == .none)
        #expect(decision.read(0, at: starved + 100) == .pause)
        #expect(decision.flaps == 4, "it comes long after the last resume")
    }

    @Test func aStarvationOfThePipelineLastsUntilItsFirstBreak() {
        var starvation = StarvationMachine()
        #expect(starvation.since == nil)
        starvation.levelRead(isStarved: true, now: 5)
        starvation.levelRead(isStarved: true, now: 9)
        #expect(starvation.since == 5)
        starvation.levelRead(isStarved: false, now: 10)
        #expect(starvation.since == nil)
        starvation.levelRead(isStarved: true, now: 11)
        #expect(starvation.since == 11)
    }
}

@Suite struct CreditSampleTests {
    @Test func availabilityIsRememberedUntilTheNextSample() {
        var account = CreditMachine(total: Credits(records: 100, bytes: 100), lowWatermark: 0.25)
        #expect(account.sampled() == true)
        account.spent(Credits(records: 100, bytes: 100))
        #expect(account.sampled() == true, "credits were free after the last sample")
        #expect(account.sampled() == false)
        _ = account.returned(Credits(records: 24, bytes: 24))
        #expect(account.sampled() == false)
        _ = account.returned(Credits(records: 1, bytes: 1))
        account.spent(Credits(records: 25, bytes: 25))
        #expect(account.sampled() == true)
        #expect(account.sampled() == false)
    }
}
