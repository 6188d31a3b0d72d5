// Proves that the ledger returns the credits of what was received, once, and only moves applied offsets forward.

import Backpressure
import Records
import TestSupport
import Testing

@testable import Pipeline

@Suite struct OffsetLedgerTests {
    private static let source = TopicPartition("t", 0)

    private static func entry(generation: UInt64, offset: Int64 = 0) -> OffsetLedgerMachine.Entry {
        .init(source: source, slot: 2, lane: 0, generation: generation, epoch: 1, offset: offset)
    }

    @Test func refundsAPrefixAndCommitsOnlyWhatMoved() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1, offset: 10)])
        let one = Credits(records: 5, bytes: 50)
        let isKnown =
            ledger.received(Self.source, generation: 1, nextOffset: 15, timestamp: 100, credits: one) != nil
            && ledger.received(Self.source, generation: 1, nextOffset: 25, timestamp: 90, credits: one) != nil
        #expect(isKnown)
        #expect(ledger.positions.first?.oldestTimestamp == 90)
        #expect(ledger.takeOffsetsToCommit() == [PartitionStart(source: Self.source, offset: 10)])
        #expect(ledger.takeOffsetsToCommit() == [])
        let refund = ledger.completed(Self.source, generation: 1, nextOffset: 15, isDurable: true)
        #expect(refund == OffsetLedgerMachine.Refund(slot: 2, generation: 1, credits: one))
        #expect(ledger.takeOffsetsToCommit() == [PartitionStart(source: Self.source, offset: 15)])
        #expect(ledger.isDrained == false)
        #expect(ledger.completed(Self.source, generation: 1, nextOffset: 25, isDurable: true)?.credits == one)
        #expect(ledger.isDrained == true)
    }

    @Test func theEndIsNeverBeforeWhatWasReadOrApplied() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1, offset: 10)])
        let isKnown =
            ledger.received(Self.source, generation: 1, nextOffset: 15, timestamp: 1, credits: Credits(records: 5, bytes: 5))
            != nil
        #expect(isKnown)
        #expect(ledger.positions.first?.backlog == nil, "what was read says nothing about the end before it was asked for")
        ledger.endRead(Self.source, end: 12)
        #expect(ledger.positions.first?.end == 15)
        #expect(ledger.positions.first?.backlog == 5)
        _ = ledger.completed(Self.source, generation: 1, nextOffset: 15, isDurable: true)
        #expect(ledger.positions.first?.end == 15)
        #expect(ledger.positions.first?.backlog == 0)
        ledger.restarted(Self.entry(generation: 2, offset: 20))
        #expect(ledger.positions.first?.end == 20)
    }

    @Test func anEndAfterMarkersLeavesNoBacklog() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 2, offset: 10)])
        ledger.endRead(Self.source, end: 16)
        ledger.endReached(Self.source, generation: 1, offset: 16)
        #expect(ledger.positions.first?.backlog == 6, "an older assignment has read that")
        let cost = Credits(records: 5, bytes: 5)
        let isKnown = ledger.received(Self.source, generation: 2, nextOffset: 15, timestamp: 1, credits: cost) != nil
        #expect(isKnown)
        // The log ends in a marker at 15.
        ledger.endReached(Self.source, generation: 2, offset: 16)
        #expect(ledger.positions.first?.backlog == 6, "what was read is not durable yet")
        _ = ledger.completed(Self.source, generation: 2, nextOffset: 15, isDurable: true)
        #expect(ledger.positions.first?.backlog == 0 && ledger.positions.first?.settled == 16)
        // Lag tools see none either.
        #expect(ledger.takeOffsetsToCommit() == [PartitionStart(source: Self.source, offset: 16)])
        ledger.endRead(Self.source, end: 18)
        #expect(ledger.positions.first?.backlog == 2)
        let isLater = ledger.received(Self.source, generation: 2, nextOffset: 18, timestamp: 1, credits: cost) != nil
        #expect(isLater && ledger.positions.first?.backlog == 3)
    }

    @Test func recordsReadByAStoppedPartitionStayItsBacklog() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1, offset: 10)])
        ledger.endRead(Self.source, end: 21)
        let cost = Credits(records: 10, bytes: 10)
        let isKnown = ledger.received(Self.source, generation: 1, nextOffset: 20, timestamp: 1, credits: cost) != nil
        #expect(isKnown)
        ledger.endReached(Self.source, generation: 1, offset: 21)
        let wasValid = ledger.invalidated(Self.source, generation: 1)
        #expect(wasValid)
        _ = ledger.completed(Self.source, generation: 1, nextOffset: 20, isDurable: false)
        #expect(ledger.positions.first?.backlog == 11)
    }

    @Test func anOffsetCommitThatFailedIsRepeated() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1, offset: 10)])
        #expect(ledger.takeOffsetsToCommit() == [PartitionStart(source: Self.source, offset: 10)])
        #expect(ledger.positions.first?.committed == 10)
        ledger.offsetCommitFailed([Self.source, TopicPartition("t", 1)])
        #expect(ledger.positions.first?.committed == nil)
        #expect(ledger.takeOffsetsToCommit() == [PartitionStart(source: Self.source, offset: 10)])
    }

    @Test func workOfAnOlderGenerationChangesNothing() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1)])
        _ = ledger.received(Self.source, generation: 1, nextOffset: 5, timestamp: -1, credits: Credits(records: 5, bytes: 5))
        ledger.restarted(Self.entry(generation: 2, offset: 3))
        #expect(ledger.completed(Self.source, generation: 1, nextOffset: 5, isDurable: true) == nil)
        let stale = ledger.received(Self.source, generation: 1, nextOffset: 9, timestamp: -1, credits: .zero)
        #expect(stale == nil)
        #expect(ledger.positions.first?.applied == 3)
        #expect(ledger.positions.first?.oldestTimestamp == nil)
    }

    @Test func anInvalidatedPartitionDropsItsWorkButReturnsItsCredits() {
        var ledger = OffsetLedgerMachine()
        ledger.assigned([Self.entry(generation: 1)])
        _ = ledger.received(Self.source, generation: 1, nextOffset: 5, timestamp: -1, credits: Credits(records: 5, bytes: 5))
        #expect(ledger.invalidated(Self.source, generation: 1) == true)
        #expect(ledger.invalidated(Self.source, generation: 1) == false)
        #expect(ledger.entry(Self.source, generation: 1) == nil)
        #expect(ledger.isDrained == true)
        #expect(ledger.takeOffsetsToCommit() == [])
        let refund = ledger.completed(Self.source, generation: 1, nextOffset: 5, isDurable: false)
        #expect(refund?.credits == Credits(records: 5, bytes: 5))
        #expect(ledger.positions.first?.applied == 0)
    }

    @Test func randomBatchesAddUp() {
        var random = SeededRandom(seed: testSeed("ledger"))
        for _ in 0..<100 {
            var ledger = OffsetLedgerMachine()
            ledger.assigned([Self.entry(generation: 1)])
            var next: Int64 = 0
            var flights: [(next: Int64, credits: Credits)] = []
            var out = Credits.zero
            for _ in 0..<200 {
                if Bool.random(using: &random) || flights.isEmpty {
                    let credits = Credits(records: .random(in: 1...9, using: &random), bytes: .random(in: 0...99, using: &random))
                    next += Int64(credits.records) + .random(in: 0...3, using: &random)
                    _ = ledger.received(Self.source, generation: 1, nextOffset: next, timestamp: next, credits: credits)
                    flights.append((next, credits))
                    out += credits
                } else {
                    let count = Int.random(in: 1...flights.count, using: &random)
                    let expected = flights[..<count].reduce(Credits.zero) { $0 + $1.credits }
                    let refund = ledger.completed(
                        Self.source, generation: 1, nextOffset: flights[count - 1].next, isDurable: true)
                    #expect(refund?.credits == expected)
                    #expect(ledger.positions.first?.applied == flights[count - 1].next)
                    flights.removeFirst(count)
                    out -= expected
                }
                #expect(ledger.positions.first?.outstanding == out)
                #expect(ledger.positions.first?.oldestTimestamp == flights.first?.next)
            }
        }
    }
}
