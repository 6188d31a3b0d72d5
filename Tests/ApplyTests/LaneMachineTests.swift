// Transcripts of what a lane decides between attempts: each input with the action that follows from it.

import Postgres
import Records
import SluiceTables
import Testing

@testable import Apply

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)
private let outage = PostgresError(.connection, "gone")
private let unreadable = PostgresError(.server, "no such table", sqlState: .undefinedTable)
private let busy = PostgresError(.server, "busy", sqlState: .lockNotAvailable)
private let slow = PostgresError(.server, "slow", sqlState: .queryCanceled)
private let changed = PostgresError(.server, "changed", sqlState: .schemaChanged)
private let orphan = PostgresError(.server, "no parent", sqlState: SQLState("23503"))

@Suite struct LaneMachineTests {
    private typealias Action = LaneMachine.Action

    private func machine(constraintTimeout: UInt64 = 10) throws -> LaneMachine {
        LaneMachine(outcomes: try OutcomeTable(), constraintTimeout: constraintTimeout)
    }

    /// Five records at the offsets `start`, `start` + 2, … `start` + 8.
    private func batch(_ source: TopicPartition = p0, from start: Int64 = 0) -> ChangeBatch {
        changeBatch(source, from: start, (0..<5).map { message(.upsert, $0) }, shape: messagesShape)
    }

    private func part(_ batches: ChangeBatch..., epoch: Int64 = 1, generation: UInt64 = 1, expected: Int64 = 0)
        -> PartitionBatches
    {
        PartitionBatches(
            source: batches[0].records.source, generation: generation, epoch: epoch, expected: expected, batches: batches)
    }

    private func write(
        _ slices: BatchSlice..., from offset: Int64 = 0, epoch: Int64 = 1, checksVersion: Bool = true
    ) -> Action {
        .write(
            slices, claims: [PartitionClaim(source: slices[0].source, epoch: epoch, nextOffset: offset)], final: .none,
            checksVersion: checksVersion)
    }

    private func advance(_ source: TopicPartition = p0, epoch: Int64 = 1, _ expected: Int64 = 0, _ next: Int64 = 9)
        -> OffsetAdvance
    {
        OffsetAdvance(source: source, epoch: epoch, expected: expected, next: next)
    }

    private func report(_ records: Int, superseded: Int = 0, deadLetters: [String: Int] = [:]) -> ApplyOutcome {
        var report = ApplyReport()
        report.records = records
        report.superseded = superseded
        report.deadLetters = deadLetters
        return .applied(report)
    }

    private func applied(_ count: Int, superseded: Int = 0, deadLetters: [String: Int] = [:]) -> Action {
        var counts = AppliedCounts()
        counts.applied = count
        counts.superseded = superseded
        counts.deadLetters = deadLetters
        return .answer(.applied(counts))
    }

    private func retry(_ reason: String, isOutage: Bool = false) -> Action { .answer(.retry(reason: reason, isOutage: isOutage)) }

    @Test func appliedAtOnce() throws {
        var machine = try machine()
        let (first, second) = (batch(), batch(from: 10))
        #expect(machine.batchesArrived([part(first)], at: 1) == write(BatchSlice(first)))
        let outcome = report(5, superseded: 1, deadLetters: ["sql:check": 1])
        #expect(
            machine.executed(outcome, of: [advance()], at: 1) == applied(3, superseded: 1, deadLetters: ["sql:check": 1]))
        // The counts begin anew, and what is durable is not what the stage expects, should it have dropped its answer.
        #expect(machine.batchesArrived([part(second)], at: 1) == write(BatchSlice(second), from: 9))
        #expect(machine.executed(report(5), of: [advance(p0, 9, 19)], at: 2) == applied(5))
        #expect(machine.batchesArrived([part(second)], at: 1) == applied(0), "all of it is durable")
    }

    @Test func fencedAndStopped() throws {
        var machine = try machine()
        let batches = [part(batch()), part(batch(p1))]
        let claims = [p0, p1].map { PartitionClaim(source: $0, epoch: 1, nextOffset: 0) }
        let all = Action.write(batches.map { BatchSlice($0.batches[0]) }, claims: claims, final: .none, checksVersion: true)
        #expect(machine.batchesArrived(batches, at: 1) == all)
        #expect(machine.executed(.fenced([p1]), of: [], at: 1) == .answer(.fenced([p1])))
        #expect(machine.batchesArrived(batches, at: 1) == all)
        #expect(
            machine.executed(.stopped([p0], reason: StopReason(.poison, "poison")), of: [], at: 1)
                == .answer(.stopped([p0], reason: StopReason(.poison, "poison"))))
        #expect(machine.batchesArrived(batches, at: 1) == all)
        #expect(
            machine.failed(ApplyError(.misuse, "not claimed"))
                == .answer(.stopped([p0, p1], reason: StopReason(.schema, "not claimed"))))
    }

    @Test func retried() throws {
        var machine = try machine()
        let batch = batch()
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)))
        #expect(machine.executed(.retry(.conflict, busy), of: [advance()], at: 1) == retry("\(busy)"))
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)))
        #expect(machine.executed(.retry(.unavailable, busy), of: [advance()], at: 1) == retry("\(busy)", isOutage: true))
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)))
        #expect(machine.failed(outage) == retry("PostgreSQL: \(outage)", isOutage: true), "connecting has failed")
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)), "nothing was sent")
        #expect(machine.failed(unreadable) == .answer(.stopped([p0], reason: StopReason(.schema, "PostgreSQL: \(unreadable)"))))
    }

    /// What the server says when it ends a session, or refuses one, is no reason to stop.
    @Test(arguments: ["57P05", "57P04", "25P04", "28P01", "3D000", "42501"]) func aLostConnectionIsAnOutage(_ state: String)
        throws
    {
        let last = PostgresError(.connection, "last words", sqlState: SQLState(state))
        let again = retry("PostgreSQL: \(last)", isOutage: true)
        var machine = try machine()
        let batch = batch()
        _ = machine.batchesArrived([part(batch)], at: 1)
        #expect(machine.failed(last) == again, "connecting")
        _ = machine.batchesArrived([part(batch)], at: 1)
        #expect(machine.executed(.lost(last), of: [advance()], at: 1) == again)
        #expect(machine.batchesArrived([part(batch)], at: 1) == .settle([advance()]))
        #expect(machine.failed(last) == again, "connecting to settle")
    }

    /// The same transaction would take as long again, and be lost again.
    @Test(arguments: [
        PostgresError(.timeout, "no answer"), PostgresError(.connection, "too long", sqlState: SQLState("25P04")),
    ])
    func aTransactionThatTookTooLongIsHalved(_ slow: PostgresError) throws {
        var machine = try machine()
        let batch = batch()
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(batch, records: records) }
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(slice(0..<5)))
        #expect(machine.executed(.lost(slow), of: [advance()], at: 1) == retry("PostgreSQL: \(slow)", isOutage: true))
        #expect(machine.batchesArrived([part(batch)], at: 1) == .settle([advance()]))
        #expect(machine.settled([p0: .notCommitted], at: 1) == write(slice(0..<2)))
        #expect(machine.executed(report(2), of: [advance(p0, 0, 3)], at: 1) == write(slice(2..<5), from: 3))
        #expect(machine.executed(report(3), of: [advance(p0, 3, 9)], at: 1) == applied(5))

        let next = self.batch(from: 20)
        _ = machine.batchesArrived([part(batch, next, expected: 9)], at: 1)
        _ = machine.executed(.lost(slow), of: [advance(p0, 9, 29)], at: 2)
        _ = machine.batchesArrived([part(batch, next, expected: 9)], at: 1)
        #expect(machine.settled([p0: .notCommitted], at: 1) == .answer(.tooLarge(reason: "\(slow)")), "the stage halves several")
        // What was committed after all is not halved.
        _ = machine.batchesArrived([part(next, expected: 9)], at: 1)
        _ = machine.executed(.lost(slow), of: [advance(p0, 9, 29)], at: 3)
        _ = machine.batchesArrived([part(next, expected: 9)], at: 1)
        #expect(machine.settled([p0: .committed], at: 1) == applied(5))
    }

    @Test func severalBatchesAreHalvedByTheStage() throws {
        var machine = try machine()
        let (first, second) = (batch(), batch(from: 10))
        #expect(machine.batchesArrived([part(first, second)], at: 1) == write(BatchSlice(first), BatchSlice(second)))
        #expect(machine.executed(.retryHalved(slow), of: [advance(p0, 0, 19)], at: 1) == .answer(.tooLarge(reason: "\(slow)")))
    }

    @Test func aSingleBatchIsHalvedHere() throws {
        var machine = try machine()
        let batch = batch()
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(batch, records: records) }
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(slice(0..<5)))
        #expect(machine.executed(.retryHalved(slow), of: [advance()], at: 1) == write(slice(0..<2)))
        #expect(machine.executed(.retryHalved(slow), of: [advance(p0, 0, 3)], at: 1) == write(slice(0..<1)))
        #expect(machine.executed(report(1), of: [advance(p0, 0, 1)], at: 1) == write(slice(1..<2), from: 1))
        #expect(machine.executed(report(1), of: [advance(p0, 1, 3)], at: 1) == write(slice(2..<5), from: 3))
        #expect(machine.executed(report(3), of: [advance(p0, 3, 9)], at: 1) == applied(5))
    }

    @Test func theFirstHalfStaysDurable() throws {
        var machine = try machine()
        let batch = batch()
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(batch, records: records) }
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(slice(0..<5)))
        #expect(machine.executed(.retryHalved(slow), of: [advance()], at: 1) == write(slice(0..<2)))
        #expect(machine.executed(report(2), of: [advance(p0, 0, 3)], at: 1) == write(slice(2..<5), from: 3))
        #expect(machine.executed(.retry(.conflict, busy), of: [advance(p0, 3, 9)], at: 1) == retry("\(busy)"))
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(slice(2..<5), from: 3))
        #expect(machine.executed(report(3), of: [advance(p0, 3, 9)], at: 2) == applied(5), "each event is counted once")
    }

    @Test func aSingleRecordIsRetriedAsItIs() throws {
        var machine = try machine()
        let batch = changeBatch(p0, from: 0, [message(.upsert, 1)], shape: messagesShape)
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)))
        #expect(machine.executed(.retryHalved(slow), of: [advance(p0, 0, 1)], at: 1) == retry("\(slow)"))
    }

    @Test func lostAndCommitted() throws {
        var machine = try machine()
        let (first, second) = (batch(), batch(from: 10))
        #expect(machine.batchesArrived([part(first)], at: 1) == write(BatchSlice(first)))
        #expect(machine.executed(.lost(outage), of: [advance()], at: 1) == retry("PostgreSQL: \(outage)", isOutage: true))
        #expect(machine.batchesArrived([part(first)], at: 1) == .settle([advance()]))
        #expect(machine.failed(outage) == retry("PostgreSQL: \(outage)", isOutage: true), "still away")
        #expect(machine.batchesArrived([part(first)], at: 1) == .settle([advance()]))
        #expect(machine.settled([p0: .committed], at: 1) == applied(5))
        #expect(machine.batchesArrived([part(second, expected: 9)], at: 1) == write(BatchSlice(second), from: 9))
    }

    @Test func lostAndNotCommitted() throws {
        var machine = try machine()
        let batches = [part(batch()), part(batch(p1))]
        let slices = batches.map { BatchSlice($0.batches[0]) }
        func claims(_ offsets: Int64...) -> [PartitionClaim] {
            zip([p0, p1], offsets).map { PartitionClaim(source: $0, epoch: 1, nextOffset: $1) }
        }
        let advances = [advance(p0), advance(p1)]
        #expect(
            machine.batchesArrived(batches, at: 1) == .write(slices, claims: claims(0, 0), final: .none, checksVersion: true))
        #expect(machine.executed(.lost(outage), of: advances, at: 1) == retry("PostgreSQL: \(outage)", isOutage: true))
        #expect(machine.batchesArrived(batches, at: 1) == .settle(advances))
        #expect(
            machine.settled([p0: .notCommitted, p1: .notCommitted], at: 1)
                == .write(slices, claims: claims(0, 0), final: .none, checksVersion: true))
        #expect(machine.executed(report(10), of: advances, at: 1) == applied(10))
    }

    @Test func lostAndFenced() throws {
        var machine = try machine()
        let batches = [part(batch()), part(batch(p1))]
        let advances = [advance(p0), advance(p1)]
        _ = machine.batchesArrived(batches, at: 1)
        _ = machine.executed(.lost(outage), of: advances, at: 1)
        #expect(machine.batchesArrived(batches, at: 1) == .settle(advances))
        #expect(machine.settled([p0: .notCommitted, p1: .fenced], at: 1) == .answer(.fenced([p1])))
        #expect(machine.batchesArrived([batches[0]], at: 1) == write(BatchSlice(batches[0].batches[0])))
    }

    /// The claim has waited for the lost transaction and read what it left, so there is nothing to settle.
    @Test func claimedAgainBetweenAttempts() throws {
        var machine = try machine()
        let batch = batch()
        _ = machine.batchesArrived([part(batch)], at: 1)
        _ = machine.executed(.lost(outage), of: [advance()], at: 1)
        machine.claimed(p0)
        let again = part(batch, epoch: 2, generation: 2)
        #expect(machine.batchesArrived([again], at: 1) == write(BatchSlice(batch), epoch: 2))
        #expect(machine.executed(report(5), of: [advance(epoch: 2)], at: 2) == applied(5))
        // Durable offsets of the last generation do not count in the next one.
        #expect(
            machine.batchesArrived([part(batch, epoch: 3, generation: 3)], at: 1) == write(BatchSlice(batch), epoch: 3))
    }

    @Test func onlyPartitionsThatAreStillOursAreSettled() throws {
        var machine = try machine()
        let batches = [part(batch()), part(batch(p1))]
        _ = machine.batchesArrived(batches, at: 1)
        _ = machine.executed(.lost(outage), of: [advance(p0), advance(p1)], at: 1)
        #expect(machine.batchesArrived([batches[1]], at: 1) == .settle([advance(p1)]))
        #expect(machine.settled([p1: .committed], at: 1) == applied(5))
    }

    @Test func aChangedTableIsInspectedAndTheSameIsWritten() throws {
        var machine = try machine()
        let batch = batch()
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(batch, records: records) }
        #expect(machine.batchesArrived([part(batch)], at: 1) == write(slice(0..<5)))
        #expect(machine.executed(.retryHalved(slow), of: [advance()], at: 1) == write(slice(0..<2)))
        #expect(machine.executed(.schemaChanged(changed), of: [advance(p0, 0, 3)], at: 1) == .inspect)
        #expect(machine.inspected(isChanged: true, at: 1) == write(slice(0..<2)))
        #expect(machine.executed(report(2), of: [advance(p0, 0, 3)], at: 1) == write(slice(2..<5), from: 3))
        // The next transaction may find another change.
        #expect(machine.executed(.schemaChanged(changed), of: [advance(p0, 3, 9)], at: 1) == .inspect)
        #expect(machine.inspected(isChanged: true, at: 1) == write(slice(2..<5), from: 3))
        #expect(machine.executed(report(3), of: [advance(p0, 3, 9)], at: 1) == applied(5))
    }

    @Test func aTableThatChangesAgainAndAgainIsWaitedFor() throws {
        var machine = try machine()
        let batch = batch()
        for _ in 0..<3 {
            #expect(machine.batchesArrived([part(batch)], at: 1) == write(BatchSlice(batch)))
            #expect(machine.executed(.schemaChanged(changed), of: [advance()], at: 1) == .inspect)
            #expect(machine.inspected(isChanged: true, at: 1) == write(BatchSlice(batch)))
            #expect(machine.executed(.schemaChanged(changed), of: [advance()], at: 1) == retry("\(changed)"))
        }
    }

    /// Its own trigger makes a partition in every attempt, and the attempt that is rolled back leaves none.
    @Test func aTransactionThatChangesTheTableItselfIsWrittenUnchecked() throws {
        var machine = try machine()
        let (first, second) = (batch(), batch(from: 10))
        _ = machine.batchesArrived([part(first)], at: 1)
        _ = machine.executed(.schemaChanged(changed), of: [advance()], at: 1)
        #expect(machine.inspected(isChanged: false, at: 1) == write(BatchSlice(first), checksVersion: false))
        #expect(machine.executed(report(5), of: [advance()], at: 1) == applied(5))
        #expect(machine.batchesArrived([part(second, expected: 9)], at: 1) == write(BatchSlice(second), from: 9))
    }

    @Test func anInspectionMayFail() throws {
        var machine = try machine()
        let batch = batch()
        func inspect() {
            _ = machine.batchesArrived([part(batch)], at: 1)
            #expect(machine.executed(.schemaChanged(changed), of: [advance()], at: 1) == .inspect)
        }
        inspect()
        #expect(machine.failed(outage) == retry("PostgreSQL: \(outage)", isOutage: true))
        inspect()
        #expect(machine.failed(busy) == retry("PostgreSQL: \(busy)"), "its lock is held by who changes it")
        inspect()
        #expect(
            machine.failed(ApplyError(.configuration, "no column"))
                == .answer(.stopped([p0], reason: StopReason(.schema, "no column"))))
        inspect()
        #expect(machine.failed(unreadable) == .answer(.stopped([p0], reason: StopReason(.schema, "PostgreSQL: \(unreadable)"))))
    }

    /// Another member had the partition meanwhile, say.
    @Test func aWaitThatNobodyTriedForAMinuteBeginsAnew() throws {
        var machine = try machine(constraintTimeout: 1_000)
        let single = changeBatch(p0, from: 0, [message(.upsert, 1)], shape: messagesShape)
        func refused(at now: UInt64) -> Action {
            _ = machine.batchesArrived([part(single)], at: now)
            return machine.executed(.retry(.constraint, orphan), of: [], at: now)
        }
        func isWaiting(_ action: Action) -> Bool { if case .answer(.appliedInPart) = action { true } else { false } }
        #expect(isWaiting(refused(at: 100)))
        #expect(isWaiting(refused(at: 61_000_000_000)))
        guard case .write(_, _, final: .all, _) = refused(at: 61_000_002_000) else {
            Issue.record("its deadline has passed")
            return
        }
    }

    /// Records that are refused for good by two constraints, for both of which waits have ended well and badly before.
    @Test func recordsOfTwoConstraintsDoNotKeepTheLaneBusy() throws {
        let second: UInt64 = 1_000_000_000
        var machine = try machine(constraintTimeout: 10 * second)
        var (now, offset, generation, attempts) = (second, Int64(0), UInt64(1), 0)
        /// Writes one record for each constraint until they are durable; they are refused until `end`, or for good.
        func write(_ constraints: [String], until end: UInt64) throws {
            let batch = changeBatch(
                p0, from: offset, constraints.indices.map { message(.upsert, $0) }, shape: messagesShape)
            let refusedBy = Dictionary(uniqueKeysWithValues: zip(constraints.indices.map { offset + Int64($0) * 2 }, constraints))
            let next = offset + Int64(constraints.count) * 2 - 1
            while offset < next {
                var action = machine.batchesArrived([part(batch, generation: generation, expected: offset)], at: now)
                while case .write(let slices, _, let final, _) = action {
                    attempts += 1
                    try #require(attempts < 200, "the lane does not get on")
                    let refusal =
                        now >= end
                        ? nil
                        : slices.flatMap { slice in
                            slice.batch.records.records[slice.records].compactMap { refusedBy[$0.offset] }
                        }.first { !final.contains($0) }
                    guard let refusal else {
                        offset = slices[slices.count - 1].lastOffset + 1
                        action = machine.executed(report(slices[0].records.count), of: [], at: now)
                        continue
                    }
                    var error = orphan
                    error.constraint = refusal
                    action = machine.executed(.retry(.constraint, error), of: [], at: now)
                }
                guard case .answer(.appliedInPart(_, let waiting)) = action else { break }
                now += waiting[0].retryIn
                generation += 1
                machine.claimed(p0)
            }
        }
        for constraint in ["a", "b"] {
            try write([constraint], until: now + 3 * second / 10)
            now += second
            try write([constraint], until: .max)
            now += second
        }
        let begun = now
        try write(["a", "b"], until: .max)
        #expect(now - begun < 10 * second, "former waits that ended well were short")
        #expect(attempts < 100)
    }

    /// Both partitions of a lane in one transaction; the third record of the first one, at offset 4, has no parent.
    @Test func aRecordThatWaitsHoldsBackItsPartitionOnly() throws {
        var machine = try machine(constraintTimeout: 1_000_000_000)
        let (first, second) = (batch(p0), batch(p1))
        let work = [part(first), part(second)]
        func write(_ slices: BatchSlice..., from offsets: (Int64, Int64), final: FinalConstraints = .none) -> Action {
            .write(
                slices,
                claims: [
                    PartitionClaim(source: p0, epoch: 1, nextOffset: offsets.0),
                    PartitionClaim(source: p1, epoch: 1, nextOffset: offsets.1),
                ], final: final, checksVersion: true)
        }
        func slice(_ records: Range<Int>) -> BatchSlice { BatchSlice(first, records: records) }
        let waits = ApplyOutcome.retry(.constraint, orphan)
        let reason = "t[0] at offset 4: the row that it references is missing: \(orphan)"

        // The partitions apart, and the first one in halves, until the record is alone; then the second one.
        #expect(machine.batchesArrived(work, at: 1) == write(BatchSlice(first), BatchSlice(second), from: (0, 0)))
        #expect(machine.executed(waits, of: [], at: 100) == write(BatchSlice(first), from: (0, 0)))
        #expect(machine.executed(waits, of: [], at: 100) == write(slice(0..<2), from: (0, 0)))
        #expect(machine.executed(report(2), of: [], at: 100) == write(slice(2..<5), from: (3, 0)))
        #expect(machine.executed(waits, of: [], at: 100) == write(slice(2..<3), from: (3, 0)))
        #expect(machine.executed(waits, of: [], at: 100) == write(BatchSlice(second), from: (3, 0)))
        var counts = AppliedCounts()
        counts.applied = 7
        #expect(
            machine.executed(report(5), of: [], at: 100)
                == .answer(
                    .appliedInPart(
                        counts, waiting: [WaitingPartition(source: p0, retryIn: LaneMachine.firstRetry, reason: reason)])))

        // Claimed again, it begins with that record, and waits twice as long, but not beyond its deadline.
        machine.claimed(p0)
        let rest = part(first, epoch: 2, generation: 2, expected: 3)
        func writeRest(_ records: Range<Int>, final: FinalConstraints = .none) -> Action {
            .write(
                [slice(records)], claims: [PartitionClaim(source: p0, epoch: 2, nextOffset: 3)], final: final,
                checksVersion: true)
        }
        #expect(machine.batchesArrived([rest], at: 1) == writeRest(2..<5))
        #expect(machine.executed(waits, of: [], at: 900_000_100) == writeRest(2..<3))
        #expect(
            machine.executed(waits, of: [], at: 900_000_100)
                == .answer(
                    .appliedInPart(
                        AppliedCounts(), waiting: [WaitingPartition(source: p0, retryIn: 100_000_000, reason: reason)])))
        machine.claimed(p0)
        #expect(machine.batchesArrived([rest], at: 1) == writeRest(2..<5))
        // All that was tried with it has waited as long.
        #expect(machine.executed(waits, of: [], at: 1_000_000_100) == writeRest(2..<5, final: .all))
        let final = report(3, deadLetters: ["sql:foreign_key": 2])
        #expect(machine.executed(final, of: [], at: 1_000_000_200) == applied(1, deadLetters: ["sql:foreign_key": 2]))
    }

    /// Of more than two partitions the one that waits is found in halves, and at the next attempt it is written apart at once.
    @Test func theWaitingPartitionIsWrittenApart() throws {
        var machine = try machine(constraintTimeout: 1_000_000_000)
        let sources = (0..<4).map { TopicPartition("t", $0) }
        let work = sources.map { source in
            part(changeBatch(source, from: 0, [message(.upsert, 1)], shape: messagesShape))
        }
        func written(_ action: Action) -> [Int32] {
            guard case .write(let slices, _, _, _) = action else { return [] }
            return slices.map(\.source.partition)
        }
        let waits = ApplyOutcome.retry(.constraint, orphan)
        #expect(written(machine.batchesArrived(work, at: 1)) == [0, 1, 2, 3])
        #expect(written(machine.executed(waits, of: [], at: 1)) == [0, 1])
        #expect(written(machine.executed(report(2), of: [], at: 1)) == [2, 3])
        #expect(written(machine.executed(waits, of: [], at: 1)) == [2])
        #expect(written(machine.executed(report(1), of: [], at: 1)) == [3])
        guard case .answer(.appliedInPart(_, let waiting)) = machine.executed(waits, of: [], at: 1) else {
            Issue.record("partition 3 waits")
            return
        }
        #expect(waiting.map(\.source) == [sources[3]])
        #expect(written(machine.batchesArrived(work.map { $0 }, at: 1)) == [3], "the others are durable")
    }

    @Test func theNextRecordThatWaitsHasADeadlineOfItsOwn() throws {
        var machine = try machine(constraintTimeout: 1_000)
        let single = changeBatch(p0, from: 0, [message(.upsert, 1)], shape: messagesShape)
        let next = changeBatch(p0, from: 1, [message(.upsert, 2)], shape: messagesShape)
        func waiting(_ result: Action) -> UInt64? {
            guard case .answer(.appliedInPart(_, let waiting)) = result else { return nil }
            return waiting.first?.retryIn
        }
        _ = machine.batchesArrived([part(single)], at: 1)
        #expect(waiting(machine.executed(.retry(.constraint, orphan), of: [], at: 100)) == 1_000)
        // The parent has come.
        _ = machine.batchesArrived([part(single)], at: 1)
        #expect(machine.executed(report(1), of: [advance(p0, 0, 1)], at: 600) == applied(1))
        _ = machine.batchesArrived([part(next, expected: 1)], at: 1)
        #expect(waiting(machine.executed(.retry(.stillReferenced, orphan), of: [], at: 700)) == 1_000)
        // The setting holds for a wait under way, too.
        machine.constraintTimeoutChanged(to: 10)
        _ = machine.batchesArrived([part(next, expected: 1)], at: 1)
        guard case .write(_, _, final: .all, _) = machine.executed(.retry(.stillReferenced, orphan), of: [], at: 710) else {
            Issue.record("the deadline has passed")
            return
        }
    }
}
