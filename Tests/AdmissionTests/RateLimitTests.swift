// Decisions of rate limits: all policies before any charge, shadow mode, costs above a capacity, exact waits and exact bounds.

import Backpressure
import TestSupport
import Testing

@testable import Admission

private let second: UInt64 = 1_000_000_000

/// A bucket.
private func bucket(
    _ name: String, _ key: RateLimitPolicy.Key, _ unit: RateLimitPolicy.Unit, rate: Double, burst: Int, isShadow: Bool = false
) -> RateLimitPolicy {
    RateLimitPolicy(name, key: key, unit: unit, .bucket(.init(rate: rate, burst: burst)), isShadow: isShadow)
}

/// A window.
private func window(
    _ name: String, _ key: RateLimitPolicy.Key, _ unit: RateLimitPolicy.Unit, _ amount: Int, _ seconds: UInt64,
    isShadow: Bool = false
) -> RateLimitPolicy {
    RateLimitPolicy(name, key: key, unit: unit, .window(.init(amount: amount, span: seconds * second)), isShadow: isShadow)
}

private func key(_ client: UInt64) -> RateLimitKey { RateLimitKey(address: client, isIPv6: false) }

private func machine(_ policies: RateLimitPolicy..., keys: Int = 100) -> RateLimitMachine {
    RateLimitMachine(RateLimits(policies: policies, maxKeys: keys))
}

private let one = RateLimitCost(requests: 1)

private func counts(allowed: Int, refused: Int) -> RateLimitCounts {
    var counts = RateLimitCounts()
    (counts.allowed, counts.refused) = (allowed, refused)
    return counts
}

@Suite struct RateLimitTests {
    @Test func withoutAPolicyEverythingIsAdmitted() {
        var machine = machine()
        for _ in 0..<100 {
            #expect(
                machine.requested(key(1), RateLimitCost(requests: 1, events: .max, bytes: .max), now: 0).verdict == .admitted)
        }
        #expect(machine.keyCount == 0)
    }

    @Test func allPoliciesAreCheckedBeforeAnyIsCharged() {
        var machine = machine(
            bucket("all", .global, .requests, rate: 1, burst: 3), bucket("mine", .client, .events, rate: 1, burst: 10),
            window("route", .route, .bytes, 100, 20))
        #expect(machine.requested(key(1), RateLimitCost(requests: 1, events: 4, bytes: 90), now: 0).verdict == .admitted)
        // The route's window refuses: neither the global bucket nor the client's is charged.
        for _ in 0..<10 {
            let decision = machine.requested(key(1), RateLimitCost(requests: 1, events: 1, bytes: 20), now: 0)
            #expect(decision.verdict == .refused)
            #expect(decision.violated == 0b100)
            #expect(decision.policy == 2)
            #expect(decision.remaining == 10)
            #expect(decision.wait == 21 * second)
        }
        #expect(machine.requested(key(1), RateLimitCost(requests: 1, events: 6, bytes: 10), now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), RateLimitCost(requests: 1), now: 0).verdict == .admitted)
        #expect(machine.counts.map(\.allowed) == [3, 2, 2])
        #expect(machine.counts.map(\.refused) == [0, 0, 10])
    }

    @Test func aRefusalNamesAllViolatedPoliciesAndTheLongestWait() {
        var machine = machine(
            bucket("slow", .global, .requests, rate: 0.5, burst: 1), bucket("fast", .client, .requests, rate: 10, burst: 1),
            bucket("wide", .client, .requests, rate: 1, burst: 100))
        #expect(machine.requested(key(1), one, now: 0).verdict == .admitted)
        let refused = machine.requested(key(1), one, now: 0)
        #expect(refused.violated == 0b011)
        #expect(refused.policy == 0)
        #expect(refused.wait == 2 * second)
        #expect(machine.requested(key(1), one, now: second).violated == 0b001)
        #expect(machine.requested(key(1), one, now: 2 * second).verdict == .admitted)
    }

    @Test func aCostAboveACapacityGetsNoWait() {
        var machine = machine(
            bucket("burst", .client, .bytes, rate: 1_000, burst: 100), window("cap", .global, .bytes, 50, 10),
            bucket("requests", .client, .requests, rate: 1, burst: 1))
        let decision = machine.requested(key(1), RateLimitCost(requests: 1, bytes: 101), now: 0)
        #expect(decision.verdict == .tooLarge)
        #expect(decision.violated == 0b011)
        #expect(decision.wait == 0)
        // Also where another policy asks for a wait; nothing was charged.
        #expect(machine.requested(key(1), RateLimitCost(requests: 1), now: 0).verdict == .admitted)
        let both = machine.requested(key(1), RateLimitCost(requests: 1, bytes: 60), now: 0)
        #expect(both.verdict == .tooLarge)
        #expect(both.violated == 0b010)
        #expect(machine.counts.map(\.tooLarge) == [1, 2, 0])
        #expect(machine.counts.map(\.refused) == [0, 0, 0])
        #expect(machine.requested(key(2), RateLimitCost(bytes: 50), now: 0).verdict == .admitted)
    }

    @Test func aPolicyInShadowModeRefusesNothingAndCounts() {
        var machine = machine(
            bucket("shadow", .client, .requests, rate: 1, burst: 2, isShadow: true),
            window("small", .global, .bytes, 5, 10, isShadow: true), bucket("real", .client, .requests, rate: 1, burst: 5))
        for round in 0..<5 {
            #expect(machine.requested(key(1), RateLimitCost(requests: 1, bytes: 6), now: 0).verdict == .admitted, "\(round)")
        }
        let refused = machine.requested(key(1), one, now: 0)
        #expect(refused.verdict == .refused)
        #expect(refused.violated == 0b100)
        #expect(refused.shadowed == 0b001)
        #expect(machine.counts.map(\.allowed) == [2, 0, 5])
        #expect(machine.counts.map(\.shadowRefused) == [4, 5, 0])
        // What it would have refused was not charged: a second later one request is admitted.
        _ = machine.requested(key(1), one, now: second)
        #expect(machine.counts[0].allowed == 3)
    }

    /// Several pieces are either all charged and counted, or none is.
    @Test func piecesTogetherAreAllAdmittedOrNone() {
        var machine = machine(
            bucket("real", .client, .events, rate: 1, burst: 10),
            bucket("shadow", .client, .events, rate: 1, burst: 6, isShadow: true))
        let four = machine.requestedTogether(key(1), RateLimitCost(events: 4, bytes: 90), pieces: 4, now: 0)
        #expect(four)
        #expect(machine.counts.map(\.allowed) == [4, 4])
        // A policy in shadow mode decides each piece by itself; a cost above a capacity is refused.
        let three = machine.requestedTogether(key(1), RateLimitCost(events: 3), pieces: 3, now: 0)
        let eleven = machine.requestedTogether(key(2), RateLimitCost(events: 11), pieces: 11, now: 0)
        #expect(!three && !eleven)
        #expect(machine.keyCount == 1)
        #expect(machine.counts.map(\.allowed) == [4, 4])
        #expect(machine.counts.allSatisfy { $0.refused == 0 && $0.tooLarge == 0 && $0.shadowRefused == 0 })
        for _ in 0..<3 { #expect(machine.requested(key(1), RateLimitCost(events: 1), now: 0).verdict == .admitted) }
        #expect(machine.counts.map(\.allowed) == [7, 6])
        #expect(machine.counts[1].shadowRefused == 1)
    }

    /// Bytes of a refused request came off the wire: they are charged, and the wait that was told counts them.
    @Test func usedBytesLeaveADebtThatTheWaitCounts() {
        for policy in [bucket("b", .client, .bytes, rate: 10, burst: 100), bucket("b", .global, .bytes, rate: 10, burst: 100)] {
            var machine = machine(policy)
            #expect(machine.requested(key(1), RateLimitCost(bytes: 80), now: 0).verdict == .admitted)
            let refused = machine.requested(key(1), RateLimitCost(bytes: 50), lost: 50, now: 0)
            #expect(refused.remaining == 20)
            #expect(refused.wait == 8 * second, "50 lost and 50 again, of which 20 are there")
            machine.used(key(1), bytes: 50, now: 0)
            #expect(machine.requested(key(1), RateLimitCost(bytes: 50), now: 0).wait == 8 * second)
            #expect(machine.requested(key(1), RateLimitCost(bytes: 50), now: 8 * second).verdict == .admitted)
            // More than the bucket holds.
            machine.used(key(1), bytes: 1_000, now: 8 * second)
            #expect(
                machine.requested(key(1), RateLimitCost(bytes: 1), now: 8 * second).wait == 90 * second + second / 10 + 10
                    * second)
            #expect(machine.counts == [counts(allowed: 2, refused: 3)])
        }
        // In a window they count until they leave it.
        var machine = machine(window("w", .client, .bytes, 100, 20))
        machine.used(key(1), bytes: 500, now: 0)
        #expect(machine.keyCount == 1)
        #expect(machine.requested(key(1), RateLimitCost(bytes: 1), now: 0).wait == 21 * second)
        #expect(machine.requested(key(2), RateLimitCost(bytes: 60), lost: 60, now: 0).verdict == .admitted)
        #expect(machine.requested(key(2), RateLimitCost(bytes: 60), lost: 60, now: 10 * second).wait == 21 * second)
    }

    @Test func clientsAndTheRouteHaveQuotasOfTheirOwn() {
        var machine = machine(
            bucket("client", .client, .requests, rate: 1, burst: 2), bucket("route", .route, .requests, rate: 1, burst: 3))
        #expect(machine.requested(key(1), one, now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), one, now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), one, now: 0).violated == 0b01)
        #expect(machine.requested(key(2), one, now: 0).verdict == .admitted)
        #expect(machine.requested(key(2), one, now: 0).violated == 0b10)
        #expect(machine.requested(key(3), one, now: 0).violated == 0b10)
        #expect(machine.keyCount == 2, "a client that was only refused takes no row")
    }

    @Test func theExpectedCostIsCheckedAndNotCharged() {
        var machine = machine(
            bucket("requests", .client, .requests, rate: 1, burst: 10), bucket("events", .client, .events, rate: 1, burst: 2),
            window("bytes", .client, .bytes, 100, 10))
        let expected = RateLimitCost(events: 1, bytes: 80)
        #expect(machine.requested(key(1), one, expecting: expected, now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), one, expecting: expected, now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), RateLimitCost(events: 1, bytes: 80), now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), one, expecting: expected, now: 0).violated == 0b100)
        #expect(machine.requested(key(1), one, expecting: RateLimitCost(bytes: 101), now: 0).verdict == .tooLarge)
        #expect(
            machine.requested(key(1), one, expecting: RateLimitCost(events: .max, bytes: .max), now: 0).verdict == .tooLarge)
        #expect(machine.counts.map(\.allowed) == [2, 1, 1])
    }

    /// A streamed body: the request at its header, then each piece; a refused piece is not charged.
    @Test func piecesAreChargedAsTheyArrive() {
        var machine = machine(
            bucket("requests", .client, .requests, rate: 1, burst: 1), bucket("events", .client, .events, rate: 10, burst: 100),
            window("bytes", .client, .bytes, 1_000, 10))
        #expect(machine.requested(key(1), one, now: 0).verdict == .admitted)
        var admitted = 0
        while machine.requested(key(1), RateLimitCost(events: 1, bytes: 30), now: 0).verdict == .admitted { admitted += 1 }
        #expect(admitted == 33)
        #expect(machine.requested(key(1), RateLimitCost(events: 67), now: 0).verdict == .admitted)
        #expect(machine.requested(key(1), RateLimitCost(bytes: 10), now: 0).verdict == .admitted)
    }

    /// Every bound over all pairs of admitted requests, and every wait to the nanosecond.
    @Test func randomRequestsKeepEveryBoundAndEveryWaitIsExact() {
        let seed = testSeed("rate limits")
        var random = SeededRandom(seed: seed)
        for round in 0..<60 {
            let policies = (0..<Int.random(in: 1...5, using: &random)).map { randomPolicy($0, &random) }
            var machine = RateLimitMachine(RateLimits(policies: policies))
            var admitted: [(time: UInt64, client: UInt64, cost: RateLimitCost)] = []
            var now: UInt64 = 0
            for _ in 0..<300 {
                if Int.random(in: 0..<3, using: &random) == 0 { now += UInt64.random(in: 0...second / 10, using: &random) }
                let client = UInt64.random(in: 0..<3, using: &random)
                let cost = randomCost(&random)
                let decision = machine.requested(key(client), cost, now: now)
                switch decision.verdict {
                case .admitted: admitted.append((now, client, cost))
                case .tooLarge:
                    let tooSmall = policies.indices.filter { policies[$0].capacity < amount(cost, policies[$0].unit) }
                    #expect(decision.violated == tooSmall.reduce(0) { $0 | UInt32(1) << $1 })
                case .refused:
                    #expect(decision.violated != 0 && decision.wait > 0)
                    #expect(decision.violated >> decision.policy & 1 == 1)
                    guard decision.wait < 100 * second else { continue }
                    #expect(
                        machine.requested(key(client), cost, now: now + decision.wait - 1).wait == 1,
                        "seed \(seed), round \(round)")
                    now += decision.wait
                    let again = machine.requested(key(client), cost, now: now)
                    #expect(again.verdict == .admitted, "seed \(seed), round \(round): refused after its wait")
                    admitted.append((now, client, cost))
                }
            }
            for policy in policies {
                var groups: [UInt64: [(time: UInt64, amount: Int)]] = [:]
                for one in admitted where amount(one.cost, policy.unit) > 0 {
                    let group =
                        switch policy.key {
                        case .global, .route: 0 as UInt64
                        case .client: one.client
                        }
                    groups[group, default: []].append((one.time, amount(one.cost, policy.unit)))
                }
                for group in groups.values {
                    #expect(keepsBound(group, policy.quota), "seed \(seed), round \(round), policy \(policy)")
                }
            }
        }
    }

    @Test func aRefusalCarriesThePoliciesInForce() {
        let now = Shared<UInt64>(0)
        let limiter = RateLimiter(
            RateLimits(policies: [bucket("burst", .client, .requests, rate: 1, burst: 1)])
        ) { now.current }
        #expect(limiter.admit(key(1), one) == nil)
        let refusal = limiter.admit(key(1), one)
        #expect(refusal?.decision.wait == second)
        #expect(refusal?.policies.map(\.name) == ["burst"])
        limiter.update(RateLimits(policies: [window("other", .client, .requests, 1, 1)]))
        #expect(limiter.admit(key(1), one) == nil)
        #expect(limiter.admit(key(1), one)?.policies.map(\.name) == ["other"])
        #expect(limiter.statistics.policies.map(\.counts.refused) == [1])
        #expect(limiter.statistics.keys == 1)
        limiter.update(RateLimits())
        #expect(!limiter.isLimited)
        #expect(limiter.admit(key(1), one) == nil)
    }

    @Test func withoutAPolicyTheClockIsNotRead() {
        let reads = Shared(0)
        let limiter = RateLimiter(RateLimits()) {
            reads.withLock { $0 += 1 }
            return 0
        }
        let before = reads.current
        #expect(limiter.admit(key(1), one) == nil)
        #expect(reads.current == before)
    }
}

// MARK: Random limits and their bounds

private func amount(_ cost: RateLimitCost, _ unit: RateLimitPolicy.Unit) -> Int {
    switch unit {
    case .requests: cost.requests
    case .events: cost.events
    case .bytes: cost.bytes
    }
}

private func randomCost(_ random: inout SeededRandom) -> RateLimitCost {
    RateLimitCost(
        requests: .random(in: 0...1, using: &random), events: .random(in: 0...5, using: &random),
        bytes: .random(in: 0...Int.random(in: 1...300, using: &random), using: &random))
}

private func randomPolicy(_ number: Int, _ random: inout SeededRandom) -> RateLimitPolicy {
    let unit = RateLimitPolicy.Unit.allCases.randomElement(using: &random)!
    let scale = unit == .bytes ? 60 : 1
    let most = Int.random(in: 1...40, using: &random) * scale
    let quota: RateLimitPolicy.Quota =
        Bool.random(using: &random)
        ? .bucket(.init(rate: Double(Int.random(in: 1...200, using: &random) * scale) / 3, burst: most))
        : .window(.init(amount: most, span: UInt64.random(in: second / 100...2 * second, using: &random)))
    return RateLimitPolicy("p\(number)", key: RateLimitPolicy.Key.allCases.randomElement(using: &random)!, unit: unit, quota)
}

/// Brute force over all spans from one admitted cost to another, in integers.
private func keepsBound(_ admitted: [(time: UInt64, amount: Int)], _ quota: RateLimitPolicy.Quota) -> Bool {
    for first in admitted.indices {
        var sum = 0
        for last in first..<admitted.endIndex {
            sum += admitted[last].amount
            let span = admitted[last].time - admitted[first].time
            switch quota {
            case .window(let limit):
                if span <= limit.span, sum > limit.amount { return false }
            case .bucket(let limit):
                // Tokens times 10¹⁵: the rate counts in millionths a second, time in nanoseconds.
                let come = Int128((limit.rate * 1e6).rounded()) * Int128(span)
                if Int128(sum - limit.burst) * 1_000_000_000_000_000 > come { return false }
            }
        }
    }
    return true
}
