// Proves that credits are neither lost nor granted twice, and that a refused reader is woken.

import Backpressure
import TestSupport
import Testing

@Suite struct CreditTests {
    @Test func refusesUntilTheLowWatermarkIsFree() {
        var account = CreditMachine(total: Credits(records: 100, bytes: 1000), lowWatermark: 0.25)
        #expect(account.allowanceAsked() == Credits(records: 100, bytes: 1000))
        account.spent(Credits(records: 100, bytes: 500))
        #expect(account.allowanceAsked() == .zero)
        #expect(account.returned(Credits(records: 24, bytes: 120)) == .none)
        #expect(account.allowanceAsked() == .zero)
        #expect(account.returned(Credits(records: 1, bytes: 5)) == .wakeReader)
        #expect(account.allowanceAsked().records == 25)
    }

    @Test func aReaderThatWasNotRefusedIsNotWoken() {
        var account = CreditMachine(total: Credits(records: 10, bytes: 10), lowWatermark: 0.5)
        account.spent(Credits(records: 5, bytes: 5))
        #expect(account.returned(Credits(records: 5, bytes: 5)) == .none)
    }

    @Test func aRecordLargerThanTheShareMakesADebtThatIsPaid() {
        var account = CreditMachine(total: Credits(records: 10, bytes: 100), lowWatermark: 0.25)
        account.spent(Credits(records: 1, bytes: 8 << 20))
        #expect(account.free.bytes == 100 - 8 << 20)
        #expect(account.allowanceAsked() == .zero)
        #expect(account.returned(Credits(records: 1, bytes: 8 << 20)) == .wakeReader)
        #expect(account.free == account.total)
    }

    @Test func randomSpendingKeepsFreePlusOutstandingAndWakesEveryRefusedReader() {
        var random = SeededRandom(seed: testSeed("credits"))
        for _ in 0..<200 {
            let total = Credits(records: .random(in: 1...50, using: &random), bytes: .random(in: 1...5000, using: &random))
            var account = CreditMachine(total: total, lowWatermark: Double.random(in: 0...1, using: &random))
            var flights: [Credits] = []
            var isRefused = false
            for _ in 0..<300 {
                if Bool.random(using: &random) {
                    let allowance = account.allowanceAsked()
                    isRefused = allowance == .zero
                    #expect(allowance.records <= account.free.records || isRefused)
                    guard allowance.isPositive else { continue }
                    let batch = Credits(
                        records: .random(in: 1...allowance.records, using: &random),
                        bytes: .random(in: 0...(allowance.bytes + 200), using: &random))
                    account.spent(batch)
                    flights.append(batch)
                } else if let batch = flights.popLast() {
                    if account.returned(batch) == .wakeReader {
                        #expect(isRefused)
                        isRefused = false
                        #expect(account.allowanceAsked().isPositive)
                    }
                }
                let out = flights.reduce(Credits.zero, +)
                #expect(account.outstanding == out)
                #expect(account.free + account.outstanding == total)
            }
            for batch in flights { if account.returned(batch) == .wakeReader { isRefused = false } }
            #expect(!isRefused, "a refused reader was never woken")
        }
    }

    @Test func poolIgnoresWorkOfAnOlderAssignment() {
        let pool = CreditPool()
        let share = Credits(records: 4, bytes: 40)
        pool.reset(slots: 2, generation: 1, share: share, lowWatermark: 0.25, isOpen: true)
        #expect(pool.allowance(slot: 1, generation: 1) == share)
        pool.spent(slot: 1, generation: 1, share)
        #expect(pool.allowance(slot: 1, generation: 1) == .zero)
        pool.renew(slot: 1, generation: 2, lowWatermark: 0.25, isOpen: true)
        #expect(pool.allowance(slot: 1, generation: 1) == .zero)
        #expect(!pool.returned(slot: 1, generation: 1, share, leaving: share))
        #expect(pool.allowance(slot: 1, generation: 2) == share)
        pool.close(slot: 1)
        #expect(pool.allowance(slot: 1, generation: 2) == .zero)
        #expect(pool.allowance(slot: 0, generation: 1) == share)
        #expect(pool.allowance(slot: 9, generation: 1) == .zero)
        #expect(pool.level().total == share + share)
    }

    @Test func aPauseWaitsForTheDwellAndEndsAtTheHighWatermark() {
        let limits = PauseDecisionMachine.Limits(dwell: 100, low: 0.25, high: 0.75)
        let total = Credits(records: 100, bytes: 100)
        func free(_ n: Int) -> Credits { Credits(records: n, bytes: 100) }
        var decision = PauseDecisionMachine()
        #expect(decision.levelRead(free: free(10), total: total, now: 0, limits: limits) == .none)
        #expect(decision.levelRead(free: free(10), total: total, now: 99, limits: limits) == .none)
        // A break in the starvation starts the dwell anew.
        #expect(decision.levelRead(free: free(30), total: total, now: 99, limits: limits) == .none)
        #expect(decision.levelRead(free: free(10), total: total, now: 100, limits: limits) == .none)
        #expect(decision.levelRead(free: free(24), total: total, now: 200, limits: limits) == .pause)
        #expect(decision.levelRead(free: free(74), total: total, now: 300, limits: limits) == .none)
        #expect(decision.levelRead(free: free(75), total: total, now: 400, limits: limits) == .resume)
        #expect(decision.isPaused == false)
    }
}
