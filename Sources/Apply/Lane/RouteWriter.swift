// Writes batches of a routed topic: one transaction writes the tables of several mappings.

public import Postgres
import Records
public import SluiceTables
import Synchronization

/// The writers of a route's tables in one lane, behind one transaction at a time.
public struct RouteWriter: Sendable {
    private let writers: [TableWriter]
    private let poison: PoisonGuard
    private let name: String

    /// - Parameters:
    ///   - writers: of the route's mappings, in the order in which their tables are written: that of ``ChangeBatch/parts``.
    ///   - name: what dead letters call the route.
    ///   - poison: counts the records that the route has no mapping for; shared with the other lanes.
    public init(_ writers: [TableWriter], name: String, poison: PoisonGuard) {
        precondition(!writers.isEmpty, "a route has mappings")
        self.writers = writers
        self.name = name
        self.poison = poison
    }

    /// As ``TableWriter/prepare(_:claims:checksVersion:)``; each event by its own mapping's plan.
    public func prepare(
        _ slices: [BatchSlice], claims: [PartitionClaim], checksVersion: Bool = true
    ) throws(ApplyError) -> PreparedRoute {
        let advances = try writers[0].advances(slices, claims)
        let recordCount = slices.reduce(0) { $0 + $1.records.count }
        let faults = slices.flatMap(\.deadLetters)
        var slicesOfParts = writers.indices.map { part in
            (part, slices.compactMap { $0.part(part) }.filter { !$0.changes.isEmpty || !$0.faults.isEmpty })
        }
        slicesOfParts.removeAll { $0.1.isEmpty }
        // All of it is skipped.
        if slicesOfParts.isEmpty { slicesOfParts = [(0, [])] }
        let isMixed = slicesOfParts.count > 1 || !faults.isEmpty
        let parts = slicesOfParts.map { part, slices -> (part: Int, transaction: PreparedTransaction) in
            let count = isMixed ? slices.reduce(0) { $0 + $1.changes.count + $1.faults.count } : recordCount
            return (
                part,
                writers[part].prepare(
                    slices, advances: advances, recordCount: count, isTriedWhole: isMixed, checksVersion: checksVersion)
            )
        }
        let unrouted = DeadLetterWriter(
            group: writers[0].configuration.group, mapping: name, table: "",
            isUnicode: writers[0].plan.schema.isUnicode, pool: writers[0].pool)
        return PreparedRoute(
            slices: slices, advances: advances, recordCount: recordCount, parts: parts, isMixed: isMixed, faults: faults,
            faultStatement: unrouted.encode(faults))
    }

    /// As ``TableWriter/execute(_:on:final:checksVersion:now:)``. A transaction of which all events are one mapping's is that
    /// mapping's, and is replayed where a row is refused. Of another ``ApplyOutcome/refused(_:)`` is the outcome.
    public func execute(
        _ prepared: PreparedRoute, on session: PostgresSession, final: FinalConstraints = .none, checksVersion: Bool = true,
        now: Double
    ) -> ApplyOutcome {
        if prepared.advances.isEmpty { return .applied(ApplyReport()) }
        var outcome: ApplyOutcome
        if prepared.isMixed {
            if let stop = TransactionRun.poisonStop(prepared.faults, prepared.counts, poison, now) { return stop }
            var run = RouteRun(
                prepared: prepared,
                runs: prepared.parts.map { part, transaction in
                    TransactionRun(
                        writer: writers[part], transaction: transaction, session: session, final: final,
                        checksVersion: checksVersion, now: now)
                }, session: session, partCount: writers.count)
            outcome = run.execute()
        } else {
            let (part, transaction) = prepared.parts[0]
            outcome = writers[part].execute(
                transaction, on: session, final: final, checksVersion: checksVersion, now: now)
            if case .applied(var report) = outcome, !report.wasAlreadyApplied {
                report.parts = writers.map { _ in ApplyReport() }
                var own = report
                own.parts = []
                // Which mapping a skipped record would have been for is not known.
                (own.records, own.skipped) = (report.records - report.skipped, 0)
                report.parts[part] = own
                outcome = .applied(report)
            }
        }
        if case .applied = outcome {
            for (source, count) in prepared.counts {
                poison.machine.withLock { $0.committed(source, records: count.records, bad: count.bad, at: now) }
            }
        }
        return outcome
    }

    /// Reuses the memory of a transaction, which must not be executed again.
    public func recycle(_ prepared: consuming PreparedRoute) {
        for (part, transaction) in prepared.parts { writers[part].recycle(transaction) }
        if let statement = prepared.faultStatement { writers[0].pool.give(statement.arrays) }
    }
}

/// A transaction of a route, encoded on the caller's task. It may be executed again until it was applied.
public struct PreparedRoute: @unchecked Sendable {
    // Licence for @unchecked: as of PreparedTransaction.

    /// How it moves the partitions' applied offsets.
    public let advances: [OffsetAdvance]
    let recordCount: Int
    /// The transactions of the mappings that have decoded something, each with all of ``advances``; at least one.
    let parts: [(part: Int, transaction: PreparedTransaction)]
    /// Not all of its events are one mapping's.
    let isMixed: Bool
    /// Dead letters of records that no mapping decodes, and their INSERT.
    let faults: [DeadLetter]
    let faultStatement: EncodedStatement?
    /// Records by partition, without those that are skipped, and how many of them no mapping decodes.
    let counts: [TopicPartition: (records: Int, bad: Int)]

    init(
        slices: [BatchSlice], advances: [OffsetAdvance], recordCount: Int, parts: [(part: Int, transaction: PreparedTransaction)],
        isMixed: Bool, faults: [DeadLetter], faultStatement: EncodedStatement?
    ) {
        self.advances = advances
        self.recordCount = recordCount
        self.parts = parts
        self.isMixed = isMixed
        self.faults = faults
        self.faultStatement = faultStatement
        var counts: [TopicPartition: (records: Int, bad: Int)] = [:]
        for slice in slices { counts[slice.source, default: (0, 0)].bad += slice.faults.count }
        for (source, count) in counts { counts[source]?.records = count.bad }
        for slice in parts.flatMap(\.transaction.slices) {
            counts[slice.source, default: (0, 0)].records += slice.changes.count + slice.faults.count
        }
        self.counts = counts
    }
}
