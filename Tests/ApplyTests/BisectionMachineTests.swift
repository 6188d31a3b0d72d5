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
    /// Events that were written in bulk and undone.
    var undone = 0

    /// - Parameters:
    ///   - needed: statements that a range of so many events needs in bulk.
    ///   - alarms: events that are refused in bulk only.
    ///   - expected: refused events that are expected; `nil`: the transaction was refused.
    init(
        _ count: Int, bad: Set<Int>, alarms: Set<Int> = [], limits: BisectionLimits = BisectionLimits(), spent: Int = 10,
        expected: Double? = nil, needed: (Int) -> Int = { _ in 1 }
    ) {
        statements = spent
        var machine = BisectionMachine(count: count, limits: limits, spent: spent, expected: expected)
        var isFirst = true
        var isRefused = false
        while machine.action != .finish {
            let action = machine.action
            let before = statements
            switch action {
            case .finish: break
            case .apply(let ranges, let limit):
                let pieces = ranges.prefix { needed($0.count) <= limit }
                if pieces.isEmpty {
                    machine.didNotFit()
                    continue
                }
                var applied = 0
                for range in pieces {
                    #expect(!range.isEmpty && range.lowerBound == written.count + deadLetters.count)
                    statements += isFirst ? 0 : isRefused ? 1 : 2
                    statements += needed(range.count)
                    isFirst = false
                    isRefused = bad.contains(where: range.contains) || alarms.contains(where: range.contains)
                    if isRefused {
                        undone += range.count
                        break
                    }
                    written += range
                    applied += 1
                }
                machine.applied(applied, isRefused: isRefused)
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
                .apply([0..<500], atMost: 12), .apply([0..<250], atMost: 12), .apply([250..<375], atMost: 11),
                .replay(250..<375), .apply([375..<1_000], atMost: 30),
            ])
        #expect(search.deadLetters == [300])
    }

    @Test func whereRefusalsAreExpectedPiecesShareARoundTrip() {
        let quiet = Search(5_000, bad: [], spent: 4, expected: 0.6)
        let pieces = stride(from: 0, to: 5_000, by: 625).map { $0..<$0 + 625 }
        #expect(quiet.statements < 40)
        #expect(quiet.actions == [.apply(pieces, atMost: 3)])
        let search = Search(5_000, bad: [2_000], spent: 4, expected: 0.6)
        #expect(search.actions.dropFirst().first == .apply([1_875..<2_187], atMost: 11))
        #expect(search.deadLetters == [2_000])
        #expect(search.undone < 1_500)
        guard case .apply(let rest, _)? = search.actions.last else {
            Issue.record("\(search.actions)")
            return
        }
        #expect(rest.count > 2 && rest.last?.upperBound == 5_000, "the rest in pieces, too")
        #expect(Search(5_000, bad: [2_000], spent: 4).undone > search.undone)
    }

    /// However often they are expected, and wherever one is.
    @Test func expectedRefusalsCostNoMoreThanAllowed() {
        for needed in [1, 2, 3, 5, 8, 13, 20, 40] {
            for position in stride(from: 0, to: 10_000, by: 1_371) + [9_999] {
                for expected in [0.05, 1, 7.9, 8, .infinity] {
                    let search = Search(10_000, bad: [position], spent: 5, expected: expected) { min(needed, 1 + $0 / 300) }
                    let what = "\(needed) a try, \(expected) expected, event \(position)"
                    #expect(search.statements <= 60, "\(what): \(search.actions)")
                    #expect(search.deadLetters == [position])
                }
            }
        }
    }

    @Test func soManyThatPiecesAreInVainAreReplayedAtOnce() {
        #expect(Search(5_000, bad: [7, 70], spent: 5, expected: 8).actions == [.replay(0..<5_000)])
    }

    @Test func refusalsAreExpectedAsOftenAsTheyWere() {
        let limits = BisectionLimits()
        var rate = RefusalRate()
        #expect(rate.expected(of: 5_000, limits) == nil)
        rate.committed(events: 5_000, refusals: 0)
        rate.committed(events: 5_000, refusals: 1)
        #expect(rate.expected(of: 5_000, limits) == 0.5)
        #expect(rate.expected(of: 512, limits) == 0.0512)
        #expect(rate.expected(of: 511, limits) == nil, "so few are isolated nearly as they are")
        for _ in 0..<18 { rate.committed(events: 5_000, refusals: 0) }
        #expect(rate.expected(of: 5_000, limits) == 0.05)
        rate.committed(events: 5_000, refusals: 0)
        #expect(rate.expected(of: 5_000, limits) == nil, "one in a hundred thousand is rare")
        for _ in 0..<1_000 { rate.committed(events: 5_000, refusals: 1) }
        for _ in 0..<100 { rate.committed(events: 5_000, refusals: 10) }
        #expect((rate.expected(of: 5_000, limits) ?? 0) > 9, "what was long ago counts less and less")
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
            let expected: Double? = [nil, 0.05, 3, 8][Int(random.next() % 4)]
            let search = Search(count, bad: bad, alarms: alarms, limits: limits, expected: expected) { min(each, $0) }
            let isExact = search.written == (0..<count).filter { !bad.contains($0) } && search.deadLetters == bad.sorted()
            let what = "\(count) events, \(bad.count) bad, \(alarms.count) alarms, \(expected ?? -1) expected"
            #expect(isExact, "\(what), \(limits), \(each) statements a try")
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
