// Proves when a lane pauses between transactions, and for how long.

import Backpressure
import Testing

@testable import Pipeline

@Suite struct CommitPacingTests {
    private let full = Credits(records: 5_000, bytes: 4_000_000)
    private let one = Credits(records: 1, bytes: 200)

    @Test func pausesHalfAsLongAsTheLastOneTook() {
        var pacing = CommitPacingMachine()
        #expect(pacing.nextStart(waiting: one, limit: full, now: 0) == nil, "nothing was written yet")
        pacing.ended(started: 1_000, now: 3_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 3_000) == 4_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 3_999) == 4_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 4_000) == nil, "the pause is over")
        #expect(pacing.nextStart(waiting: one, limit: full, now: 1 << 60) == nil)
    }

    @Test func aQuarterOfATransactionIsNotDelayed() {
        var pacing = CommitPacingMachine()
        pacing.ended(started: 0, now: 1_000)
        #expect(pacing.nextStart(waiting: Credits(records: 1_249, bytes: 999_999), limit: full, now: 1_000) == 1_500)
        #expect(pacing.nextStart(waiting: Credits(records: 1_250, bytes: 250_000), limit: full, now: 1_000) == nil)
        #expect(pacing.nextStart(waiting: Credits(records: 2, bytes: 1_000_000), limit: full, now: 1_000) == nil, "large records")
        #expect(pacing.nextStart(waiting: one, limit: Credits(records: 1, bytes: 4_000_000), now: 1_000) == nil)
    }

    @Test func theIntervalIsTheLeastPause() {
        var pacing = CommitPacingMachine()
        pacing.ended(started: 0, now: 1_000, interval: 5_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 1_000) == 6_000)
        #expect(pacing.nextStart(waiting: Credits(records: 1_250, bytes: 1), limit: full, now: 1_000) == nil)
        pacing.ended(started: 10_000, now: 30_000, interval: 5_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 30_000) == 40_000, "half of a longer transaction")
    }

    @Test func aSlowTransactionIsNotFollowedByALongPause() {
        var pacing = CommitPacingMachine()
        pacing.ended(started: 0, now: 30_000_000_000)
        #expect(pacing.nextStart(waiting: one, limit: full, now: 30_000_000_000) == 30_000_000_000 + CommitPacingMachine.longest)
    }
}
