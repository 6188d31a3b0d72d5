// Transcripts of stop and go by the worker's lag.

import Testing

@testable import sluice_loadtest

@Suite struct BacklogTests {
    @Test func theLoadStopsAtTheLimitAndGoesOnWellBelowIt() {
        var backlog = BacklogMachine(limit: 1000)
        #expect(backlog.lagged(999, at: 0) == .send)
        #expect(backlog.lagged(1000, at: 10) == .wait)
        #expect(backlog.lagged(800, at: 20) == .wait)
        #expect(backlog.lagged(749, at: 30) == .sendAgain(waitedSince: 10))
        #expect(backlog.lagged(800, at: 40) == .send)
        #expect(backlog.lagged(1200, at: 50) == .wait)
    }

    @Test func aLimitOfOneCanBeReachedAndLeft() {
        var backlog = BacklogMachine(limit: 1)
        #expect(backlog.lagged(1, at: 0) == .wait)
        #expect(backlog.lagged(0, at: 5) == .sendAgain(waitedSince: 0))
    }

    @Test func aWorkerThatStandsStillIsNoticed() {
        var backlog = BacklogMachine(limit: 100)
        #expect(backlog.stuck(at: 1_000_000) == 0)
        #expect(backlog.lagged(150, at: 1000) == .wait)
        #expect(backlog.lagged(150, at: 5000) == .wait)
        #expect(backlog.stuck(at: 5000) == 4000)
        #expect(backlog.lagged(149, at: 6000) == .wait)
        #expect(backlog.stuck(at: 6000) == 0)
        #expect(backlog.lagged(150, at: 7000) == .wait)
        #expect(backlog.stuck(at: 9000) == 3000)
        #expect(backlog.lagged(0, at: 9500) == .sendAgain(waitedSince: 1000))
        #expect(backlog.stuck(at: 50_000) == 0)
    }
}
