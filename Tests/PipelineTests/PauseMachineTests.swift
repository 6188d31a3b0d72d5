// Transcripts of the pause machine, and a model that its actions must agree with.

import Records
import TestSupport
import Testing

@testable import Pipeline

@Suite struct PauseMachineTests {
    @Test func anOperatorPausesAndResumes() {
        var machine = PauseMachine()
        #expect(machine.operatorDecided(isPaused: false) == [])
        #expect(machine.operatorDecided(isPaused: true) == [.shutGate, .pause])
        #expect(machine.operatorDecided(isPaused: true) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openGate, .resume])
        #expect(machine.operatorDecided(isPaused: false) == [])
    }

    @Test func aPartitionIsResumedOnlyWhereNeitherHoldsIt() {
        var machine = PauseMachine()
        #expect(machine.brakeMoved(isPulled: true) == [.pause])
        #expect(machine.operatorDecided(isPaused: true) == [.shutGate])
        #expect(machine.brakeMoved(isPulled: false) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openGate, .resume])

        #expect(machine.operatorDecided(isPaused: true) == [.shutGate, .pause])
        #expect(machine.brakeMoved(isPulled: true) == [])
        #expect(machine.operatorDecided(isPaused: false) == [.openGate])
        #expect(machine.brakeMoved(isPulled: false) == [.resume])
    }

    @Test func aPartitionOutOfServiceStaysShut() {
        var machine = PauseMachine()
        machine.retracted()
        #expect(machine.operatorDecided(isPaused: true) == [.pause])
        #expect(machine.operatorDecided(isPaused: false) == [.resume])
        #expect(machine.operatorDecided(isPaused: true) == [.pause])
        let isOpenWhilePaused = machine.restarted()
        #expect(!isOpenWhilePaused)
        #expect(machine.operatorDecided(isPaused: false) == [.openGate, .resume])
        machine.retracted()
        let isOpen = machine.restarted()
        #expect(isOpen)
        #expect(machine.operatorDecided(isPaused: false) == [])
    }

    /// Whatever comes in whatever order, gate and source are where the wishes want them, and nothing is said twice.
    @Test func agreesWithItsModel() {
        var random = SeededRandom(seed: testSeed("pause machine"))
        for _ in 0..<2_000 {
            var machine = PauseMachine()
            var (isInService, isBraked, isOperators, isGateOpen, isPaused) = (true, false, false, true, false)
            for _ in 0..<40 {
                var actions: [PauseMachine.Action] = []
                let wish = random.unit() < 0.5
                switch random.unit() {
                case ..<0.35:
                    isBraked = wish
                    actions = machine.brakeMoved(isPulled: wish)
                case ..<0.7:
                    isOperators = wish
                    actions = machine.operatorDecided(isPaused: wish)
                case ..<0.85:
                    isInService = false
                    isGateOpen = false
                    machine.retracted()
                default:
                    isInService = true
                    isGateOpen = machine.restarted()
                }
                for action in actions {
                    switch action {
                    case .shutGate, .openGate:
                        #expect(isGateOpen == (action == .shutGate))
                        isGateOpen.toggle()
                    case .pause, .resume:
                        #expect(isPaused == (action == .resume))
                        isPaused.toggle()
                    }
                }
                #expect(isGateOpen == (isInService && !isOperators))
                #expect(isPaused == (isBraked || isOperators))
            }
        }
    }

    @Test func theNarrowestPauseSaysWhy() {
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
