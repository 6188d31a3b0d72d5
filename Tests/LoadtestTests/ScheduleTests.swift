// Transcripts of the schedule with times made up: an open loop never waits for an answer.

import Testing

@testable import sluice_loadtest

@Suite struct ScheduleTests {
    private let second: UInt64 = 1_000_000_000

    @Test func eventsAreDueByTheClockAlone() {
        var schedule = ScheduleMachine(start: 100, rate: 1000, events: nil, duration: second)
        #expect(schedule.due(at: 99) == 0)
        #expect(schedule.due(at: 100) == 1)
        #expect(schedule.due(at: 100 + 5_000_000) == 6)
        #expect(schedule.issue(at: 100 + 5_000_000) == (0, 100))
        #expect(schedule.issue(at: 100 + 5_000_000) == (1, 100 + 1_000_000))
        #expect(schedule.due(at: 100 + 5_000_000) == 4)
        #expect(schedule.nextDue() == 100 + 2_000_000)
    }

    @Test func aSenderThatStalledFindsEverythingDueAtItsOldTime() {
        var schedule = ScheduleMachine(start: 0, rate: 10, events: nil, duration: 10 * second)
        #expect(schedule.due(at: 5 * second) == 51)
        for index in 0..<51 {
            let issued = schedule.issue(at: 5 * second)
            #expect(issued.index == UInt64(index))
            #expect(issued.dueAt == UInt64(index) * second / 10)
        }
        #expect(schedule.due(at: 5 * second) == 0)
    }

    @Test func theEndIsByTimeOrByCount() {
        var timed = ScheduleMachine(start: 0, rate: 100, events: nil, duration: second)
        #expect(timed.due(at: 50 * second) == 100)
        #expect(timed.isFinished(at: 50 * second) == false)
        for _ in 0..<100 { _ = timed.issue(at: 50 * second) }
        #expect(timed.isFinished(at: 50 * second) == true)

        var counted = ScheduleMachine(start: 0, rate: 100, events: 30, duration: nil)
        #expect(counted.due(at: 50 * second) == 30)
        for _ in 0..<30 { _ = counted.issue(at: 50 * second) }
        #expect(counted.isFinished(at: 0) == true)
    }

    @Test func withoutARateEverythingIsDueAtOnce() {
        var schedule = ScheduleMachine(start: 10, rate: 0, events: 1000, duration: second)
        #expect(schedule.due(at: 9) == 0)
        #expect(schedule.due(at: 10) == 1000)
        #expect(schedule.issue(at: 77) == (0, 77))
        #expect(schedule.nextDue() == nil)
        #expect(schedule.due(at: 10 + second) == 0)
        #expect(schedule.isFinished(at: 10 + second) == true)
    }

    @Test func waitingForTheBacklogShiftsWhatWasNotYetDue() {
        var schedule = ScheduleMachine(start: 0, rate: 1000, events: nil, duration: 10 * second)
        for _ in 0..<schedule.due(at: second) { _ = schedule.issue(at: second) }
        schedule.backlogWaited(from: second, to: 3 * second)
        #expect(schedule.due(at: 3 * second) == 0)
        #expect(schedule.due(at: 3 * second + 2_000_000) == 2)
        let issued = schedule.issue(at: 3 * second + 2_000_000)
        #expect(issued == (1001, 3 * second + 1_000_000))
        #expect(schedule.held == 2 * second)
        #expect(schedule.due(at: 100 * second) == 8000 - 1002)
    }
}

extension ScheduleTests {
    @Test func whatCannotBeSentInTimeIsGivenUpAfterASecond() {
        var schedule = ScheduleMachine(start: 0, rate: 100, events: nil, duration: 2_000_000_000)
        for _ in 0..<50 { _ = schedule.issue(at: 1) }
        #expect(schedule.isOverdue(at: 2_999_999_999) == false)
        #expect(schedule.isOverdue(at: 3_000_000_000) == true)
        #expect(schedule.gaveUp(at: 3_000_000_000) == 150)
        #expect(schedule.issued == 200)
        #expect(schedule.isFinished(at: 3_000_000_000) == true)
        let endless = ScheduleMachine(start: 0, rate: 100, events: 5, duration: nil)
        #expect(endless.isOverdue(at: .max) == false)
    }
}
