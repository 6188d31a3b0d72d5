// Proves that a token bucket keeps its rate in every span of time, pays its debts, and is never refilled by a change.

import Backpressure
import TestSupport
import Testing

private let second: UInt64 = 1_000_000_000

/// A bucket with its limit.
private struct Bucket: ~Copyable {
    private(set) var limit: TokenBucketMachine.Limit
    private var machine = TokenBucketMachine()

    init(_ limit: TokenBucketMachine.Limit, isFull: Bool = true, now: UInt64) {
        self.limit = limit
        if !isFull { machine = TokenBucketMachine(emptyAt: now, limit) }
    }

    func availableTokens(at now: UInt64) -> Int { machine.availableTokens(limit, at: now) }
    func retryDelay(for amount: Int, at now: UInt64) -> UInt64 { machine.retryDelay(for: amount, limit, at: now) }
    mutating func spent(_ amount: Int, now: UInt64) { machine.spent(amount, limit, now: now) }
    mutating func update(_ changed: TokenBucketMachine.Limit, now: UInt64) {
        machine.update(from: limit, to: changed, now: now)
        limit = changed
    }
}

@Suite struct TokenBucketTests {
    @Test func fillsAtItsRateUpToTheBurst() {
        var bucket = Bucket(.init(rate: 10, burst: 5), now: second)
        #expect(bucket.availableTokens(at: second) == 5)
        bucket.spent(5, now: second)
        #expect(bucket.availableTokens(at: second) == 0)
        #expect(bucket.availableTokens(at: second + 99_999_999) == 0)
        #expect(bucket.availableTokens(at: second + 100_000_000) == 1)
        #expect(bucket.availableTokens(at: second + 10 * second) == 5)
    }

    @Test func theWaitIsExact() {
        let bucket = Bucket(.init(rate: 3, burst: 10), isFull: false, now: 0)
        let wait = bucket.retryDelay(for: 1, at: 0)
        #expect(wait == 333_333_334)
        #expect(bucket.retryDelay(for: 1, at: wait - 1) == 1)
        #expect(bucket.retryDelay(for: 1, at: wait) == 0)
        #expect(bucket.retryDelay(for: 0, at: wait) == 0)
    }

    @Test func isExactHoweverOftenItIsAsked() {
        // A third of a token per second, asked every 7 ns for a while: rounding would lose all of it.
        let often = Bucket(.init(rate: 1.0 / 3, burst: 10), isFull: false, now: 0)
        var now: UInt64 = 0
        for _ in 0..<200_000 {
            now += 7
            _ = often.availableTokens(at: now)
        }
        let once = Bucket(.init(rate: 1.0 / 3, burst: 10), isFull: false, now: 0)
        #expect(often.retryDelay(for: 1, at: now) == once.retryDelay(for: 1, at: now))
    }

    @Test func aUseLargerThanTheBucketNeedsItFullAndLeavesADebt() {
        var bucket = Bucket(.init(rate: 10, burst: 10), now: 0)
        bucket.spent(1, now: 0)
        #expect(bucket.retryDelay(for: 25, at: 0) == second / 10)
        #expect(bucket.retryDelay(for: 25, at: second / 10) == 0)
        bucket.spent(25, now: second / 10)
        #expect(bucket.availableTokens(at: second / 10) == -15)
        #expect(bucket.retryDelay(for: 1, at: second / 10) == 16 * second / 10)
    }

    @Test func aChangeKeepsTheLevelAndNeverRefills() {
        var bucket = Bucket(.init(rate: 10, burst: 100), now: 0)
        bucket.spent(70, now: 0)
        bucket.update(.init(rate: 1_000, burst: 1_000), now: 0)
        #expect(bucket.availableTokens(at: 0) == 30)
        bucket.update(.init(rate: 1_000, burst: 20), now: 0)
        #expect(bucket.availableTokens(at: 0) == 20)
        bucket.update(.init(rate: 1_000, burst: 1_000), now: 0)
        #expect(bucket.availableTokens(at: 0) == 20)
        // Tokens before the change were added at the old rate.
        bucket.update(.init(rate: 10, burst: 1_000), now: 0)
        bucket.update(.init(rate: 1_000_000, burst: 1_000), now: second)
        #expect(bucket.availableTokens(at: second) == 30)
        bucket.spent(80, now: second)
        bucket.update(.init(rate: 1, burst: 1), now: second)
        #expect(bucket.availableTokens(at: second) == -50)
    }

    @Test func extremesNeitherOverflowNorDivideByNothing() {
        var idle = Bucket(.init(rate: 0, burst: 1), now: 0)
        #expect(idle.retryDelay(for: 1, at: 0) == 0)
        idle.spent(1, now: 0)
        #expect(idle.retryDelay(for: 1, at: .max) == .max)
        var huge = Bucket(.init(rate: 1e300, burst: .max), isFull: false, now: 0)
        #expect(huge.availableTokens(at: .max) == 1_000_000_000_000)
        for _ in 0..<100 { huge.spent(.max, now: .max) }
        #expect(huge.availableTokens(at: .max) < 0)
        #expect(huge.retryDelay(for: 1, at: .max) > 0)
        // A clock that goes back adds nothing.
        let bucket = Bucket(.init(rate: 1, burst: 5), isFull: false, now: 10 * second)
        #expect(bucket.availableTokens(at: 0) <= 0)
        #expect(bucket.availableTokens(at: 11 * second) == 1)
    }

    /// The limiter of the ingress allocates rows by clearing memory.
    @Test func memoryThatIsAllZeroIsAFullBucket() {
        #expect(MemoryLayout<TokenBucketMachine>.size == 16)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        let bucket = memory.assumingMemoryBound(to: TokenBucketMachine.self)
        let limit = TokenBucketMachine.Limit(rate: 7, burst: 9)
        #expect(bucket.pointee.availableTokens(limit, at: 5 * second) == 9)
        bucket.pointee.spent(10, limit, now: 5 * second)
        #expect(bucket.pointee.availableTokens(limit, at: 5 * second) == -1)
        #expect(bucket.pointee.retryDelay(for: 6, limit, at: 5 * second) == second)
    }

    /// In every span from one use to another: used ≤ burst + rate · span + the largest debt.
    @Test func randomUseKeepsTheBoundInEverySpan() {
        let seed = testSeed("token bucket")
        var random = SeededRandom(seed: seed)
        for round in 0..<60 {
            let rate = Double(Int.random(in: 1...5_000, using: &random)) / Double([1, 3, 7].randomElement(using: &random)!)
            let burst = Int.random(in: 1...500, using: &random)
            let limit = TokenBucketMachine.Limit(rate: rate, burst: burst)
            var bucket = Bucket(limit, isFull: Bool.random(using: &random), now: 0)
            var passed: [(time: UInt64, amount: Int)] = []
            var overdraft = 0
            var now: UInt64 = 0
            for _ in 0..<300 {
                now += UInt64.random(in: 0...20_000_000, using: &random)
                let amount = Int.random(in: 1...(Bool.random(using: &random) ? 3 : 700), using: &random)
                guard bucket.retryDelay(for: amount, at: now) == 0 else { continue }
                overdraft = Swift.max(overdraft, amount - bucket.availableTokens(at: now))
                bucket.spent(amount, now: now)
                passed.append((now, amount))
            }
            #expect(overdraft <= Swift.max(0, 700 - burst))
            for first in passed.indices {
                var sum = 0
                for last in first..<passed.endIndex {
                    sum += passed[last].amount
                    let span = Double(passed[last].time - passed[first].time) / 1e9
                    let bound = Double(burst) + limit.rate * span + Double(overdraft)
                    // The rate is kept to the millionth.
                    #expect(Double(sum) <= bound + 1e-6 * span + 1e-6, "seed \(seed), round \(round)")
                }
            }
        }
    }

    /// A user that waits as long as it is told gets its tokens then, and the whole rate is used.
    @Test func aPatientUserGetsTheWholeRate() {
        var random = SeededRandom(seed: testSeed("patient user"))
        for _ in 0..<50 {
            let rate = Int.random(in: 1...100_000, using: &random)
            var bucket = Bucket(.init(rate: Double(rate), burst: 50), now: 0)
            var now: UInt64 = 0
            var passed = 0
            while passed < 5_000 {
                let amount = Int.random(in: 1...80, using: &random)
                now += bucket.retryDelay(for: amount, at: now)
                #expect(bucket.retryDelay(for: amount, at: now) == 0)
                bucket.spent(amount, now: now)
                passed += amount
            }
            let ideal = Double(passed - 50 - 80) / Double(rate)
            #expect(Double(now) / 1e9 >= ideal)
            #expect(Double(now) / 1e9 <= Double(passed) / Double(rate) + 1e-3)
        }
    }
}
