// Writes batches to one table: prepares transactions on the caller's task and executes them on a connection's thread.

public import Postgres
public import Records
public import SluiceTables
import Synchronization

/// The writer of one table in one lane. One transaction at a time.
public final class TableWriter: Sendable {
    /// How the table is written.
    public let plan: WritePlan
    /// Its settings.
    public let configuration: ApplyConfiguration
    let pool: ArrayPool
    let poison: PoisonGuard
    /// The backend in whose session the table's function was created last.
    let functionOwner = Mutex<Int32>(0)
    /// The backend that has had too few locks for a transaction; see ``TransactionRun/savesLocks``.
    let lockSaver: Mutex<Int32>
    /// Of the lane's last transactions.
    let refusals: Mutex<RefusalRate>
    /// How many of the next transactions of a table with a version are written alone, because one has met others that wait for its rows.
    let aloneFor = Mutex(0)
    /// Raises ``SQLState/schemaChanged`` where the table is not as the plan says.
    let versionCheck: EncodedStatement

    /// A writer for one table.
    /// - Parameters:
    ///   - poison: counts bad records; shared with the other lanes that write the table.
    ///   - pool: memory of parameter arrays, which the lane's writers share; `nil`: one of its own.
    ///   - former: the writer of the lane's last plan. The session is the same.
    public init(
        plan: WritePlan, configuration: ApplyConfiguration, poison: PoisonGuard, pool: ArrayPool? = nil,
        after former: TableWriter? = nil
    ) {
        self.plan = plan
        lockSaver = Mutex(former?.lockSaver.withLock { $0 } ?? 0)
        refusals = Mutex(former?.refusals.withLock { $0 } ?? RefusalRate())
        var configuration = configuration
        if plan.shape.mode != .upsert { configuration.outcomes = configuration.outcomes.forAppends }
        let casts = plan.shape.columns.filter { $0.cast != nil }
        if !casts.isEmpty {
            configuration.outcomes = configuration.outcomes.forCasts(
                isOfExtension: casts.contains { plan.schema.columns[$0.name]?.isOfExtension == true })
        }
        self.configuration = configuration
        self.poison = poison
        self.pool = pool ?? ArrayPool(keptBytes: configuration.keptBufferBytes)
        versionCheck = TableVersion.requirement(plan.schema.relation, plan.schema.version, self.pool)
    }

    /// Least rows of a round; an Upsert that is an UPDATE and an INSERT takes two statements a round.
    var leastRoundRows: Int {
        let isCaptured = plan.schema.triggers.contains { !$0.isRow } && !plan.completeInsertsLookUp
        return isCaptured
            ? min(configuration.leastCapturedRoundRows, configuration.leastRoundRows) : configuration.leastRoundRows
    }

    /// Encodes the events of slices by the plan's strategy. Events are in the order of `slices`, and in log order within each.
    /// - Parameters:
    ///   - claims: the claim of every partition in `slices`, with the applied offset that the database shows.
    ///   - checksVersion: as in ``execute(_:on:final:checksVersion:now:)``.
    /// - Throws: `ApplyError` where a partition has no claim.
    public func prepare(
        _ slices: [BatchSlice], claims: [PartitionClaim], checksVersion: Bool = true
    ) throws(ApplyError) -> PreparedTransaction {
        prepare(
            slices, advances: try advances(slices, claims), recordCount: slices.reduce(0) { $0 + $1.records.count },
            checksVersion: checksVersion)
    }

    /// - Parameters:
    ///   - advances: those of a transaction that `slices` are all of, or one mapping's part.
    ///   - recordCount: the records that are counted as this writer's.
    ///   - isTriedWhole: also where refusals are expected.
    func prepare(
        _ slices: [BatchSlice], advances: [OffsetAdvance], recordCount: Int, isTriedWhole: Bool = false, checksVersion: Bool
    ) -> PreparedTransaction {
        // Where the table's version is not checked, the server is to decide; a coalesced event must not be refused.
        let checksLimits = !plan.limits.isEmpty && (checksVersion || plan.strategy == .coalesce)
        let (sequence, refused, refusal) =
            checksLimits ? events(slices) : (EventSequence(slices, shape: plan.shape), [], nil)
        let builder = StatementBuilder(
            plan: plan, sequence: sequence, pool: pool, leastRoundRows: leastRoundRows)
        let deadLetters = slices.flatMap(\.deadLetters) + refused
        var expected =
            isTriedWhole ? nil : refusals.withLock { $0.expected(of: sequence.count, configuration.bisection) }
        // The sequential function isolates refused events by itself.
        if expected != nil, plan.strategy == .sequential { expected = .infinity }
        return PreparedTransaction(
            slices: slices, advances: advances, recordCount: recordCount, sequence: sequence,
            built: expected == nil ? builder.build() : BuiltStatements(),
            expectedRefusals: expected, advance: OffsetStore(group: configuration.group).encode(advances, pool),
            faults: deadLetters, faultStatement: deadLetterWriter.encode(deadLetters),
            refusal: refusal, dependsOnTable: sequence.count > 0 || !refused.isEmpty)
    }

    /// The events of slices that the table's columns take, and the others. Where an error for one of these is to make no dead letter: the
    /// first such error.
    private func events(_ slices: [BatchSlice]) -> (taken: EventSequence, refused: [DeadLetter], refusal: PostgresError?) {
        var (taken, ranges, refused): ([BatchSlice], [Range<Int>], [DeadLetter]) = ([], [], [])
        var refusal: PostgresError?
        for slice in slices {
            var rest = slice.changes
            slice.batch.changes.withUnsafeBufferPointer { changes in
                for change in rest where changes[change].operation != .delete {
                    guard let fault = plan.limits.fault(slice.batch, change) else { continue }
                    switch configuration.outcomes.outcome(of: fault.state) {
                    // No other row makes the column longer.
                    case .deadLetter, .constraintRetry: break
                    case .retry, .retryHalved, .stop:
                        refusal = refusal ?? PostgresError(.server, fault.sentence, sqlState: fault.state)
                    }
                    refused.append(
                        DeadLetter(
                            batch: slice.batch, record: Int(changes[change].record), reason: DeadLetterReason.outOfRange,
                            detail: fault.sentence))
                    taken.append(slice)
                    ranges.append(rest.lowerBound..<change)
                    rest = change + 1..<rest.upperBound
                }
            }
            taken.append(slice)
            ranges.append(rest)
        }
        return (EventSequence(taken, ranges: ranges, shape: plan.shape), refused, refusal)
    }

    /// Executes a transaction on a connection's thread. Every error is an outcome.
    /// - Parameters:
    ///   - final: constraints for which no record waits any longer.
    ///   - checksVersion: it is not committed where the table has changed since its schema was read.
    ///   - now: seconds on any monotonic clock, for the poison guard.
    public func execute(
        _ transaction: PreparedTransaction, on session: PostgresSession, final: FinalConstraints = .none,
        checksVersion: Bool = true, now: Double
    ) -> ApplyOutcome {
        var run = TransactionRun(
            writer: self, transaction: transaction, session: session, final: final, checksVersion: checksVersion, now: now)
        return run.execute()
    }

    /// Reads where the partitions of a transaction are whose connection was lost; see ``OffsetStore/settle(_:on:)``.
    /// - Parameter advances: those of the transaction, of partitions that are still ours.
    public func settle(
        _ advances: [OffsetAdvance], on session: PostgresSession
    ) throws -> [TopicPartition: SettledState] {
        try OffsetStore(group: configuration.group).settle(advances, on: session)
    }

    /// Reuses the memory of a transaction, which must not be executed again.
    public func recycle(_ transaction: consuming PreparedTransaction) { pool.give(transaction.arrays) }

    var deadLetterWriter: DeadLetterWriter {
        DeadLetterWriter(
            group: configuration.group, mapping: configuration.mapping, table: plan.shape.name,
            isUnicode: plan.schema.isUnicode, pool: pool)
    }

    func advances(_ slices: [BatchSlice], _ claims: [PartitionClaim]) throws(ApplyError) -> [OffsetAdvance] {
        var last: [TopicPartition: BatchSlice] = [:]
        for slice in slices where !slice.records.isEmpty { last[slice.source] = slice }
        var advances: [OffsetAdvance] = []
        for (source, slice) in last.sorted(by: { $0.key < $1.key }) {
            guard let next = slice.nextOffset else { continue }
            guard let claim = claims.first(where: { $0.source == source }) else {
                throw ApplyError(.misuse, "\(source) was not claimed before its batches were prepared")
            }
            advances.append(
                OffsetAdvance(
                    source: source, epoch: claim.epoch, expected: claim.nextOffset, next: next,
                    lastApplied: slice.lastFingerprint))
        }
        return advances
    }
}
