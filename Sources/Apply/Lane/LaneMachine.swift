// Owns what a lane decides between attempts: which slices to write next, whether a lost transaction must be settled first, and the
// result for the apply stage.

public import Postgres
public import Records
public import SluiceTables

/// Turns the batches of one call of the apply stage into transactions, until all of them are durable or the stage has to decide. Pure.
///
/// What is durable beyond what the stage knows (the first half of a transaction that was halved, a lost transaction that was committed
/// after all) is kept from one call to the next, so that no record is written twice.
public struct LaneMachine: ~Copyable {
    /// What the lane does next.
    public enum Action: Equatable {
        /// Connect again and ask `sluice_offsets` where these partitions are: ``settled(_:)`` or ``failed(_:)``.
        case settle([OffsetAdvance])
        /// Read the table's schema again, and plan anew: ``inspected(isChanged:)`` or ``failed(_:)``.
        case inspect
        /// Write these slices in one transaction: ``executed(_:of:at:)`` or ``failed(_:)``.
        /// `isFinal`: a row that waits for another one becomes a dead letter. `checksVersion`: the table must be as the plan says.
        case write([BatchSlice], claims: [PartitionClaim], isFinal: Bool, checksVersion: Bool)
        /// Return to the stage.
        case answer(ApplyResult)
    }

    private enum Phase {
        /// The stage has its answer.
        case idle
        case settling([PartitionBatches])
        /// The transaction that is written after the inspection, as in `writing`.
        case inspecting([PartitionBatches], [BatchSlice], later: [[BatchSlice]])
        /// `later`: the rest of a transaction that was halved, in log order.
        case writing([PartitionBatches], [BatchSlice], later: [[BatchSlice]])
    }

    /// A transaction whose connection was lost, with the records it has of each partition.
    private struct LostTransaction {
        let advances: [OffsetAdvance]
        let records: [TopicPartition: Int]
        /// What the loss says of its size; `nil`: nothing.
        let tooLarge: PostgresError?
    }

    /// What is known of a partition in which some record waits.
    private struct Wait {
        /// The records up to this offset were tried together, so the deadline is theirs, however many of them wait.
        let last: Int64
        let since: UInt64
        /// The record it was left out from; `nil`: not yet.
        var first: Int64?
        var attempts = 0
        /// When it is to be tried again.
        var due: UInt64
    }

    /// Wait before the first retry of a partition that waits, nanoseconds; it doubles.
    static let firstRetry: UInt64 = 100_000_000

    private let outcomes: OutcomeTable
    private var foreignKeyTimeout: UInt64
    private var phase = Phase.idle
    private var lost: LostTransaction?
    /// Offsets that are durable beyond what the stage knows.
    private var durable: [TopicPartition: (generation: UInt64, next: Int64)] = [:]
    /// Counts of the transactions since the last `.applied` answer.
    private var counts = AppliedCounts()
    /// Survives the new claim that follows each attempt.
    private var waits: [TopicPartition: Wait] = [:]
    /// Partitions that were left out in the present call.
    private var waiting: [WaitingPartition] = []
    /// The table's schema was read since the last transaction that was applied, in the present call.
    private var hasInspected = false

    /// A lane that has written nothing yet.
    /// - Parameter foreignKeyTimeout: nanoseconds a row may wait for its parent.
    public init(outcomes: OutcomeTable, foreignKeyTimeout: UInt64) {
        self.outcomes = outcomes
        self.foreignKeyTimeout = foreignKeyTimeout
    }

    /// The setting was changed; it holds for a wait under way, too.
    public mutating func foreignKeyTimeoutChanged(to timeout: UInt64) { foreignKeyTimeout = timeout }

    /// Partitions were claimed again: the claim has read their offsets.
    public mutating func claimed(_ partitions: [TopicPartition]) {
        for partition in partitions { durable[partition] = nil }
    }

    /// The stage has called.
    public mutating func batchesArrived(_ batches: [PartitionBatches]) -> Action {
        waiting = []
        hasInspected = false
        let advances = unsettledAdvances(of: batches)
        guard !advances.isEmpty else {
            // Partitions that were claimed again need no settling: the claim has seen what the transaction left.
            lost = nil
            return writeRemaining(batches)
        }
        phase = .settling(batches)
        return .settle(advances)
    }

    /// `sluice_offsets` says where the partitions of a lost transaction are.
    public mutating func settled(_ states: [TopicPartition: SettledState]) -> Action {
        guard case .settling(let batches) = phase else { preconditionFailure("no transaction was to be settled") }
        let advances = unsettledAdvances(of: batches)
        for advance in advances where states[advance.source] == .committed {
            guard let part = batches.first(where: { $0.source == advance.source }) else { continue }
            durable[part.source] = (part.generation, advance.next)
            counts.applied += lost?.records[part.source] ?? 0
        }
        let tooLarge = lost?.tooLarge
        lost = nil
        let fenced = advances.map(\.source).filter { states[$0] == .fenced }
        if !fenced.isEmpty { return answer(.fenced(fenced)) }
        if let tooLarge, states.values.contains(.notCommitted) {
            return writeHalved(batches, remaining(of: batches), [], tooLarge)
        }
        return writeRemaining(batches)
    }

    /// A transaction was executed.
    /// - Parameter advances: what it does to the offsets.
    public mutating func executed(_ outcome: ApplyOutcome, of advances: [OffsetAdvance], at now: UInt64) -> Action {
        guard case .writing(let batches, let slices, let later) = phase else {
            preconditionFailure("no transaction was to be written")
        }
        switch outcome {
        case .applied(let report):
            hasInspected = false
            count(slices, of: batches, report)
            guard let next = later.first else { return answerApplied() }
            return write(next, of: batches, later: Array(later.dropFirst()))
        case .fenced(let partitions):
            return answer(.fenced(partitions))
        case .retry(.foreignKey, let error):
            return rowWaits(batches, slices, later, "a row that it needs is missing, or one is in its way: \(error)", now)
        case .retry(.stillReferenced, let error):
            return rowWaits(batches, slices, later, "other rows reference the row that it deletes: \(error)", now)
        case .retry(let reason, let error):
            return answer(.retry(reason: "\(error)", isOutage: reason == .unavailable))
        case .retryHalved(let error):
            return writeHalved(batches, slices, later, error)
        case .schemaChanged(let error):
            // Somebody is still changing it: with the waits of a retry.
            if hasInspected { return answer(.retry(reason: "\(error)", isOutage: false)) }
            hasInspected = true
            phase = .inspecting(batches, slices, later: later)
            return .inspect
        case .stopped(let partitions, let reason):
            return answer(.stopped(partitions, reason: reason))
        case .lost(let error):
            var records: [TopicPartition: Int] = [:]
            for slice in slices { records[slice.source, default: 0] += slice.records.count }
            // A transaction that took too long would take as long again.
            let isTooLarge = error.code == .timeout || outcomes.outcome(of: error.sqlState) == .retryHalved
            lost = LostTransaction(advances: advances, records: records, tooLarge: isTooLarge ? error : nil)
            return failed(error)
        }
    }

    /// The table's schema was read, and the plan is made for it: the same slices are written.
    /// - Parameter isChanged: it is another one than that of the last transaction. Otherwise that transaction has changed the table
    ///   itself, as a trigger may that makes partitions, and would do so again: then it is written unchecked.
    public mutating func inspected(isChanged: Bool) -> Action {
        guard case .inspecting(let batches, let slices, let later) = phase else {
            preconditionFailure("nothing was to be inspected")
        }
        return write(slices, of: batches, later: later, checksVersion: isChanged)
    }

    /// The connection was lost, could not be made, or refused to read offsets or schema. If something was sent, ``executed(_:of:at:)``
    /// says so.
    ///
    /// A lost connection, or one that cannot be made, is an outage whatever its last words: a server that idles sessions out, a password
    /// that is being rotated and a host that is failing over all pass.
    public mutating func failed(_ error: PostgresError) -> Action {
        if !error.isConnectionLost, let state = error.sqlState, outcomes.outcome(of: state) == .stop {
            return stop("PostgreSQL: \(error)")
        }
        return answer(.retry(reason: "PostgreSQL: \(error)", isOutage: !error.isConflict))
    }

    /// The batches could not be made into a transaction.
    public mutating func failed(_ error: ApplyError) -> Action { stop(error.description) }

    private mutating func stop(_ reason: String) -> Action {
        switch phase {
        case .idle: preconditionFailure("nothing was under way")
        case .settling(let batches), .inspecting(let batches, _, _), .writing(let batches, _, _):
            answer(.stopped(batches.map(\.source), reason: StopReason(.schema, reason)))
        }
    }

    private mutating func answer(_ result: ApplyResult) -> Action {
        phase = .idle
        return .answer(result)
    }

    private mutating func answerApplied() -> Action {
        defer { counts = AppliedCounts() }
        return answer(waiting.isEmpty ? .applied(counts) : .appliedInPart(counts, waiting: waiting))
    }

    private mutating func write(
        _ slices: [BatchSlice], of batches: [PartitionBatches], later: [[BatchSlice]] = [], isFinal: Bool = false,
        checksVersion: Bool = true
    ) -> Action {
        phase = .writing(batches, slices, later: later)
        return .write(
            slices,
            claims: batches.map { PartitionClaim(source: $0.source, epoch: $0.epoch, nextOffset: appliedOffset(of: $0)) },
            isFinal: isFinal, checksVersion: checksVersion)
    }

    /// Some record of the slices waits for a row that may come. Finds it by writing fewer partitions, and then the partition in halves, so
    /// that everything before it, and the other partitions, become durable. Its partition is left out from there on, until its deadline
    /// has passed: then what was tried with it is written once more, and becomes dead letters where it must.
    private mutating func rowWaits(
        _ batches: [PartitionBatches], _ slices: [BatchSlice], _ later: [[BatchSlice]], _ reason: String, _ now: UInt64
    ) -> Action {
        var sources: [TopicPartition] = []
        for slice in slices where !sources.contains(slice.source) { sources.append(slice.source) }
        let source = sources.first { waits[$0] != nil } ?? sources[0]
        guard sources.count == 1 else {
            let apart = waits[source] == nil ? Array(sources[..<(sources.count / 2)]) : [source]
            let others = slices.filter { !apart.contains($0.source) }
            return write(slices.filter { apart.contains($0.source) }, of: batches, later: [others] + later)
        }
        let (first, last) = (slices[0].firstOffset, slices[slices.count - 1].lastOffset)
        var wait = waits[source] ?? Wait(last: last, since: now, due: now)
        // One that nobody has tried for so long was not waiting: another member had the partition, say.
        if first > wait.last || now > wait.due + foreignKeyTimeout { wait = Wait(last: last, since: now, due: now) }
        waits[source] = wait
        let waited = now - wait.since
        guard waited < foreignKeyTimeout else {
            let expired = slices.reduce(0) { $0 + $1.records(upTo: wait.last) }
            let (head, rest) = BatchSlice.divide(slices, at: expired) ?? (slices, [])
            return write(head, of: batches, later: rest.isEmpty ? later : [rest] + later, isFinal: true)
        }
        // A record that was left out before is the first of what is left.
        if let (head, rest) = wait.first == first ? BatchSlice.divide(slices, at: 1) : BatchSlice.halve(slices) {
            return write(head, of: batches, later: [rest] + later)
        }
        let pause = min(Self.firstRetry << UInt64(min(wait.attempts, 6)), foreignKeyTimeout - waited)
        wait.first = first
        wait.attempts += 1
        wait.due = now + pause
        waits[source] = wait
        waiting.append(
            WaitingPartition(source: source, retryIn: pause, reason: "\(source) at offset \(first): \(reason)"))
        let remaining = later.map { $0.filter { $0.source != source } }.filter { !$0.isEmpty }
        guard let next = remaining.first else { return answerApplied() }
        return write(next, of: batches, later: Array(remaining.dropFirst()))
    }

    /// Writes the same events in transactions of half the size.
    private mutating func writeHalved(
        _ batches: [PartitionBatches], _ slices: [BatchSlice], _ later: [[BatchSlice]], _ error: PostgresError
    ) -> Action {
        // The stage splits several batches, and makes later transactions smaller; a single batch is split here.
        if batches.reduce(0, { $0 + $1.batches.count }) > 1 { return answer(.tooLarge(reason: "\(error)")) }
        guard let (first, second) = BatchSlice.halve(slices) else {
            return answer(.retry(reason: "\(error)", isOutage: false))
        }
        return write(first, of: batches, later: [second] + later)
    }

    /// Writes what is not durable yet.
    private mutating func writeRemaining(_ batches: [PartitionBatches]) -> Action {
        let slices = remaining(of: batches)
        return slices.isEmpty ? answerApplied() : write(slices, of: batches)
    }

    private func remaining(of batches: [PartitionBatches]) -> [BatchSlice] {
        batches.flatMap { part in
            let next = appliedOffset(of: part)
            return part.batches.compactMap { batch -> BatchSlice? in
                let records = batch.records.records
                guard let first = records.firstIndex(where: { $0.offset >= next }) else { return nil }
                return BatchSlice(batch, records: first..<records.count)
            }
        }
    }

    /// The offset that the database shows for a partition: what the stage knows, or what became durable since.
    private func appliedOffset(of part: PartitionBatches) -> Int64 {
        guard let durable = durable[part.source], durable.generation == part.generation else { return part.expected }
        return max(part.expected, durable.next)
    }

    /// The lost transaction's partitions that are among the batches under the same claim.
    private func unsettledAdvances(of batches: [PartitionBatches]) -> [OffsetAdvance] {
        lost?.advances.filter { advance in
            batches.contains { $0.source == advance.source && $0.epoch == advance.epoch }
        } ?? []
    }

    private mutating func count(_ slices: [BatchSlice], of batches: [PartitionBatches], _ report: ApplyReport) {
        for slice in slices {
            guard let next = slice.nextOffset, let part = batches.first(where: { $0.source == slice.source }) else { continue }
            durable[slice.source] = (part.generation, next)
            if let wait = waits[slice.source], wait.last < next { waits[slice.source] = nil }
        }
        let dead = report.deadLetters.values.reduce(0, +)
        counts.superseded += report.superseded
        counts.applied += report.records - dead - report.superseded
        counts.deadLetters.merge(report.deadLetters, uniquingKeysWith: +)
    }
}
