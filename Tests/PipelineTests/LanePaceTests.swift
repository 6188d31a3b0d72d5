// Proves when a lane rests, and for how long.

import Testing

@testable import Pipeline

@Suite struct LanePaceTests {
    @Test func restsAsLongAsTheLastOneTook() {
        var pace = LanePaceMachine()
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 0) == nil, "nothing was written yet")
        pace.ended(started: 1_000, now: 3_000)
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 3_000) == 5_000)
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 4_999) == 5_000)
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 5_000) == nil, "rested")
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 1 << 60) == nil)
    }

    @Test func aQuarterOfATransactionWaitsForNothing() {
        var pace = LanePaceMachine()
        pace.ended(started: 0, now: 1_000)
        #expect(pace.rest(waiting: 1_249, limit: 5_000, now: 1_000) == 2_000)
        #expect(pace.rest(waiting: 1_250, limit: 5_000, now: 1_000) == nil)
        #expect(pace.rest(waiting: 1, limit: 1, now: 1_000) == nil)
    }

    @Test func aSlowTransactionIsNotFollowedByALongRest() {
        var pace = LanePaceMachine()
        pace.ended(started: 0, now: 30_000_000_000)
        #expect(pace.rest(waiting: 1, limit: 5_000, now: 30_000_000_000) == 30_000_000_000 + LanePaceMachine.longest)
    }
}
