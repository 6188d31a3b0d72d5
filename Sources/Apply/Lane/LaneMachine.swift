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
        /// Read the table's schema again, and plan anew: ``inspected(isChanged:at:)`` or ``failed(_:)``.
        case inspect
        /// Write these slices in one transaction: ``executed(_:of:at:)`` or ``failed(_:)``.
        /// `final`: what no record waits for any longer. `checksVersion`: the table must be as the plan says.
        case write([BatchSlice], claims: [PartitionClaim], final: FinalConstraints, checksVersion: Bool)
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

    /// Wait before the first retry of a partition that waits, nanoseconds; it doubles.
    static let firstRetry: UInt64 = 100_000_000
    /// How late the next attempt may be, at least, nanoseconds.
    private static let longestPause: UInt64 = 60_000_000_000

    private let outcomes: OutcomeTable
    private var constraintTimeout: UInt64
    private var phase = Phase.idle
    private var lost: LostTransaction?
    /// Offsets that are durable beyond what the stage knows.
    private var durable: [TopicPartition: (generation: UInt64, next: Int64)] = [:]
    /// Counts of the transactions since the last `.applied` answer.
    private var counts = AppliedCounts()
    /// Survives the new claim that follows each attempt.
    private var waits: [TopicPartition: RowWait] = [:]
    /// Partitions that were left out in the present call.
    private var waiting: [WaitingPartition] = []
    private var history = ConstraintHistory()
    /// The table's schema was read since the last transaction that was applied, in the present call.
    private var hasInspected = false
    /// Transactions are not checked for a change of the table, until one was applied: they change it themselves.
    private var isUnchecked = false
    /// For which constraints the records of the last transaction did not wait.
    private var lastFinal = FinalConstraints.none

    /// A lane that has written nothing yet.
    /// - Parameter constraintTimeout: nanoseconds a record may wait for another row: its parent, or one that has its unique value.
    public init(outcomes: OutcomeTable, constraintTimeout: UInt64) {
        self.outcomes = outcomes
        self.constraintTimeout = constraintTimeout
    }

    /// The setting was changed; it holds for a wait under way, too.
    public mutating func constraintTimeoutChanged(to timeout: UInt64) { constraintTimeout = timeout }

    /// A partition was claimed again: the claim has read its offset.
    public mutating func claimed(_ partition: TopicPartition) { durable[partition] = nil }

    /// The stage has called.
    public mutating func batchesArrived(_ batches: [PartitionBatches], at now: UInt64) -> Action {
        waiting = []
        hasInspected = false
        isUnchecked = false
        let advances = unsettledAdvances(of: batches)
        guard !advances.isEmpty else {
            // Partitions that were claimed again need no settling: the claim has seen what the transaction left.
            lost = nil
            return writeRemaining(batches, now)
        }
        phase = .settling(batches)
        return .settle(advances)
    }

    /// `sluice_offsets` says where the partitions of a lost transaction are.
    public mutating func settled(_ states: [TopicPartition: SettledState], at now: UInt64) -> Action {
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
            return writeHalved(batches, remaining(of: batches), [], tooLarge, now)
        }
        return writeRemaining(batches, now)
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
            isUnchecked = false
            count(slices, of: batches, report, now)
            guard let next = later.first else { return answerApplied() }
            return write(next, of: batches, later: Array(later.dropFirst()), now)
        case .fenced(let partitions):
            return answer(.fenced(partitions))
        case .retry(.constraint, let error):
            return rowWaits(batches, slices, later, error.waitReason, error, now)
        case .retry(.stillReferenced, let error):
            return rowWaits(batches, slices, later, "other rows reference the row that it deletes", error, now)
        case .retry(let reason, let error):
            return answer(.retry(reason: "\(error)", isOutage: reason == .unavailable))
        case .retryHalved(let error):
            return writeHalved(batches, slices, later, error, now)
        case .refused(let error):
            // A record that waits for a row was left out before: it is the first.
            let isWaiting = slices.first.map { waits[$0.source]?.first == $0.firstOffset } ?? false
            guard let (first, second) = (isWaiting ? BatchSlice.divide(slices, at: 1) : nil) ?? BatchSlice.halve(slices)
            else { return stop("PostgreSQL: \(error)") }
            return write(first, of: batches, later: [second] + later, now)
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
    public mutating func inspected(isChanged: Bool, at now: UInt64) -> Action {
        guard case .inspecting(let batches, let slices, let later) = phase else {
            preconditionFailure("nothing was to be inspected")
        }
        isUnchecked = !isChanged
        return write(slices, of: batches, later: later, now, final: lastFinal)
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
        _ slices: [BatchSlice], of batches: [PartitionBatches], later: [[BatchSlice]] = [], _ now: UInt64,
        final: FinalConstraints? = nil
    ) -> Action {
        if let stop = BatchSlice.firstStop(in: slices) {
            // What precedes it becomes durable first.
            guard let (head, rest) = BatchSlice.divide(slices, at: stop.records) else {
                return answer(.stopped([stop.source], reason: stop.reason))
            }
            return write(head, of: batches, later: [rest] + later, now, final: final)
        }
        lastFinal = final ?? .named(constraintsWithoutWait(slices, now))
        phase = .writing(batches, slices, later: later)
        return .write(
            slices,
            claims: batches.map { PartitionClaim(source: $0.source, epoch: $0.epoch, nextOffset: appliedOffset(of: $0)) },
            final: lastFinal, checksVersion: !isUnchecked)
    }

    /// The constraints for which no record waits at present, except those for which one of the slices' partitions does.
    private func constraintsWithoutWait(_ slices: [BatchSlice], _ now: UInt64) -> Set<String> {
        var names = history.constraintsWithoutWait(from: now, timeout: constraintTimeout)
        if names.isEmpty { return names }
        for slice in slices {
            if let wait = waits[slice.source], !wait.isOver, let constraint = wait.constraint { names.remove(constraint.name) }
        }
        return names
    }

    /// Some record of the slices waits for a row that may come or go. Finds it by writing fewer partitions, and then the partition in
    /// halves, so that everything before it, and the other partitions, become durable. Its partition is left out from there on, until its
    /// deadline has passed: then what was tried with it is written once more, and becomes dead letters where it must.
    private mutating func rowWaits(
        _ batches: [PartitionBatches], _ slices: [BatchSlice], _ later: [[BatchSlice]], _ reason: String, _ error: PostgresError,
        _ now: UInt64
    ) -> Action {
        var sources: [TopicPartition] = []
        for slice in slices where !sources.contains(slice.source) { sources.append(slice.source) }
        let source = sources.first { waits[$0] != nil } ?? sources[0]
        guard sources.count == 1 else {
            let apart = waits[source] == nil ? Array(sources[..<(sources.count / 2)]) : [source]
            let others = slices.filter { !apart.contains($0.source) }
            return write(slices.filter { apart.contains($0.source) }, of: batches, later: [others] + later, now)
        }
        let (first, last) = (slices[0].firstOffset, slices[slices.count - 1].lastOffset)
        var wait = waits[source] ?? RowWait(last: last, since: now, due: now)
        // One that nobody has tried for so long was not waiting: another member had the partition, say.
        if first > wait.last || isForgotten(wait, now) { wait = RowWait(last: last, since: now, due: now) }
        if let former = wait.first, former < first {
            wait.first = nil
            ended(wait, now)
        }
        let constraint = error.constraint ?? ""
        if wait.constraint?.name != constraint {
            wait.constraint = (
                constraint, history.longestWait(for: constraint, from: wait.since, timeout: constraintTimeout)
            )
        }
        let waited = now - wait.since
        let longest = min(constraintTimeout, wait.constraint?.longest ?? constraintTimeout)
        guard waited < longest else {
            wait.over.insert(constraint)
            waits[source] = wait
            if longest > 0 { history.waitFailed(constraint, since: wait.since, at: now, timeout: constraintTimeout) }
            let expired = slices.reduce(0) { $0 + $1.records(upTo: wait.last) }
            let (head, rest) = BatchSlice.divide(slices, at: expired) ?? (slices, [])
            // All that was tried with it has waited as long, which is not long enough for other constraints where it was cut short.
            let final: FinalConstraints =
                waited < constraintTimeout ? .named(constraintsWithoutWait(head, now).union(wait.over)) : .all
            return write(head, of: batches, later: rest.isEmpty ? later : [rest] + later, now, final: final)
        }
        waits[source] = wait
        // A record that was left out before is the first of what is left.
        if let (head, rest) = wait.first == first ? BatchSlice.divide(slices, at: 1) : BatchSlice.halve(slices) {
            return write(head, of: batches, later: [rest] + later, now)
        }
        let pause = min(Self.firstRetry << UInt64(min(wait.attempts, 6)), longest - waited)
        wait.first = first
        wait.attempts += 1
        wait.due = now + pause
        waits[source] = wait
        waiting.append(
            WaitingPartition(source: source, retryIn: pause, reason: "\(source) at offset \(first): \(reason): \(error)"))
        let remaining = later.map { $0.filter { $0.source != source } }.filter { !$0.isEmpty }
        guard let next = remaining.first else { return answerApplied() }
        return write(next, of: batches, later: Array(remaining.dropFirst()), now)
    }

    /// Nobody has tried its records for so long that they were not waiting. A lane that is busy may come to them late.
    private func isForgotten(_ wait: RowWait, _ now: UInt64) -> Bool {
        now > wait.due + max(constraintTimeout, Self.longestPause)
    }

    /// A record that waited is durable.
    private mutating func ended(_ wait: RowWait, _ now: UInt64) {
        guard !wait.isOver, !isForgotten(wait, now), let constraint = wait.constraint else { return }
        history.waitSucceeded(constraint.name, after: min(now - wait.since, constraintTimeout), at: now)
    }

    /// Writes the same events in transactions of half the size.
    private mutating func writeHalved(
        _ batches: [PartitionBatches], _ slices: [BatchSlice], _ later: [[BatchSlice]], _ error: PostgresError, _ now: UInt64
    ) -> Action {
        // The stage splits several batches, and makes later transactions smaller; a single batch is split here.
        if batches.reduce(0, { $0 + $1.batches.count }) > 1 { return answer(.tooLarge(reason: "\(error)")) }
        guard let (first, second) = BatchSlice.halve(slices) else { return answer(.retry(reason: "\(error)", isOutage: false)) }
        return write(first, of: batches, later: [second] + later, now)
    }

    /// Writes what is not durable yet.
    private mutating func writeRemaining(_ batches: [PartitionBatches], _ now: UInt64) -> Action {
        let slices = remaining(of: batches)
        return slices.isEmpty ? answerApplied() : write(slices, of: batches, now)
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

    private mutating func count(
        _ slices: [BatchSlice], of batches: [PartitionBatches], _ report: ApplyReport, _ now: UInt64
    ) {
        for slice in slices {
            guard let next = slice.nextOffset, let part = batches.first(where: { $0.source == slice.source }) else { continue }
            durable[slice.source] = (part.generation, next)
            guard let wait = waits[slice.source], wait.last < next else { continue }
            waits[slice.source] = nil
            if wait.attempts > 0 { ended(wait, now) }
        }
        counts.add(report)
    }
}
