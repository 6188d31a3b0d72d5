// Proves that accounts can change their size while credits are under way, and wake those that wait.

import Backpressure
import TestSupport
import Testing

@Suite struct ResizeTests {
    private let whole = Credits(records: 10_000, bytes: 10_000)

    @Test func accountsKeepWhatIsUnderWay() {
        let pool = CreditPool()
        pool.reset(slots: 2, generation: 1, share: Credits(records: 100, bytes: 100), lowWatermark: 0.5, isOpen: true)
        pool.spent(slot: 0, generation: 1, Credits(records: 90, bytes: 90))
        #expect(!pool.resize(total: whole, share: Credits(records: 50, bytes: 60), lowWatermark: 0.5), "no reader was refused")
        #expect(pool.level(slot: 0, generation: 1)?.free == Credits(records: -40, bytes: -30))
        #expect(pool.level(slot: 1, generation: 1)?.free == Credits(records: 50, bytes: 60))
        #expect(pool.allowance(slot: 0, generation: 1) == .zero)
        #expect(!pool.resize(total: whole, share: Credits(records: 100, bytes: 100), lowWatermark: 0.5))
        let isWoken = pool.resize(total: whole, share: Credits(records: 1_000, bytes: 1_000), lowWatermark: 0.5)
        #expect(isWoken, "the refused reader is not woken")
        #expect(pool.allowance(slot: 0, generation: 1) == Credits(records: 910, bytes: 910))
        #expect(!pool.returned(slot: 0, generation: 1, Credits(records: 90, bytes: 90), leaving: Credits(records: 90, bytes: 90)))
        #expect(pool.level().free == pool.level().total)
    }

    @Test func theWholeIsResizedToo() {
        let pool = CreditPool()
        let share = Credits(records: 100, bytes: 100)
        pool.reset(slots: 2, generation: 1, share: share, lowWatermark: 0.5, isOpen: true)
        #expect(!pool.resize(total: Credits(records: 60, bytes: 60), share: share, lowWatermark: 0.5))
        pool.spent(slot: 0, generation: 1, Credits(records: 60, bytes: 60))
        #expect(pool.allowance(slot: 1, generation: 1) == .zero, "the other partition holds all credits")
        #expect(!pool.resize(total: Credits(records: 80, bytes: 80), share: share, lowWatermark: 0.5))
        #expect(pool.resize(total: Credits(records: 120, bytes: 120), share: share, lowWatermark: 0.5))
        #expect(pool.allowance(slot: 1, generation: 1) == Credits(records: 60, bytes: 60))
    }

    @Test func aClosedAccountIsResizedAndWakesNoReader() {
        let pool = CreditPool()
        pool.reset(slots: 1, generation: 1, share: Credits(records: 10, bytes: 10), lowWatermark: 0.5, isOpen: true)
        pool.spent(slot: 0, generation: 1, Credits(records: 10, bytes: 10))
        #expect(pool.allowance(slot: 0, generation: 1) == .zero)
        pool.close()
        #expect(!pool.resize(total: whole, share: Credits(records: 100, bytes: 100), lowWatermark: 0.5))
    }

    @Test func aCircuitKeepsItsCountUnderAnotherThreshold() {
        var circuit = CircuitBreakerMachine(
            threshold: 10, backoff: Backoff(initial: 100, maximum: 100), probeTimeout: 1_000)
        for _ in 0..<3 { #expect(circuit.failed(now: 0, random: 0) == false) }
        circuit.thresholdChanged(to: 4)
        #expect(circuit.failed(now: 0, random: 0) == true)
        circuit.thresholdChanged(to: 100)
        #expect(circuit.state == .open)
    }
}
