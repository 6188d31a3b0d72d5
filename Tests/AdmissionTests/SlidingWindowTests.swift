// A sliding window admits at most its limit in every span, and refuses no more than documented.

import Backpressure
import TestSupport
import Testing

@testable import Admission

private let second: UInt64 = 1_000_000_000
private typealias Limit = SlidingWindowLimit

/// A window with its limit.
private struct Window: ~Copyable {
    private(set) var limit: Limit
    private var machine = SlidingWindowMachine<UInt32>()

    init(_ limit: Limit) { self.limit = limit }

    mutating func availableTokens(at now: UInt64) -> Int { machine.availableTokens(limit, at: now) }
    mutating func retryDelay(for amount: Int, at now: UInt64) -> UInt64 { machine.retryDelay(for: amount, limit, at: now) }
    mutating func spent(_ amount: Int, now: UInt64) { machine.spent(amount, limit, now: now) }
    mutating func update(_ changed: Limit, now: UInt64) {
        machine.update(from: limit, to: changed, now: now)
        limit = changed
    }
}

/// An admitted amount.
private typealias Admitted = (time: UInt64, amount: Int)

/// The most that was admitted within `span`, by brute force.
private func most(of passed: [Admitted], within span: UInt64) -> Int {
    var most = 0
    for first in passed.indices {
        var sum = 0
        for one in passed[first...] where one.time - passed[first].time <= span { sum += one.amount }
        most = Swift.max(most, sum)
    }
    return most
}

@Suite struct SlidingWindowTests {
    @Test func anAmountCountsOnePartLongerThanTheSpan() {
        // Parts of a second.
        var window = Window(Limit(amount: 3, span: 20 * second))
        #expect(window.retryDelay(for: 3, at: 0) == 0)
        window.spent(2, now: second / 2)
        window.spent(1, now: 5 * second)
        #expect(window.availableTokens(at: 5 * second) == 0)
        #expect(window.retryDelay(for: 1, at: 5 * second) == 16 * second)
        #expect(window.retryDelay(for: 3, at: 5 * second) == 21 * second)
        #expect(window.retryDelay(for: 1, at: 21 * second - 1) == 1)
        #expect(window.retryDelay(for: 2, at: 21 * second) == 0)
        #expect(window.availableTokens(at: 21 * second) == 2)
        #expect(window.availableTokens(at: 26 * second) == 3)
        #expect(window.retryDelay(for: 3, at: 26 * second) == 0)
    }

    @Test func moreThanTheLimitIsNeverAdmitted() {
        var window = Window(Limit(amount: 3, span: second))
        #expect(window.retryDelay(for: 4, at: 0) == .max)
        #expect(window.retryDelay(for: 0, at: 0) == 0)
    }

    /// The whole amount is admitted once in at most 21/20 of a span, and at least one span.
    @Test func theWholeAmountReturnsWithin21TwentiethsOfTheSpan() {
        var random = SeededRandom(seed: testSeed("greedy"))
        for _ in 0..<50 {
            let span = UInt64.random(in: 1_000_000...100 * second, using: &random)
            var now = UInt64.random(in: 0...100 * second, using: &random)
            var window = Window(Limit(amount: 100, span: span))
            var taken: [UInt64] = []
            for _ in 0..<20 {
                now += window.retryDelay(for: 100, at: now)
                window.spent(100, now: now)
                taken.append(now)
            }
            for (earlier, later) in zip(taken, taken.dropFirst()) {
                #expect(later - earlier > span)
                #expect(later - earlier <= span + span / 20 + 21)
            }
        }
    }

    @Test func aChangeCarriesTheCountsOverAndNeverRefills() {
        var window = Window(Limit(amount: 10, span: 20 * second))
        window.spent(8, now: 0)
        window.update(Limit(amount: 20, span: 20 * second), now: second)
        #expect(window.availableTokens(at: second) == 12)
        window.update(Limit(amount: 5, span: 20 * second), now: second)
        #expect(window.availableTokens(at: second) == 0)
        #expect(window.retryDelay(for: 1, at: second) == 20 * second)
        // Of a longer span: at most as old as it could be.
        window.update(Limit(amount: 10, span: 200 * second), now: 2 * second)
        #expect(window.availableTokens(at: 2 * second) == 2)
        #expect(window.availableTokens(at: 200 * second) == 2)
        #expect(window.availableTokens(at: 210 * second) == 10)
        // A shorter span: older amounts stop counting.
        window.spent(4, now: 210 * second)
        window.update(Limit(amount: 10, span: second), now: 211 * second)
        #expect(window.availableTokens(at: 211 * second) == 6, "it may have passed just now")
        window.update(Limit(amount: 10, span: second / 2), now: 213 * second)
        #expect(window.availableTokens(at: 213 * second) == 10)
    }

    @Test func extremesNeitherOverflowNorGoBack() {
        let most = Limit(amount: .max, span: .max)
        #expect(most.amount == 1_000_000_000_000)
        var wide = SlidingWindowMachine<UInt64>()
        for _ in 0..<100 { wide.spent(.max, most, now: .max) }
        #expect(wide.availableTokens(most, at: .max) == 0)
        #expect(wide.retryDelay(for: 1, most, at: .max) < .max)
        wide.update(from: most, to: Limit(amount: 1, span: 0), now: .max)
        #expect(wide.availableTokens(Limit(amount: 1, span: 0), at: .max) == 0)
        var window = Window(Limit(amount: 4_294_967_295, span: second))
        for _ in 0..<100 { window.spent(.max, now: second) }
        #expect(window.availableTokens(at: second) == 0)
        #expect(window.availableTokens(at: 3 * second) == 4_294_967_295)
        var back = Window(Limit(amount: 5, span: second))
        back.spent(5, now: 10 * second)
        #expect(back.availableTokens(at: 0) == 0, "a clock that goes back brings nothing")
        back.update(Limit(amount: 5, span: 2 * second), now: 0)
        #expect(back.availableTokens(at: 0) == 0)
        #expect(back.availableTokens(at: 13 * second) == 5)
    }

    /// At most the limit in every span, wherever it begins; refused only where the last 21 parts leave too little.
    @Test func randomArrivalsKeepTheCapInEveryWindow() {
        let seed = testSeed("sliding window")
        var random = SeededRandom(seed: seed)
        for round in 0..<80 {
            let limit = Limit(
                amount: Int.random(in: 1...200, using: &random), span: UInt64.random(in: 1_000_000...second, using: &random))
            let part = (limit.span + 19) / 20
            var now = UInt64.random(in: 0...second, using: &random)
            var window = Window(limit)
            var passed: [Admitted] = []
            // Bursts, trickles, and pauses that end near the span.
            let step = [limit.span / 400, limit.span / 40, limit.span / 4].randomElement(using: &random)!
            for _ in 0..<300 {
                switch Int.random(in: 0..<20, using: &random) {
                case 0: now += limit.span - Swift.min(limit.span, UInt64.random(in: 0...3, using: &random))
                case 1: now += limit.span + UInt64.random(in: 0...part, using: &random)
                case 2...8: break
                default: now += UInt64.random(in: 0...step, using: &random)
                }
                let amount = Int.random(
                    in: 1...Swift.max(1, limit.amount / Int.random(in: 1...20, using: &random)), using: &random)
                let wait = window.retryDelay(for: amount, at: now)
                let counted = passed.filter { now - $0.time <= 21 * part }.reduce(0) { $0 + $1.amount }
                if counted + amount <= limit.amount {
                    #expect(wait == 0, "seed \(seed), round \(round): refused though the last 21 parts leave enough")
                }
                if wait == 0 {
                    window.spent(amount, now: now)
                    passed.append((now, amount))
                } else {
                    #expect(window.retryDelay(for: amount, at: now + wait - 1) == 1, "seed \(seed), round \(round)")
                    if Bool.random(using: &random) {
                        now += wait
                        #expect(
                            window.retryDelay(for: amount, at: now) == 0, "seed \(seed), round \(round): the wait was too short")
                        window.spent(amount, now: now)
                        passed.append((now, amount))
                    } else {
                        // The question above has moved the machine's clock.
                        now += wait - 1
                    }
                }
            }
            #expect(most(of: passed, within: limit.span) <= limit.amount, "seed \(seed), round \(round)")
        }
    }

    /// After a change: whatever is known of the past, which is one old span, counts under the new limit.
    @Test func aRandomChangeOpensNoWindow() {
        let seed = testSeed("sliding window, changed")
        var random = SeededRandom(seed: seed)
        for round in 0..<200 {
            func limit() -> Limit {
                Limit(
                    amount: Int.random(in: 5...100, using: &random), span: UInt64.random(in: 1_000_000...second, using: &random))
            }
            let (old, new) = (limit(), limit())
            var now: UInt64 = 0
            var window = Window(old)
            var passed: [Admitted] = []
            func run(_ count: Int, _ check: (Admitted) -> Void) {
                for _ in 0..<count {
                    now += UInt64.random(in: 0...old.span / 30, using: &random)
                    let amount = Int.random(in: 1...5, using: &random)
                    guard window.retryDelay(for: amount, at: now) == 0 else { continue }
                    window.spent(amount, now: now)
                    passed.append((now, amount))
                    check((now, amount))
                }
            }
            run(100) { _ in }
            let known = now > old.span ? now - old.span : 0
            window.update(new, now: now)
            run(200) { one in
                let from = Swift.max(one.time > new.span ? one.time - new.span : 0, known)
                let sum = passed.filter { $0.time >= from }.reduce(0) { $0 + $1.amount }
                #expect(sum <= new.amount, "seed \(seed), round \(round)")
            }
        }
    }
}
