// The door of this room: prepares transactions of one table on the caller's task and executes them on a connection's thread.

public import Postgres
public import Records
import Synchronization

/// Applies batches of one table, one transaction at a time. A partition belongs to one lane.
public final class TableWriter: Sendable {
    /// How the table is written.
    public let plan: WritePlan
    /// The lane's settings.
    public let configuration: ApplyConfiguration
    let pool: ArrayPool
    let guardMachine: Mutex<PoisonGuardMachine>
    /// The server process that has the table's function, and under which it was last created.
    let functionOwner = Mutex<Int32>(0)

    /// A lane for one table.
    public init(plan: WritePlan, configuration: ApplyConfiguration) {
        self.plan = plan
        self.configuration = configuration
        pool = ArrayPool(keptBytes: configuration.keptBufferBytes)
        guardMachine = Mutex(PoisonGuardMachine(configuration.poison))
    }

    /// Folds or rounds, sorts and encodes. The sequence of events is the slices' in list order, each in log order.
    /// - Parameters:
    ///   - claims: our claim of every partition in `slices`, with the offset the database shows.
    /// - Throws: `ApplyError` where a partition has no claim.
    public func prepare(_ slices: [BatchSlice], claims: [PartitionClaim]) throws(ApplyError) -> PreparedTransaction {
        let advances = try advances(slices, claims)
        let sequence = EventSequence(slices, shape: plan.shape)
        let builder = StatementBuilder(
            plan: plan, sequence: sequence, pool: pool, leastRoundRows: configuration.leastRoundRows)
        let letters = slices.flatMap { slice in
            slice.faults.map { fault in
                DeadLetter(
                    batch: slice.batch, record: Int(fault.record), reason: DeadLetterReason.decode(fault.reason), state: nil,
                    detail: fault.detail)
            }
        }
        return PreparedTransaction(
            advances: advances, sequence: sequence, built: builder.build(), advance: encode(advances), faultLetters: letters,
            faults: deadLetterWriter.encode(letters))
    }

    /// The same for whole batches.
    public func prepare(_ batches: [ChangeBatch], claims: [PartitionClaim]) throws(ApplyError) -> PreparedTransaction {
        try prepare(batches.map { BatchSlice($0) }, claims: claims)
    }

    /// Executes a transaction on a connection's thread. Never throws: everything that can happen is an outcome.
    /// - Parameters:
    ///   - isFinalForeignKeyAttempt: rows whose parent is missing have waited long enough, and become dead letters.
    ///   - now: seconds on any clock that only goes forward, for the poison guard.
    public func execute(
        _ transaction: PreparedTransaction, on session: PostgresSession, isFinalForeignKeyAttempt: Bool = false, now: Double
    ) -> ApplyOutcome {
        var run = TransactionRun(
            writer: self, transaction: transaction, session: session, isFinalForeignKeyAttempt: isFinalForeignKeyAttempt,
            now: now)
        return run.execute()
    }

    /// Where the partitions of a transaction stand whose answer was lost, asked on a new connection. On return the lost one has
    /// ended for certain, so `.notCommitted` means that it can be executed again, and the new session is recorded as theirs.
    /// - Parameter sources: the partitions that are still ours; `nil`: all. The others' rows, and their new owners, are left alone.
    public func settle(
        _ transaction: PreparedTransaction, of sources: Set<TopicPartition>? = nil, on session: PostgresSession
    ) throws -> [TopicPartition: SettledState] {
        let advances = transaction.advances.filter { sources?.contains($0.source) ?? true }
        return try OffsetStore(group: configuration.group).settle(advances, on: session)
    }

    /// Takes the memory of a transaction back. It must not be executed after.
    public func recycle(_ transaction: consuming PreparedTransaction) { pool.give(transaction.arrays) }

    /// The partition is no longer ours, or an operator has decided that it goes on: its count of bad records starts anew.
    public func resetPoisonCount(of source: TopicPartition) { guardMachine.withLock { $0.forgotten(source) } }

    /// Other limits for when a partition counts as poisoned; what was counted stays counted.
    public func updatePoisonLimits(_ limits: PoisonLimits) { guardMachine.withLock { $0.limitsChanged(to: limits) } }

    var deadLetterWriter: DeadLetterWriter { DeadLetterWriter(group: configuration.group, pool: pool) }

    private func advances(_ slices: [BatchSlice], _ claims: [PartitionClaim]) throws(ApplyError) -> [OffsetAdvance] {
        var next: [TopicPartition: Int64] = [:]
        for slice in slices {
            if let offset = slice.nextOffset { next[slice.source] = offset }
        }
        var advances: [OffsetAdvance] = []
        for (source, next) in next.sorted(by: { $0.key < $1.key }) {
            guard let claim = claims.first(where: { $0.source == source }) else {
                throw ApplyError(.misuse, "\(source) was not claimed before its batches were prepared")
            }
            advances.append(OffsetAdvance(source: source, epoch: claim.epoch, expected: claim.nextOffset, next: next))
        }
        return advances
    }

    private static let advanceStatement = PreparedStatement(
        "SELECT sluice_advance($1::text, $2::text[], $3::int4[], $4::int8[], $5::int8[], $6::int8[])")

    private func encode(_ advances: [OffsetAdvance]) -> EncodedStatement {
        var writer = ParameterWriter(pool)
        writer.text(configuration.group)
        writer.texts(advances.map(\.source.topic))
        writer.array(TypeOID.int4) { array in for advance in advances { array.append(advance.source.partition) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.epoch) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.expected) } }
        writer.array(TypeOID.int8) { array in for advance in advances { array.append(advance.next) } }
        return writer.finish(Self.advanceStatement.sql, prepared: Self.advanceStatement)
    }
}
