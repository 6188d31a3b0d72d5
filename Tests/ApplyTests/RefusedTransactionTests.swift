// A transcript of what a lane decides where a transaction of several mappings was refused.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)
private let orphan = PostgresError(.server, "no parent", sqlState: SQLState("23503"))

@Suite struct RefusedTransactionTests {
    /// Five records at the offsets 0, 2, … 8.
    private func batch(_ source: TopicPartition) -> ChangeBatch {
        changeBatch(source, from: 0, (0..<5).map { message(.upsert, $0) }, shape: messagesShape)
    }

    private func part(_ batch: ChangeBatch) -> PartitionBatches {
        PartitionBatches(source: batch.records.source, generation: 1, epoch: 1, expected: 0, batches: [batch])
    }

    private func write(_ slices: BatchSlice..., from offsets: (Int64, Int64)) -> LaneMachine.Action {
        let claims = [(p0, offsets.0), (p1, offsets.1)].map { PartitionClaim(source: $0.0, epoch: 1, nextOffset: $0.1) }
        return .write(slices, claims: claims, final: .none, checksVersion: true)
    }

    private func applied(_ records: Int) -> ApplyOutcome {
        var report = ApplyReport()
        report.records = records
        report.parts = [report, ApplyReport()]
        return .applied(report)
    }

    /// Also one of several batches: what is refused is to be found, and the stage's transactions stay as large as they are.
    @Test func itIsWrittenInHalves() throws {
        var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 10)
        let (first, second) = (batch(p0), batch(p1))
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(second, records: records) }
        #expect(
            machine.batchesArrived([part(first), part(second)], at: 1)
                == write(BatchSlice(first), BatchSlice(second), from: (0, 0)))
        #expect(machine.executed(.refused(orphan), of: [], at: 1) == write(BatchSlice(first), from: (0, 0)))
        #expect(machine.executed(applied(5), of: [], at: 1) == write(BatchSlice(second), from: (9, 0)))
        #expect(machine.executed(.refused(orphan), of: [], at: 1) == write(slice(0..<2), from: (9, 0)))
        #expect(machine.executed(applied(2), of: [], at: 1) == write(slice(2..<5), from: (9, 3)))
        guard case .answer(.applied(let counts)) = machine.executed(applied(3), of: [], at: 1) else {
            Issue.record("it is not applied")
            return
        }
        #expect(counts.applied == 10 && counts.parts.map(\.applied) == [10, 0])
    }

    /// A record that was found to wait for a row is cut off at once when it is tried again.
    @Test func aRecordThatWaitsIsNotSearchedForAgain() throws {
        var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 1_000_000_000)
        let batch = batch(p0)
        func write(_ records: Range<Int>) -> LaneMachine.Action {
            .write(
                [BatchSlice(batch, records: records)], claims: [PartitionClaim(source: p0, epoch: 1, nextOffset: 0)],
                final: .none,
                checksVersion: true)
        }
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(0..<5))
        #expect(machine.executed(.refused(orphan), of: [], at: 1) == write(0..<2))
        #expect(machine.executed(.retry(.constraint, orphan), of: [], at: 1) == write(0..<1))
        guard case .answer(.appliedInPart(_, let waiting)) = machine.executed(.retry(.constraint, orphan), of: [], at: 1) else {
            Issue.record("it does not wait")
            return
        }
        machine.claimed(p0)
        let again = 1 + waiting[0].retryIn
        #expect(machine.batchesArrived([part(batch)], at: again) == write(0..<5))
        #expect(machine.executed(.refused(orphan), of: [], at: again) == write(0..<1))
    }

    /// A single record is one mapping's, so no half of it can help.
    @Test func aSingleRecordStops() throws {
        var machine = LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: 10)
        _ = machine.batchesArrived([part(changeBatch(p0, from: 0, [message(.upsert, 1)], shape: messagesShape))], at: 1)
        guard case .answer(.stopped([p0], let reason)) = machine.executed(.refused(orphan), of: [], at: 1) else {
            Issue.record("it is not stopped")
            return
        }
        #expect(reason.kind == .schema)
    }
}
