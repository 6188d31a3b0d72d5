// Transcripts of the second brake: its dwell, what it inherits, and how it keeps from flapping.

import Backpressure
import Testing

private let limits = PauseDecisionMachine.Limits(dwell: 100, low: 0.25, high: 0.75)
private let total = Credits(records: 100, bytes: 100)

extension PauseDecisionMachine {
    fileprivate mutating func read(_ records: Int, hadRoom: Bool = false, at now: UInt64) -> Action {
        levelRead(free: Credits(records: records, bytes: 100), total: total, hadRoom: hadRoom, now: now, limits: limits)
    }
}

@Suite struct PauseDecisionTests {
    @Test func roomBetweenTwoReadingsBreaksAStarvation() {
        var brake = PauseDecisionMachine()
        #expect(brake.read(0, at: 0) == .none)
        // Every level that is read is low, as it is under full load, but credits came and went in between.
        for now in stride(from: UInt64(10), through: 1000, by: 10) {
            #expect(brake.read(0, hadRoom: now % 50 == 0, at: now) == .none)
        }
        #expect(brake.read(0, at: 1010) == .none)
        #expect(brake.read(0, at: 1110) == .pause)
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
    @Test func flappingMakesEachPauseWaitLonger() {
        var brake = PauseDecisionMachine()
        var pauses: [UInt64] = []
        for now in stride(from: UInt64(0), to: 12_000, by: 10) {
            switch brake.read(brake.isPaused ? 100 : 0, at: now) {
            case .pause: pauses.append(now)
            case .resume, .none: break
            }
        }
        #expect(pauses == [100, 220, 430, 840, 1650, 3260, 4870, 6480, 8090, 9700, 11310])
        #expect(brake.flaps == pauses.count - 1)
        let gaps = zip(pauses.dropFirst(), pauses).map { $0 - $1 }
        #expect(gaps.allSatisfy { $0 <= limits.longestHold + 30 })
    }

    @Test func calmTakesTheWaitBack() {
        var brake = PauseDecisionMachine()
        var now: UInt64 = 0
        func step() -> UInt64 {
            now += 10
            return now
        }
        while brake.flaps < 4 { _ = brake.read(brake.isPaused ? 100 : 0, at: step()) }
        #expect(brake.read(100, at: step()) == .resume)
        let resumed = now
        // Five windows without a pause: as new.
        while now < resumed + 5 * limits.window { #expect(brake.read(100, at: step()) == .none) }
        let starved = step()
        #expect(brake.read(0, at: starved) == .none)
        #expect(brake.read(0, at: starved + 99) == .none)
        #expect(brake.read(0, at: starved + 100) == .pause)
        #expect(brake.flaps == 4, "it comes long after the last resume")
    }

    @Test func aStarvationOfTheWholeLastsUntilItsFirstBreak() {
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

@Suite struct RoomTests {
    @Test func roomIsRememberedUntilItIsRead() {
        var account = CreditMachine(total: Credits(records: 100, bytes: 100), lowWatermark: 0.25)
        #expect(account.roomRead() == true)
        account.spent(Credits(records: 100, bytes: 100))
        #expect(account.roomRead() == true, "there was room after the last reading")
        #expect(account.roomRead() == false)
        _ = account.returned(Credits(records: 24, bytes: 24))
        #expect(account.roomRead() == false)
        _ = account.returned(Credits(records: 1, bytes: 1))
        account.spent(Credits(records: 25, bytes: 25))
        #expect(account.roomRead() == true)
        #expect(account.roomRead() == false)
    }
}
