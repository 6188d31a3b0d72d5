// Proves when a lane rests, and for how long.

import Backpressure
import Testing

@testable import Pipeline

@Suite struct CommitPacingTests {
    private let full = Credits(records: 5_000, bytes: 4_000_000)
    private let one = Credits(records: 1, bytes: 200)

    @Test func restsHalfAsLongAsTheLastOneTook() {
        var pace = CommitPacingMachine()
        #expect(pace.rest(waiting: one, limit: full, now: 0) == nil, "nothing was written yet")
        pace.ended(started: 1_000, now: 3_000)
        #expect(pace.rest(waiting: one, limit: full, now: 3_000) == 4_000)
        #expect(pace.rest(waiting: one, limit: full, now: 3_999) == 4_000)
        #expect(pace.rest(waiting: one, limit: full, now: 4_000) == nil, "rested")
        #expect(pace.rest(waiting: one, limit: full, now: 1 << 60) == nil)
    }

    @Test func aQuarterOfATransactionWaitsForNothing() {
        var pace = CommitPacingMachine()
        pace.ended(started: 0, now: 1_000)
        #expect(pace.rest(waiting: Credits(records: 1_249, bytes: 999_999), limit: full, now: 1_000) == 1_500)
        #expect(pace.rest(waiting: Credits(records: 1_250, bytes: 250_000), limit: full, now: 1_000) == nil)
        #expect(pace.rest(waiting: Credits(records: 2, bytes: 1_000_000), limit: full, now: 1_000) == nil, "large records")
        #expect(pace.rest(waiting: one, limit: Credits(records: 1, bytes: 4_000_000), now: 1_000) == nil)
    }

    @Test func aSlowTransactionIsNotFollowedByALongRest() {
        var pace = CommitPacingMachine()
        pace.ended(started: 0, now: 30_000_000_000)
        #expect(pace.rest(waiting: one, limit: full, now: 30_000_000_000) == 30_000_000_000 + CommitPacingMachine.longest)
    }
}
