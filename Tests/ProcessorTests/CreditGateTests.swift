// Proves that the reader is not allowed more than a transaction may carry, and is charged what a batch takes.

import Backpressure
import Testing

@testable import sluice

@Suite struct CreditGateTests {
    @Test func aBatchIsNoLargerThanATransaction() {
        let pool = CreditPool()
        pool.reset(slots: 1, stamp: 1, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.25, isOpen: true)
        let gate = CreditGate(pool: pool, batch: Credits(records: 100, bytes: 300))
        #expect(gate.allowance(0, assignment: 1) == (100, 300))
        gate.spent(slot: 0, assignment: 1, records: 950, bytes: 600)
        #expect(gate.allowance(0, assignment: 1) == (50, 300))
        #expect(gate.allowance(0, assignment: 2) == (0, 0))
    }

    @Test func theReaderIsChargedWhatABatchTakes() {
        let pool = CreditPool(batchOverhead: 100, recordOverhead: 10)
        pool.reset(slots: 1, stamp: 1, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.25, isOpen: true)
        let gate = CreditGate(pool: pool, batch: Credits(records: 100, bytes: 3_000))
        #expect(gate.recordOverhead == 10)
        gate.spent(slot: 0, assignment: 1, records: 20, bytes: 300)
        #expect(gate.allowance(0, assignment: 1) == (100, 400))
    }
}
