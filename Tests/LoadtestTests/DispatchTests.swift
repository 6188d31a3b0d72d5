// Lets requests be answered in random order and checks that a key's events never overtake each other.

import Platform
import Records
import Testing

@testable import sluice_loadtest

@Suite struct DispatchTests {
    private func due(_ index: UInt64, _ slot: Int32) -> DueEvent {
        DueEvent(event: PlannedEvent(index: index, slot: slot, operation: .upsert, flaw: nil), dueAt: index)
    }

    @Test func aBusyKeyDelaysOnlyItself() {
        var dispatch = DispatchMachine(connections: 3, limit: 100)
        for (index, slot) in [(0, 1), (1, 1), (2, 2), (3, 1)] {
            #expect(dispatch.becameDue(due(UInt64(index), Int32(slot))) == true)
        }
        #expect(dispatch.next()?.event.index == 0)
        #expect(dispatch.next()?.event.index == 2)
        #expect(dispatch.next() == nil)
        #expect(dispatch.underWay == 2 && dispatch.waiting == 2)
        dispatch.answered(slot: 1)
        #expect(dispatch.next()?.event.index == 1)
        #expect(dispatch.next() == nil)
    }

    @Test func beyondTheLimitEventsAreRefused() {
        var dispatch = DispatchMachine(connections: 1, limit: 2)
        #expect(dispatch.becameDue(due(0, 0)) == true)
        #expect(dispatch.becameDue(due(1, 1)) == true)
        #expect(dispatch.becameDue(due(2, 2)) == false)
        #expect(dispatch.next() != nil)
        #expect(dispatch.becameDue(due(3, 0)) == true)
    }

    @Test func abandoningForgetsWhatWaitsAndKeepsWhatIsUnderWay() {
        var dispatch = DispatchMachine(connections: 1, limit: 10)
        for index in 0..<5 { #expect(dispatch.becameDue(due(UInt64(index), Int32(index % 2))) == true) }
        #expect(dispatch.next()?.event.index == 0)
        #expect(dispatch.abandoned() == 4)
        #expect(dispatch.isEmpty == false)
        dispatch.answered(slot: 0)
        #expect(dispatch.isEmpty == true)
        #expect(dispatch.next() == nil)
    }

    @Test func atRandomEachKeyKeepsItsOrder() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("dispatch test, seed \(seed)")
        var random = SplitMix64(seed: seed)
        var dispatch = DispatchMachine(connections: 8, limit: 500)
        var underWay: [Int32: UInt64] = [:]
        var lastSent: [Int32: UInt64] = [:]
        var accepted = 0
        var answered = 0
        var index: UInt64 = 0
        for step in 0..<60_000 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0 where step < 50_000:
                // Half of the events belong to one hot key.
                let slot = Bool.random(using: &random) ? 0 : Int32.random(in: 1..<30, using: &random)
                if dispatch.becameDue(due(index, slot)) { accepted += 1 }
                index += 1
            case 1:
                while let next = dispatch.next() {
                    let slot = next.event.slot
                    #expect(underWay[slot] == nil, "two of one key under way")
                    #expect(lastSent[slot].map { $0 < next.event.index } ?? true, "overtaken")
                    underWay[slot] = next.event.index
                    lastSent[slot] = next.event.index
                }
                #expect(underWay.count == dispatch.underWay && underWay.count <= 8)
            default:
                if let slot = underWay.keys.randomElement(using: &random) {
                    underWay[slot] = nil
                    dispatch.answered(slot: slot)
                    answered += 1
                }
            }
        }
        while !dispatch.isEmpty {
            while let next = dispatch.next() { underWay[next.event.slot] = next.event.index }
            for slot in underWay.keys {
                dispatch.answered(slot: slot)
                answered += 1
            }
            underWay = [:]
        }
        #expect(answered == accepted && accepted > 1000)
    }
}
