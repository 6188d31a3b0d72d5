// Transcripts of the pause machine, and a model that its actions must agree with.

import Records
import TestSupport
import Testing

@testable import Pipeline

@Suite struct PauseMachineTests {
    @Test func anOperatorPausesAndResumes() {
        var machine = PauseMachine()
        #expect(machine.operatorDecided(isPaused: false) == [])
        #expect(machine.operatorDecided(isPaused: true) == [.closeAccount, .pause])
        #expect(machine.operatorDecided(isPaused: true) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openAccount, .resume])
        #expect(machine.operatorDecided(isPaused: false) == [])
    }

    @Test func aPartitionIsResumedOnlyWhenNeitherPausesIt() {
        var machine = PauseMachine()
        #expect(machine.creditsDecided(isPaused: true) == [.pause])
        #expect(machine.operatorDecided(isPaused: true) == [.closeAccount])
        #expect(machine.creditsDecided(isPaused: false) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openAccount, .resume])

        #expect(machine.operatorDecided(isPaused: true) == [.closeAccount, .pause])
        #expect(machine.creditsDecided(isPaused: true) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openAccount])
        #expect(machine.creditsDecided(isPaused: false) == [.resume])
    }

    @Test func aRetractedPartitionStaysClosed() {
        var machine = PauseMachine()
        machine.retracted()
        #expect(machine.operatorDecided(isPaused: true) == [.pause])
        #expect(machine.operatorDecided(isPaused: false) == [.resume])
        #expect(machine.operatorDecided(isPaused: true) == [.pause])
        let isOpenWhilePaused = machine.restarted()
        #expect(!isOpenWhilePaused)
        #expect(machine.operatorDecided(isPaused: false) == [.openAccount, .resume])
        machine.retracted()
        let isOpen = machine.restarted()
        #expect(isOpen)
        #expect(machine.operatorDecided(isPaused: false) == [])
    }

    /// After any inputs in any order, account and source are as wanted, and no action is repeated.
    @Test func agreesWithItsModel() {
        var random = SeededRandom(seed: testSeed("pause machine"))
        for _ in 0..<2_000 {
            var machine = PauseMachine()
            var (isInService, lacksCredits, isPausedByOperator, isAccountOpen, isPaused) = (true, false, false, true, false)
            for _ in 0..<40 {
                var actions: [PauseMachine.Action] = []
                let wish = random.unit() < 0.5
                switch random.unit() {
                case ..<0.35:
                    lacksCredits = wish
                    actions = machine.creditsDecided(isPaused: wish)
                case ..<0.7:
                    isPausedByOperator = wish
                    actions = machine.operatorDecided(isPaused: wish)
                case ..<0.85:
                    isInService = false
                    isAccountOpen = false
                    machine.retracted()
                default:
                    isInService = true
                    isAccountOpen = machine.restarted()
                }
                for action in actions {
                    switch action {
                    case .closeAccount, .openAccount:
                        #expect(isAccountOpen == (action == .closeAccount))
                        isAccountOpen.toggle()
                    case .pause, .resume:
                        #expect(isPaused == (action == .resume))
                        isPaused.toggle()
                    }
                }
                #expect(isAccountOpen == (isInService && !isPausedByOperator))
                #expect(isPaused == (lacksCredits || isPausedByOperator))
            }
        }
    }

    @Test func theMostSpecificPauseGivesTheReason() {
        let pauses = OperatorPauses([
            OperatorPause(topic: "a", partition: 1, reason: "one"), OperatorPause(topic: "a", reason: "topic"),
            OperatorPause(topic: "b", partition: 0, reason: "b"),
        ])
        #expect(pauses.reason(for: TopicPartition("a", 1)) == "one")
        #expect(pauses.reason(for: TopicPartition("a", 2)) == "topic")
        #expect(pauses.reason(for: TopicPartition("b", 0)) == "b")
        #expect(pauses.reason(for: TopicPartition("b", 1)) == nil)
        #expect(OperatorPauses([OperatorPause(reason: "all")]).reason(for: TopicPartition("b", 1)) == "all")
        #expect(OperatorPauses.none.reason(for: TopicPartition("a", 1)) == nil)
    }
}
