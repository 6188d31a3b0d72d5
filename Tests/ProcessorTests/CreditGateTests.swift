// Proves that the reader is not allowed more than a transaction may carry, and is charged what a batch takes.

import Backpressure
import TestSupport
import Testing

@testable import sluice

@Suite struct CreditGateTests {
    @Test func aBatchIsNoLargerThanATransaction() {
        let pool = CreditPool()
        pool.reset(slots: 1, generation: 1, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.25, isOpen: true)
        let limiter = ConsumeLimiter(ConsumeLimits(), batch: Credits(records: 100, bytes: 300)) { 0 }
        let gate = CreditGate(pool: pool, limiter: limiter)
        #expect(gate.allowance(0, assignment: 1) == (100, 300))
        gate.spent(slot: 0, assignment: 1, records: 950, bytes: 600)
        #expect(gate.allowance(0, assignment: 1) == (50, 300))
        #expect(gate.allowance(0, assignment: 2) == (0, 0))
    }

    @Test func theReaderIsChargedWhatABatchTakes() {
        let pool = CreditPool(batchOverhead: 100, recordOverhead: 10)
        pool.reset(slots: 1, generation: 1, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.25, isOpen: true)
        let gate = CreditGate(
            pool: pool, limiter: ConsumeLimiter(ConsumeLimits(), batch: Credits(records: 100, bytes: 3_000)) { 0 })
        #expect(gate.recordOverhead == 10)
        gate.spent(slot: 0, assignment: 1, records: 20, bytes: 300)
        #expect(gate.allowance(0, assignment: 1) == (100, 400))
    }

    @Test func aLimitHoldsTheReaderAndNotTheCredits() {
        let pool = CreditPool()
        pool.reset(slots: 1, generation: 1, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.25, isOpen: true)
        let now = Shared<UInt64>(0)
        let limiter = ConsumeLimiter(ConsumeLimits(all: .init(events: 100)), batch: Credits(records: 100, bytes: 300)) {
            now.current
        }
        let gate = CreditGate(pool: pool, limiter: limiter)
        #expect(gate.allowance(0, assignment: 1) == (5, 300))
        gate.spent(slot: 0, assignment: 1, records: 5, bytes: 50)
        gate.spent(slot: 0, assignment: 1, records: 5, bytes: 50)
        #expect(gate.opensIn() == nil)
        #expect(gate.allowance(0, assignment: 1) == (0, 0))
        #expect(gate.opensIn() == 50_000_000)
        #expect(pool.level(slot: 0, generation: 1)?.free.records == 990, "a partition that waits for a rate is not starved")
        now.withLock { $0 = 50_000_000 }
        #expect(gate.allowance(0, assignment: 1) == (5, 300))
        // Work of another generation, and a partition without credits, set no time to read again.
        #expect(gate.allowance(0, assignment: 7) == (0, 0))
        #expect(gate.opensIn() == nil)
    }
}
