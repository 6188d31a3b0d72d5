// Which clients have rows of quotas: the table against a dictionary, eviction under a flood of keys, and the shared row.

import Backpressure
import TestSupport
import Testing

@testable import Admission

private let second: UInt64 = 1_000_000_000
private let one = RateLimitCost(requests: 1)

private func key(_ number: Int) -> RateLimitKey { RateLimitKey(address: UInt64(number), isIPv6: false) }

private func limits(_ quotas: RateLimitPolicy.Quota..., keys: Int, idle: UInt64) -> RateLimits {
    RateLimits(
        policies: quotas.enumerated().map { RateLimitPolicy("p\($0)", key: .client, unit: .requests, $1) }, maxKeys: keys,
        keyIdle: idle)
}

@Suite struct QuotaEvictionTests {
    /// Rows move when others are removed: each keeps its client and its quotas.
    @Test func theTableEqualsADictionary() {
        let seed = testSeed("table of rows")
        var random = SeededRandom(seed: seed)
        let layout = QuotaLayout(
            [RateLimitPolicy("p", key: .client, unit: .requests, .bucket(.init(rate: 0, burst: 1_000_000)))], isByClient: true)
        for capacity in [1, 2, 12, 100, 5_000] {
            let table = QuotaTable(layout, capacity: capacity)
            var model: [RateLimitKey: Int] = [:]
            for step in 0..<20_000 {
                let key = key(.random(in: 0...capacity, using: &random))
                #expect((table.row(of: key) == nil) == (model[key] == nil), "seed \(seed)")
                if let row = table.row(of: key), let used = model[key] {
                    #expect(table.client(row).pointee.key == key)
                    #expect(1_000_000 - QuotaLayout.availableTokens(table[row], layout.columns[0], at: 0) == used, "seed \(seed)")
                    if Bool.random(using: &random) {
                        table.remove(row)
                        model[key] = nil
                    }
                } else if model.count < capacity {
                    let row = table.insert(QuotaTable.Client(key: key, keptUntil: 0))
                    #expect(layout.isUnused(table[row], at: 0), "seed \(seed): memory that was used before is cleared")
                    QuotaLayout.spend(table[row], layout.columns[0], step, now: 0)
                    model[key] = step
                }
                #expect(table.count == model.count)
            }
        }
    }

    /// The memory of a client under the policies of `docs/limits.md`.
    @Test func aClientTakesLittleMemory() {
        let policies = [
            RateLimitPolicy("burst", key: .client, unit: .requests, .bucket(.init(rate: 1_000, burst: 2_000))),
            RateLimitPolicy("quota", key: .client, unit: .events, .window(.init(amount: 1_000_000, span: 60 * second))),
        ]
        let machine = RateLimitMachine(RateLimits(policies: policies))
        #expect((128...175).contains(machine.bytesPerKey), "\(machine.bytesPerKey) bytes")
    }

    @Test func keysOfNamesDifferFromKeysOfAddresses() {
        #expect(RateLimitKey(name: "a") == RateLimitKey(name: "a"))
        #expect(RateLimitKey(name: "a") != RateLimitKey(name: "b"))
        #expect(RateLimitKey(address: 7, isIPv6: false) == RateLimitKey(address: 7, isIPv6: false))
        #expect(RateLimitKey(address: 7, isIPv6: false) != RateLimitKey(address: 7, isIPv6: true))
    }

    @Test func aFullBucketIsEvictedAndAnEmptyOneIsNot() {
        var machine = RateLimitMachine(
            limits(.bucket(.init(rate: 1, burst: 2)), keys: 2, idle: 1_000 * second))
        _ = machine.requested(key(1), one, now: 0)
        for _ in 0..<2 { _ = machine.requested(key(2), one, now: 0) }
        // Neither row is unused: new clients share a row.
        #expect(machine.requested(key(3), one, now: 0).verdict == .admitted)
        #expect(machine.requested(key(4), one, now: 0).verdict == .admitted)
        #expect(machine.requested(key(5), one, now: 0).verdict == .refused)
        #expect(machine.overflowed == 3, "refusals count as well")
        #expect(machine.keyCount == 2)
        // A second later the bucket of client 1 is full, and its row is evicted.
        for _ in 0..<2 { #expect(machine.requested(key(6), one, now: second).verdict == .admitted) }
        #expect(machine.clients.row(of: key(1)) == nil)
        #expect(machine.clients.row(of: key(6)) != nil)
        #expect(machine.requested(key(2), one, now: second).verdict == .admitted)
        #expect(machine.requested(key(2), one, now: second).verdict == .refused)
        #expect(machine.requested(key(6), one, now: second).verdict == .refused)
    }

    @Test func idleClientsAreEvictedUnlessTheyAreLimited() {
        var machine = RateLimitMachine(
            limits(.window(.init(amount: 2, span: 1_000 * second)), keys: 2, idle: 10 * second))
        for _ in 0..<3 { _ = machine.requested(key(1), one, now: 0) }
        _ = machine.requested(key(2), one, now: 0)
        _ = machine.requested(key(3), one, now: 10 * second - 1)
        #expect(machine.overflowed == 1, "2 is not idle for long enough")
        _ = machine.requested(key(4), one, now: 10 * second)
        #expect(machine.clients.row(of: key(2)) == nil)
        #expect(machine.clients.row(of: key(4)) != nil)
        // A limited client keeps its row as long as it is limited.
        for number in 10..<200 { _ = machine.requested(key(number), one, now: UInt64(number) * second) }
        #expect(machine.clients.row(of: key(1)) != nil)
        #expect(machine.requested(key(1), one, now: 200 * second).verdict == .refused)
    }

    @Test func theTableShrinksAfterAFlood() {
        var machine = RateLimitMachine(
            limits(.bucket(.init(rate: 10, burst: 10)), keys: 1_000, idle: 10 * second))
        for number in 0..<5_000 { _ = machine.requested(key(number), one, now: 0) }
        #expect(machine.keyCount == 1_000)
        for number in 0..<1_000 { _ = machine.requested(key(10_000 + number), one, now: (1 + UInt64(number)) * second) }
        #expect(machine.keyCount < 5)
    }

    /// Many keys, few rows: each row keeps its client's bound, and so does the shared one.
    @Test func aFloodOfKeysResetsNoLimit() {
        let seed = testSeed("flood of keys")
        var random = SeededRandom(seed: seed)
        for round in 0..<40 {
            let rate = Double(Int.random(in: 1...20, using: &random))
            let burst = Int.random(in: 1...6, using: &random)
            let span = UInt64.random(in: second / 10...2 * second, using: &random)
            let amount = Int.random(in: 1...8, using: &random)
            // Only unused rows are evicted: every bound is exact.
            let idle = Swift.max(span * 2, UInt64(Double(burst) / rate * 1e9) + 1)
            let keys = Int.random(in: 1...8, using: &random)
            var machine = RateLimitMachine(
                limits(
                    .bucket(.init(rate: rate, burst: burst)), .window(.init(amount: amount, span: span)), keys: keys, idle: idle))
            // By client; nil: the shared row.
            var passed: [Int?: [UInt64]] = [:]
            var waits: [Int: UInt64] = [:]
            var now: UInt64 = 0
            for _ in 0..<1_500 {
                now += UInt64.random(in: 0...second / 30, using: &random)
                let number = Int.random(in: 0..<(Bool.random(using: &random) ? 3 : 60), using: &random)
                let before = machine.clients.row(of: key(number)) != nil
                let decision = machine.requested(key(number), one, now: now)
                let after = machine.clients.row(of: key(number)) != nil
                #expect(machine.keyCount <= keys)
                if before {
                    #expect(after, "a client that sends requests keeps its row")
                    if let until = waits[number], now < until {
                        #expect(
                            decision.verdict == .refused,
                            "seed \(seed), round \(round): \(number) was admitted before the end of its wait")
                    }
                }
                if decision.verdict == .admitted {
                    passed[after ? number : nil, default: []].append(now)
                } else if before {
                    waits[number] = now + decision.wait
                }
            }
            for (owner, times) in passed {
                for first in times.indices {
                    for last in first..<times.endIndex {
                        let (count, time) = (last - first + 1, times[last] - times[first])
                        let place = "seed \(seed), round \(round), client \(owner.map(String.init) ?? "shared")"
                        #expect(Double(count) <= Double(burst) + rate * Double(time) / 1e9 + 1e-6, "\(place)")
                        if time <= span { #expect(count <= amount, "\(place)") }
                    }
                }
            }
        }
    }

    /// A new client gets a row of its own exactly when a row is free or may be evicted.
    @Test func theSharedRowIsUsedOnlyWithoutAnother() {
        let seed = testSeed("shared row")
        var random = SeededRandom(seed: seed)
        for round in 0..<40 {
            let keys = Int.random(in: 1...8, using: &random)
            let idle = UInt64.random(in: second / 10...3 * second, using: &random)
            var machine = RateLimitMachine(
                limits(.window(.init(amount: 3, span: second)), keys: keys, idle: idle))
            var now: UInt64 = 0
            for _ in 0..<1_000 {
                now += UInt64.random(in: 0...second / 20, using: &random)
                let number = Int.random(in: 0..<20, using: &random)
                let isKnown = machine.clients.row(of: key(number)) != nil
                var isEvictable = false
                for number in 0..<20 {
                    if let row = machine.clients.row(of: key(number)), machine.mayEvict(row, now) { isEvictable = true }
                }
                let hasRoom = machine.keyCount < keys || isEvictable
                let decision = machine.requested(key(number), one, now: now)
                guard !isKnown, decision.verdict == .admitted else { continue }
                #expect((machine.clients.row(of: key(number)) != nil) == hasRoom, "seed \(seed), round \(round)")
            }
        }
    }
}
