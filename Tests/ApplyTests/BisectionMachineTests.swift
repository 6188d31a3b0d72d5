// The search for refused events, against a model of a server: what it writes, what it blames, what it costs.

import TestSupport
import Testing

@testable import Apply

/// Follows a machine's actions on events of which some are refused.
private struct Search {
    var written: [Int] = []
    var deadLetters: [Int] = []
    var actions: [BisectionMachine.Action] = []
    var statements: Int

    /// - Parameters:
    ///   - needed: statements that a range of so many events needs in bulk.
    ///   - alarms: events that are refused in bulk only.
    init(
        _ count: Int, bad: Set<Int>, alarms: Set<Int> = [], limits: BisectionLimits = BisectionLimits(), spent: Int = 10,
        needed: (Int) -> Int = { _ in 1 }
    ) {
        statements = spent
        var machine = BisectionMachine(count: count, limits: limits, spent: spent)
        var isFirst = true
        var isRefused = false
        while machine.action != .finish {
            let action = machine.action
            let before = statements
            switch action {
            case .finish: break
            case .apply(let range, let limit):
                #expect(!range.isEmpty && range.lowerBound == written.count + deadLetters.count)
                let needed = needed(range.count)
                if needed > limit {
                    machine.didNotFit()
                    continue
                }
                statements += isFirst ? 0 : isRefused ? 1 : 2
                statements += needed
                isFirst = false
                isRefused = bad.contains(where: range.contains) || alarms.contains(where: range.contains)
                if isRefused {
                    machine.refused()
                } else {
                    written += range
                    machine.applied()
                }
            case .replay(let range):
                #expect(!range.isEmpty && range.lowerBound == written.count + deadLetters.count)
                statements += isFirst ? 1 : isRefused ? 2 : 3
                (isFirst, isRefused) = (false, false)
                written += range.filter { !bad.contains($0) }
                deadLetters += bad.filter(range.contains).sorted()
                machine.replayed(refusals: bad.count(where: range.contains))
            }
            actions.append(action)
            machine.spent(statements - before)
            if actions.count > 100 * (count + 1) {
                Issue.record("the search does not end: \(actions.suffix(5))")
                return
            }
        }
        statements += 2
    }

    var replayed: Int {
        actions.reduce(0) { sum, action in
            if case .replay(let range) = action { sum + range.count } else { sum }
        }
    }
}

@Suite struct BisectionMachineTests {
    @Test func oneRefusedEventIsHalvedDownAndTheRestGoesInOneTry() {
        let search = Search(1_000, bad: [300])
        #expect(
            search.actions == [
                .apply(0..<500, atMost: 12), .apply(0..<250, atMost: 12), .apply(250..<375, atMost: 11), .replay(250..<375),
                .apply(375..<1_000, atMost: 30),
            ])
        #expect(search.deadLetters == [300])
    }

    @Test func fewEventsAreReplayedAtOnce() {
        #expect(Search(128, bad: [5]).actions == [.replay(0..<128)])
        #expect(Search(0, bad: []).actions == [])
    }

    @Test func nothingIsLostWhateverIsRefused() {
        var random = SeededRandom.printed("bisection")
        for _ in 0..<200 {
            let count = Int.random(in: 1...1_500, using: &random)
            func some() -> Set<Int> {
                let upTo = [0, 1, 3, 20, count][Int(random.next() % 5)]
                return Set((0..<Int.random(in: 0...upTo, using: &random)).map { _ in Int.random(in: 0..<count, using: &random) })
            }
            let (bad, alarms) = (some(), some())
            var limits = BisectionLimits()
            limits.suspectEvents = [0, 1, 7, 128][Int(random.next() % 4)]
            limits.refusals = [1, 8, .max][Int(random.next() % 3)]
            let each = [1, 5, 40][Int(random.next() % 3)]
            let search = Search(count, bad: bad, alarms: alarms, limits: limits) { min(each, $0) }
            let isExact = search.written == (0..<count).filter { !bad.contains($0) } && search.deadLetters == bad.sorted()
            #expect(isExact, "\(count) events, \(bad.count) bad, \(alarms.count) alarms, \(limits), \(each) statements a try")
        }
    }

    /// However many statements a range needs, and wherever the one refused event is.
    @Test func oneRefusedEventNeverCostsMoreThanAllowed() {
        for needed in [1, 2, 3, 5, 8, 13, 20, 40] {
            for position in stride(from: 0, to: 10_000, by: 1_371) + [9_999] {
                for spent in [12, 30, 50] {
                    let search = Search(10_000, bad: [position], spent: spent) { min(needed, 1 + $0 / 300) }
                    #expect(search.statements <= 60, "\(needed) a try, \(spent) before, event \(position): \(search.actions)")
                }
            }
        }
    }

    @Test func aFewRefusedEventsAreFoundOneByOne() {
        let search = Search(10_000, bad: [10, 4_000, 9_990])
        #expect(search.deadLetters == [10, 4_000, 9_990])
        #expect(search.replayed < 3 * 129)
    }

    @Test func manyRefusedEventsEndInOneReplay() {
        let search = Search(10_000, bad: Set(stride(from: 0, to: 10_000, by: 20)))
        #expect(search.actions.count < 30)
        guard case .replay(let range)? = search.actions.last else {
            Issue.record("\(search.actions)")
            return
        }
        #expect(range.upperBound == 10_000 && range.count > 9_000)
    }

    @Test func whatIsTooExpensiveInBulkIsReplayed() {
        let search = Search(10_000, bad: [7_000]) { $0 }
        #expect(search.actions == [.replay(0..<10_000)])
    }
}
