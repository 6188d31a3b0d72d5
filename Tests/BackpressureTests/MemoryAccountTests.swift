// Proves that the account of the whole pipeline counts every batch until it has left, also when its assignment is over.

import Backpressure
import TestSupport
import Testing

@Suite struct MemoryAccountTests {
    private static let share = Credits(records: 10, bytes: 100)

    private static func pool(total: Credits, slots: Int = 2) -> CreditPool {
        let pool = CreditPool()
        #expect(!pool.resize(total: total))
        pool.reset(slots: slots, generation: 1, share: share, lowWatermark: 0.25, isOpen: true)
        return pool
    }

    @Test func aNewAssignmentDoesNotReadAsMuchAgain() {
        let pool = Self.pool(total: Credits(records: 20, bytes: 200))
        for slot in 0..<2 {
            #expect(pool.allowance(slot: slot, generation: 1) == Self.share)
            pool.spent(slot: slot, generation: 1, Self.share)
        }
        // Both batches are stuck in the database when the partitions come back under another generation.
        pool.reset(slots: 2, generation: 2, share: Self.share, lowWatermark: 0.25, isOpen: true)
        #expect(pool.level().free == Self.share + Self.share)
        #expect(pool.allowance(slot: 0, generation: 2) == .zero)
        #expect(pool.memory.outstanding == Credits(records: 20, bytes: 200))
        pool.renew(slot: 1, generation: 3, lowWatermark: 0.25, isOpen: true)
        #expect(pool.allowance(slot: 1, generation: 3) == .zero)
        // A part of the first is too little for a useful batch; then the refused reader is woken, although no partition's account got any.
        #expect(!pool.returned(slot: 0, generation: 1, Credits(records: 1, bytes: 10), leaving: Credits(records: 1, bytes: 10)))
        #expect(pool.left(Credits(records: 4, bytes: 40)))
        #expect(pool.level().free == Self.share + Self.share)
        #expect(pool.allowance(slot: 0, generation: 2) == Credits(records: 5, bytes: 50))
    }

    @Test func workOfAnOlderGenerationIsChargedToTheWholeOnly() {
        let pool = Self.pool(total: Credits(records: 100, bytes: 1000))
        pool.renew(slot: 0, generation: 2, lowWatermark: 0.25, isOpen: true)
        // The reader does not have the new generation yet.
        pool.spent(slot: 0, generation: 1, Self.share)
        #expect(pool.allowance(slot: 0, generation: 2) == Self.share)
        #expect(pool.memory.outstanding == Self.share)
        #expect(!pool.left(Self.share))
        #expect(pool.memory.outstanding == .zero)
    }

    @Test func aRecordLargerThanTheWholePassesAloneAndLeavesADebt() {
        let pool = Self.pool(total: Credits(records: 20, bytes: 200))
        #expect(pool.allowance(slot: 0, generation: 1) == Self.share)
        let large = Credits(records: 1, bytes: 8 << 20)
        pool.spent(slot: 0, generation: 1, large)
        #expect(pool.level(slot: 0, generation: 1)?.free.bytes == 100 - 8 << 20)
        #expect(pool.allowance(slot: 0, generation: 1) == .zero)
        #expect(pool.allowance(slot: 1, generation: 1) == .zero, "its own account is free, the whole pipeline's is not")
        #expect(pool.returned(slot: 0, generation: 1, large, leaving: large))
        #expect(pool.allowance(slot: 0, generation: 1) == Self.share)
        #expect(pool.allowance(slot: 1, generation: 1) == Self.share)
    }

    @Test func aBatchIsChargedWithItsOverhead() {
        let pool = CreditPool(batchOverhead: 700, recordOverhead: 40)
        #expect(pool.charge(records: 3, bytes: 100) == Credits(records: 3, bytes: 100 + 700 + 120))
    }

    @Test func aLargerWholeWakesARefusedReader() {
        let pool = Self.pool(total: Credits(records: 4, bytes: 40))
        pool.spent(slot: 0, generation: 1, Credits(records: 4, bytes: 40))
        #expect(pool.allowance(slot: 1, generation: 1) == .zero)
        #expect(pool.resize(total: Credits(records: 20, bytes: 200)))
        #expect(pool.allowance(slot: 1, generation: 1) == Self.share)
    }

    /// A reader like the poll thread: it visits all slots while it is awake and sleeps when all refuse.
    @Test func randomActionsNeverLoseAWakeUpNorGrantTooMuch() {
        var random = SeededRandom(seed: testSeed("memory account"))
        for _ in 0..<200 {
            var model = Model(&random)
            model.run(&random)
        }
    }

    private struct Model {
        private struct Slot {
            var generation: UInt64
            var isOpen = true
            var outstanding = Credits.zero
        }
        private struct Flight {
            var slot: Int
            var generation: UInt64
            var credits: Credits
        }

        private let pool = CreditPool()
        private var total: Credits
        private var share: Credits
        private let watermark: Double
        private var slots: [Slot] = []
        private var flights: [Flight] = []
        private var generation: UInt64 = 0
        private var isAwake = true

        init(_ random: inout SeededRandom) {
            total = Self.amount(1...60, &random)
            share = Self.amount(1...40, &random)
            watermark = Double.random(in: 0...1, using: &random)
            _ = pool.resize(total: total)
        }

        private static func amount(_ records: ClosedRange<Int>, _ random: inout SeededRandom) -> Credits {
            Credits(records: .random(in: records, using: &random), bytes: .random(in: 1...4000, using: &random))
        }

        mutating func run(_ random: inout SeededRandom) {
            assign(&random)
            for _ in 0..<400 {
                switch Int.random(in: 0..<100, using: &random) {
                case 0..<45: visit(&random)
                case 45..<90: complete(&random)
                case 90..<93: assign(&random)
                case 93..<95:
                    generation += 1
                    let slot = Int.random(in: 0..<slots.count, using: &random)
                    slots[slot] = Slot(generation: generation)
                    pool.renew(slot: slot, generation: generation, lowWatermark: watermark, isOpen: true)
                    isAwake = true
                case 95..<97:
                    let slot = Int.random(in: 0..<slots.count, using: &random)
                    slots[slot].isOpen = false
                    pool.close(slot: slot)
                default:
                    total = Self.amount(1...60, &random)
                    if pool.resize(total: total) { isAwake = true }
                }
                check()
            }
            while !flights.isEmpty {
                complete(&random)
                check()
            }
            #expect(pool.memory.outstanding == .zero)
        }

        private mutating func assign(_ random: inout SeededRandom) {
            generation += 1
            share = Self.amount(1...40, &random)
            slots = (0..<Int.random(in: 1...4, using: &random)).map { _ in Slot(generation: generation) }
            pool.reset(slots: slots.count, generation: generation, share: share, lowWatermark: watermark, isOpen: true)
            isAwake = true
        }

        private mutating func visit(_ random: inout SeededRandom) {
            guard isAwake else { return }
            var hasRead = false
            for slot in slots.indices {
                let allowance = pool.allowance(slot: slot, generation: slots[slot].generation)
                guard allowance.isPositive else {
                    #expect(allowance == .zero)
                    continue
                }
                hasRead = true
                #expect(slots[slot].isOpen)
                #expect((share - slots[slot].outstanding).covers(allowance), "more than its account has free")
                #expect((total - outstanding).covers(allowance), "more than the whole pipeline has free")
                // The last record may be larger than what is free.
                let batch = Credits(
                    records: .random(in: 1...allowance.records, using: &random),
                    bytes: .random(in: 0...(allowance.bytes + 300), using: &random))
                pool.spent(slot: slot, generation: slots[slot].generation, batch)
                slots[slot].outstanding += batch
                flights.append(Flight(slot: slot, generation: slots[slot].generation, credits: batch))
            }
            isAwake = hasRead
        }

        private mutating func complete(_ random: inout SeededRandom) {
            guard let index = flights.indices.randomElement(using: &random) else { return }
            let flight = flights.remove(at: index)
            let isCurrent = slots.indices.contains(flight.slot) && slots[flight.slot].generation == flight.generation
            if isCurrent { slots[flight.slot].outstanding -= flight.credits }
            let isWoken =
                isCurrent || Bool.random(using: &random)
                ? pool.returned(slot: flight.slot, generation: flight.generation, flight.credits, leaving: flight.credits)
                : pool.left(flight.credits)
            if isWoken { isAwake = true }
        }

        private var outstanding: Credits { flights.reduce(.zero) { $0 + $1.credits } }

        private func low(_ amount: Credits) -> Credits {
            Credits(
                records: max(1, Int(Double(amount.records) * watermark)), bytes: max(1, Int(Double(amount.bytes) * watermark)))
        }

        private func check() {
            let memory = pool.memory
            #expect(memory.outstanding == outstanding)
            #expect(memory.total == total)
            for (index, slot) in slots.enumerated() {
                let free = share - slot.outstanding
                #expect(pool.level(slot: index, generation: slot.generation)?.free == free)
                guard !isAwake, slot.isOpen else { continue }
                let couldRead = free.covers(low(share)) && (total - outstanding).covers(low(share))
                #expect(!couldRead, "slot \(index) sleeps although credits are free: \(free) and \(total - outstanding)")
            }
        }
    }
}
