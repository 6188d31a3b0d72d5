// Changed rate limits carry every level over, refill nothing, and keep every client that has used something.

import Backpressure
import TestSupport
import Testing

@testable import Admission

private let second: UInt64 = 1_000_000_000
private let one = RateLimitCost(requests: 1)

private func keyed(_ client: UInt64) -> RateLimitKey { RateLimitKey(address: client, isIPv6: false) }

private func limits(_ policies: RateLimitPolicy..., keys: Int = 100) -> RateLimits {
    RateLimits(policies: policies, maxKeys: keys)
}

private func bucket(_ name: String, _ key: RateLimitPolicy.Key, rate: Double, burst: Int) -> RateLimitPolicy {
    RateLimitPolicy(name, key: key, unit: .requests, .bucket(.init(rate: rate, burst: burst)))
}

private func window(_ name: String, _ key: RateLimitPolicy.Key, _ amount: Int, _ seconds: UInt64) -> RateLimitPolicy {
    RateLimitPolicy(name, key: key, unit: .requests, .window(.init(amount: amount, span: seconds * second)))
}

/// Sends single requests until one is refused.
private func drained(_ machine: inout RateLimitMachine, _ client: UInt64, now: UInt64) -> Int {
    var passed = 0
    while passed < 100_000, machine.requested(keyed(client), one, now: now).verdict == .admitted { passed += 1 }
    return passed
}

@Suite struct RateLimitUpdateTests {
    @Test(arguments: RateLimitPolicy.Key.allCases) func aBucketKeepsItsLevel(key: RateLimitPolicy.Key) {
        var machine = RateLimitMachine(limits(bucket("b", key, rate: 1, burst: 10)))
        for _ in 0..<7 { _ = machine.requested(keyed(1), one, now: 0) }
        machine.update(limits(bucket("b", key, rate: 100, burst: 1_000)), now: 0)
        #expect(drained(&machine, 1, now: 0) == 3)
        #expect(drained(&machine, 1, now: second / 10) == 10, "at the new rate from now on")
        machine.update(limits(bucket("b", key, rate: 1, burst: 2)), now: 100 * second)
        #expect(drained(&machine, 1, now: 100 * second) == 2)
    }

    @Test(arguments: RateLimitPolicy.Key.allCases) func aWindowKeepsItsCounts(key: RateLimitPolicy.Key) {
        var machine = RateLimitMachine(limits(window("w", key, 10, 20)))
        for _ in 0..<7 { _ = machine.requested(keyed(1), one, now: 0) }
        machine.update(limits(window("w", key, 12, 200)), now: 0)
        #expect(drained(&machine, 1, now: 0) == 5)
        #expect(drained(&machine, 1, now: 200 * second) == 0)
        #expect(drained(&machine, 1, now: 210 * second) == 12)
    }

    @Test func anotherKindOfQuotaKeepsTheUsedShare() {
        var machine = RateLimitMachine(limits(bucket("p", .client, rate: 1, burst: 10)))
        for _ in 0..<9 { _ = machine.requested(keyed(1), one, now: 0) }
        machine.update(limits(window("p", .client, 15, 20)), now: 0)
        #expect(drained(&machine, 1, now: 0) == 1, "nine tenths of 15, rounded up, are used")
        machine.update(limits(bucket("p", .client, rate: 1, burst: 100)), now: 0)
        #expect(drained(&machine, 1, now: 0) == 0)
        #expect(drained(&machine, 2, now: 0) == 100)
    }

    @Test func anotherNameUnitOrKeyIsAnotherPolicy() {
        var machine = RateLimitMachine(limits(bucket("a", .client, rate: 1, burst: 3)))
        #expect(drained(&machine, 1, now: 0) == 3)
        machine.update(limits(bucket("b", .client, rate: 1, burst: 3)), now: 0)
        #expect(machine.counts == [RateLimitCounts()])
        #expect(drained(&machine, 1, now: 0) == 3)
        machine.update(limits(bucket("b", .global, rate: 1, burst: 3)), now: 0)
        #expect(drained(&machine, 1, now: 0) == 3)
        #expect(machine.keyCount == 0)
    }

    /// A window's counts take 32 bits or 64.
    @Test func aWindowKeepsItsCountsInAnotherWidth() {
        var machine = RateLimitMachine(limits(window("w", .client, 10, 20)))
        for _ in 0..<7 { _ = machine.requested(keyed(1), one, now: 0) }
        machine.update(limits(window("w", .client, 100_000_000_000, 20)), now: 0)
        #expect(
            machine.requested(keyed(1), RateLimitCost(requests: 99_999_999_994), now: 0).verdict == .refused, "7 are used")
        #expect(machine.requested(keyed(1), RateLimitCost(requests: 99_999_999_993), now: 0).verdict == .admitted)
        machine.update(limits(window("w", .client, 10, 20)), now: second)
        #expect(machine.requested(keyed(1), one, now: second).wait == 20 * second)
        #expect(drained(&machine, 1, now: 21 * second) == 10)
    }

    /// A change holds up no request for long: no call touches more rows than it is told, or than one request needs.
    @Test func aChangeTouchesNoRowAndEachRequestOnlyAFew() {
        let count = 20_000
        func wider(_ burst: Int) -> RateLimits {
            limits(bucket("b", .client, rate: 0.001, burst: burst), window("w", .client, burst, 1_000), keys: 2 * count)
        }
        var machine = RateLimitMachine(wider(5))
        for client in 0..<UInt64(count) { _ = machine.requested(keyed(client), one, now: 0) }
        machine.update(wider(6), now: second)
        #expect(machine.waitingRows == count)
        var waiting = count
        for client in 0..<1_000 as Range<UInt64> {
            // Known clients and new ones; the quota of a known one is what it was.
            #expect(machine.requested(keyed(client * 7), one, now: second).verdict == .admitted)
            _ = machine.requested(keyed(100_000 + client), one, now: second)
            #expect((1...18).contains(waiting - machine.waitingRows))
            waiting = machine.waitingRows
            #expect(machine.keyCount == count + Int(client) + 1)
        }
        #expect(drained(&machine, 7, now: second) == 3)
        while machine.carryOver(most: 512) {
            #expect(waiting - machine.waitingRows <= 512)
            waiting = machine.waitingRows
        }
        #expect(machine.waitingRows == 0)
        #expect(machine.keyCount == count + 1_000)
        #expect(drained(&machine, 19_999, now: second) == 4)
    }

    /// Whether a row is carried over at once, later, or through several changes decides nothing.
    @Test func rowsThatAreCarriedOverLaterDecideTheSame() {
        let seed = testSeed("rows carried over later")
        var random = SeededRandom(seed: seed)
        for round in 0..<40 {
            func policies() -> RateLimits {
                var made: [RateLimitPolicy] = []
                for name in ["a", "b", "c"] where Int.random(in: 0..<5, using: &random) > 0 {
                    let most = [5, 20, 10_000_000_000].randomElement(using: &random)!
                    made.append(
                        Bool.random(using: &random)
                            ? window(name, .client, most, UInt64.random(in: 1...9, using: &random))
                            : bucket(name, .client, rate: Double(Int.random(in: 1...9, using: &random)), burst: most))
                }
                return RateLimits(policies: made)
            }
            let first = policies()
            var lazy = RateLimitMachine(first)
            var eager = RateLimitMachine(first)
            var now: UInt64 = 0
            for _ in 0..<500 {
                now += UInt64.random(in: 0...second / 10, using: &random)
                if Int.random(in: 0..<25, using: &random) == 0 {
                    let changed = policies()
                    lazy.update(changed, now: now)
                    eager.update(changed, now: now)
                    while eager.carryOver(most: .max) {}
                }
                let client = keyed(.random(in: 0..<40, using: &random))
                let cost = RateLimitCost(requests: Int.random(in: 1...3, using: &random))
                let (one, other) = (lazy.requested(client, cost, now: now), eager.requested(client, cost, now: now))
                #expect(one == other, "seed \(seed), round \(round)")
            }
        }
    }

    @Test func aPolicyThatLeavesShadowModeKeepsItsLevel() {
        var shadow = bucket("s", .client, rate: 1, burst: 5)
        shadow.isShadow = true
        var machine = RateLimitMachine(limits(shadow))
        for _ in 0..<4 { _ = machine.requested(keyed(1), one, now: 0) }
        shadow.isShadow = false
        machine.update(limits(shadow), now: 0)
        #expect(drained(&machine, 1, now: 0) == 1)
        #expect(machine.counts[0].allowed == 5)
        #expect(machine.counts[0].refused == 1)
    }

    @Test func limitedClientsStayLimitedWithFewerKeys() {
        let policy = window("w", .client, 2, 60)
        var machine = RateLimitMachine(limits(policy, keys: 50))
        for client in 0..<50 as Range<UInt64> { #expect(drained(&machine, client, now: 0) == 2) }
        // The shared row is carried over as well.
        #expect(drained(&machine, 50, now: 0) == 2)
        machine.update(limits(policy, keys: 16), now: second)
        for client in 0..<52 as Range<UInt64> {
            #expect(machine.requested(keyed(client), one, now: second).verdict == .refused, "client \(client)")
        }
        machine.update(limits(policy, keys: 500), now: second)
        for client in 0..<50 as Range<UInt64> {
            #expect(machine.requested(keyed(client), one, now: second).verdict == .refused)
        }
        #expect(drained(&machine, 99, now: second) == 2, "a row is free for a new client")
        // The table shrinks to `maxKeys` as the windows become empty.
        machine.update(limits(policy, keys: 16), now: 2 * second)
        for client in 200..<300 as Range<UInt64> { _ = machine.requested(keyed(client), one, now: 120 * second) }
        #expect(machine.keyCount == 16)
    }

    /// At any moment the same limits again, or looser ones: what passes in every window stays within the loosest of them.
    @Test func randomChangesNeverRefill() {
        let seed = testSeed("changed rate limits")
        var random = SeededRandom(seed: seed)
        for round in 0..<60 {
            let (most, span) = (Int.random(in: 5...40, using: &random), UInt64.random(in: 1...4, using: &random))
            let (rate, burst) = (Int.random(in: 1...30, using: &random), Int.random(in: 2...20, using: &random))
            func policies() -> RateLimits {
                limits(
                    window("w", .client, Int.random(in: 1...most, using: &random), span),
                    bucket(
                        "b", .global, rate: Double(Int.random(in: 1...rate, using: &random)),
                        burst: .random(in: 1...burst, using: &random)),
                    keys: Int.random(in: 16...30, using: &random))
            }
            var machine = RateLimitMachine(policies())
            var passed: [(time: UInt64, client: UInt64)] = []
            var now: UInt64 = 0
            for _ in 0..<600 {
                now += UInt64.random(in: 0...second / 20, using: &random)
                if Int.random(in: 0..<10, using: &random) == 0 { machine.update(policies(), now: now) }
                let client = UInt64.random(in: 0..<4, using: &random)
                if machine.requested(keyed(client), one, now: now).verdict == .admitted { passed.append((now, client)) }
            }
            for first in passed.indices {
                var (all, own) = (0, 0)
                for last in first..<passed.endIndex {
                    let time = passed[last].time - passed[first].time
                    all += 1
                    if passed[last].client == passed[first].client { own += 1 }
                    #expect(
                        Double(all) <= Double(burst) + Double(rate) * Double(time) / 1e9 + 1e-6, "seed \(seed), round \(round)")
                    if time <= span * second { #expect(own <= most, "seed \(seed), round \(round)") }
                }
            }
        }
    }
}
