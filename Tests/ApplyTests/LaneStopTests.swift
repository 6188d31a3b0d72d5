// Transcripts of a lane whose batch asks to stop, and of records that are skipped.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

@Suite struct LaneStopTests {
    private typealias Action = LaneMachine.Action

    private let truncated = StopReason(.truncate, "truncated")

    private func machine() throws -> LaneMachine { LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 10) }

    /// Records without events, from an offset on; the partition stops before one of them.
    private func batch(
        _ source: TopicPartition, from start: Int64 = 0, count: Int = 5, stopsBefore record: Int? = nil
    ) -> ChangeBatch {
        let records = RecordBatch(source: source, generation: 1)
        for offset in start..<start + Int64(count) { records.append(offset: offset, timestamp: 1, key: nil, value: nil) }
        var rows = ChangeRows(columnCount: 1)
        if let record { rows.stop(before: record, truncated) }
        return ChangeBatch(records: records, rows: rows)
    }

    private func part(_ batches: ChangeBatch..., epoch: Int64 = 1, expected: Int64 = 0) -> PartitionBatches {
        PartitionBatches(
            source: batches[0].records.source, generation: UInt64(epoch), epoch: epoch, expected: expected, batches: batches)
    }

    private func write(_ slices: BatchSlice..., claims: [TopicPartition]) -> Action {
        .write(
            slices, claims: claims.map { PartitionClaim(source: $0, epoch: 1, nextOffset: 0) }, final: .none, checksVersion: true)
    }

    private func applied(_ records: Int) -> ApplyOutcome {
        var report = ApplyReport()
        report.records = records
        return .applied(report)
    }

    private func advance(_ source: TopicPartition, to next: Int64) -> OffsetAdvance {
        OffsetAdvance(source: source, epoch: 1, expected: 0, next: next)
    }

    /// What precedes the record becomes durable; the partition stops at the record, and the others go on.
    @Test func aBatchThatAsksToStop() throws {
        var machine = try machine()
        let (stopping, other) = (batch(p0, stopsBefore: 2), batch(p1))
        #expect(
            machine.batchesArrived([part(stopping), part(other)], at: 1)
                == write(BatchSlice(stopping, records: 0..<2), claims: [p0, p1]))
        #expect(
            machine.executed(applied(2), of: [advance(p0, to: 2)], at: 1) == .answer(.stopped([p0], reason: truncated)))
        // The stage comes again without the partition.
        #expect(machine.batchesArrived([part(other)], at: 1) == write(BatchSlice(other), claims: [p1]))
        var counts = AppliedCounts()
        counts.applied = 7
        #expect(machine.executed(applied(5), of: [advance(p1, to: 5)], at: 1) == .answer(.applied(counts)))
        // It was claimed again, and begins at the record.
        machine.claimed(p0)
        let again = part(batch(p0, from: 2, count: 1, stopsBefore: 0), epoch: 2, expected: 2)
        #expect(machine.batchesArrived([again], at: 2) == .answer(.stopped([p0], reason: truncated)))
    }

    /// Partitions that come before it in the transaction are written with what precedes it.
    @Test func aStopInTheSecondPartition() throws {
        var machine = try machine()
        let (other, stopping) = (batch(p0), batch(p1, stopsBefore: 0))
        #expect(machine.batchesArrived([part(other), part(stopping)], at: 1) == write(BatchSlice(other), claims: [p0, p1]))
        #expect(
            machine.executed(applied(5), of: [advance(p0, to: 5)], at: 1) == .answer(.stopped([p1], reason: truncated)))
        var counts = AppliedCounts()
        counts.applied = 5
        #expect(machine.batchesArrived([part(other)], at: 1) == .answer(.applied(counts)), "it is durable")
    }

    @Test func skippedRecordsAreCounted() throws {
        var machine = try machine()
        _ = machine.batchesArrived([part(batch(p0))], at: 1)
        var report = ApplyReport()
        (report.records, report.superseded, report.skipped, report.deadLetters) = (5, 1, 2, ["sql:check": 1])
        var counts = AppliedCounts()
        (counts.applied, counts.superseded, counts.skipped, counts.deadLetters) = (1, 1, 2, ["sql:check": 1])
        #expect(machine.executed(.applied(report), of: [advance(p0, to: 5)], at: 1) == .answer(.applied(counts)))
    }
}
