// Owns one execution of a transaction: all statements in one round trip, and the outcome of errors. The replay after a refused row is in
// Replay.

import Postgres
import Records
import SluiceTables
import Synchronization

/// One execution, on the connection's thread.
struct TransactionRun {
    let writer: TableWriter
    let transaction: PreparedTransaction
    let session: PostgresSession
    let final: FinalConstraints
    let checksVersion: Bool
    let now: Double
    /// Statements that the server has executed so far.
    var statements = 0
    /// No other transaction writes the table meanwhile: see ``VersionGuard``.
    var isAlone = false

    init(
        writer: TableWriter, transaction: PreparedTransaction, session: PostgresSession, final: FinalConstraints,
        checksVersion: Bool, now: Double
    ) {
        self.writer = writer
        self.transaction = transaction
        self.session = session
        self.final = final
        self.checksVersion = checksVersion
        self.now = now
    }

    /// Whatever the role's default: each statement sees what has been committed before it, the check of the table's version as well.
    static let begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    static let checkConstraintsAtOnce = "SET CONSTRAINTS ALL IMMEDIATE"
    /// Until COMMIT, statements that join their arrays with the table find each row by its key. The planner does not know how many rows a
    /// table has that has grown since it was analyzed, and hashes all of them. Not where triggers run, for their queries are planned, too.
    static let findRowsByKey = PreparedStatement(
        "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
    var plan: WritePlan { writer.plan }

    /// The server has had too few locks for a transaction of this session. A set statement that joins its arrays with a partitioned table
    /// locks all partitions, however few rows it has, and so does a plan that is kept for other values. So from then on the sequential
    /// function writes one event after the other, with plans for the values at hand, which lock the partitions of these values only.
    var savesLocks: Bool { writer.lockSaver.withLock { $0 == session.backendPID } }

    mutating func execute() -> ApplyOutcome {
        if transaction.advances.isEmpty { return .applied(ApplyReport()) }
        do {
            if let answer = try answerBeforeWriting() { return answer }
            isAlone = beginsAlone()
            do {
                return try write()
            } catch let error as PostgresError where isRepeatedAlone(after: error) {
                try rollback()
                isAlone = true
                return try write()
            }
        } catch {
            return outcome(of: error)
        }
    }

    /// Whether a transaction of a table with a version is written alone from its beginning. Of those that follow a deadlock it counts as one.
    func beginsAlone() -> Bool {
        guard plan.versionGuard != nil else { return false }
        // The check of versions would lock all partitions of a table.
        if savesLocks || transaction.built.versionCheck?.mustBeAlone == true { return true }
        return writer.aloneFor.withLock { count in
            guard count > 0 else { return false }
            count -= 1
            return true
        }
    }

    /// Whether a transaction of a table with a version is repeated alone: its check has failed, or it has waited for the rows of another one
    /// that waited for its own. Then others have the same keys, and it is not the last time.
    func isRepeatedAlone(after error: PostgresError) -> Bool {
        guard plan.versionGuard != nil, !isAlone else { return false }
        if error.sqlState == .deadlockDetected { writer.aloneFor.withLock { $0 = Self.aloneAfterDeadlock } }
        return error.sqlState == .versionConflict || error.sqlState == .deadlockDetected
    }

    /// A deadlock is found after a second only (`deadlock_timeout`).
    private static let aloneAfterDeadlock = 100

    private mutating func write() throws -> ApplyOutcome {
        if transaction.expectedRefusals == nil, plan.strategy == .sequential || !savesLocks {
            do {
                return try executeInOneTrip()
            } catch {
                guard isRefusal(error) else { throw error }
            }
        }
        try rollback()
        // An event of a range may be an UPDATE and an INSERT; see VersionCheck.
        if plan.versionGuard != nil { isAlone = true }
        return try replay()
    }

    private mutating func executeInOneTrip() throws -> ApplyOutcome {
        if transaction.built.usesFunction { try ensureFunction() }
        let trip = OneTrip([self], [transaction.built])
        return applied(try trip.reports(try roundTrip(trip.queue))[0], transaction.faults)
    }

    /// What a transaction of a table with a version begins with.
    var enterGuard: PreparedStatement? { isAlone ? plan.versionGuard?.enterAlone : plan.versionGuard?.enter }

    /// Sends statements in one round trip. Counts those that were executed, the failed one included.
    mutating func roundTrip(_ body: (inout Pipeline) throws -> Void) throws -> [PostgresResult] {
        let (results, failure) = try answers(body)
        if let failure { throw failure }
        return results
    }

    /// As ``roundTrip(_:)``, with the results before the first error.
    mutating func answers(
        _ body: (inout Pipeline) throws -> Void
    ) throws -> (results: [PostgresResult], failure: PostgresError?) {
        let answers = try session.answers(to: body)
        statements += answers.results.count + (answers.failure == nil ? 0 : 1)
        return answers
    }

    /// Creates the sequential function and its table unless this session has them.
    mutating func ensureFunction() throws {
        let process = session.backendPID
        if writer.functionOwner.withLock({ $0 == process }) { return }
        statements += 1
        try session.executeScript(plan.function.definition)
        writer.functionOwner.withLock { $0 = process }
    }

    // MARK: Outcomes

    func applied(_ partial: ApplyReport, _ deadLetters: [DeadLetter]) -> ApplyOutcome {
        .applied(committed(partial, deadLetters))
    }

    /// Completes the report of a committed transaction, and counts its bad records.
    func committed(_ partial: ApplyReport, _ deadLetters: [DeadLetter]) -> ApplyReport {
        var report = partial
        report.records = transaction.recordCount
        report.events = transaction.eventCount
        report.skipped = transaction.recordCount - transaction.eventCount - transaction.faults.count
        report.statements = statements
        for dead in deadLetters { report.deadLetters[dead.reason, default: 0] += 1 }
        if plan.shape.skipsUnchanged {
            // An event may write several rows where tables inherit from this one.
            report.unchanged = max(0, report.events - (deadLetters.count - transaction.faults.count) - report.rows)
        }
        let (counts, refusals) = (countsByPartition(deadLetters), deadLetters.count - transaction.faults.count)
        writer.refusals.withLock { $0.committed(events: transaction.eventCount, refusals: refusals) }
        let now = now
        for (source, count) in counts {
            writer.poison.machine.withLock { $0.committed(source, records: count.records, bad: count.bad, at: now) }
        }
        return report
    }

    /// The outcome where nothing is to be written: a value is beyond its column's limit, which is to make no dead letter, or partitions have
    /// too many bad records. `nil`: neither is so.
    mutating func answerBeforeWriting() throws -> ApplyOutcome? {
        if let refusal = transaction.refusal { return outcome(of: refusal) }
        guard let stop = poisonStop(transaction.faults) else { return nil }
        return transaction.dependsOnTable ? try unlessChanged(stop) : stop
    }

    /// Stops the partitions that have too many bad records with these dead letters; `nil`: there is none.
    func poisonStop(_ deadLetters: [DeadLetter]) -> ApplyOutcome? {
        deadLetters.isEmpty ? nil : Self.poisonStop(deadLetters, countsByPartition(deadLetters), writer.poison, now)
    }

    /// - Parameter counts: records, and how many of them are bad, by partition.
    static func poisonStop(
        _ deadLetters: [DeadLetter], _ counts: [TopicPartition: (records: Int, bad: Int)], _ poison: PoisonGuard, _ now: Double
    ) -> ApplyOutcome? {
        let verdicts = counts.sorted { $0.key < $1.key }.compactMap { source, count in
            poison.machine.withLock { $0.verdict(source, records: count.records, bad: count.bad, at: now) }.map {
                (source, $0)
            }
        }
        if verdicts.isEmpty { return nil }
        let reasons = Dictionary(deadLetters.map { ($0.reason, 1) }, uniquingKeysWith: +).sorted {
            ($1.value, $0.key) < ($0.value, $1.key)
        }
        return .stopped(
            verdicts.map(\.0),
            reason: StopReason(
                .poison,
                verdicts.map(\.1).joined(separator: "; ")
                    + ", most of them \(reasons[0].key): look at the records, then POST /admin/retry"))
    }

    private func countsByPartition(_ deadLetters: [DeadLetter]) -> [TopicPartition: (records: Int, bad: Int)] {
        var counts: [TopicPartition: (records: Int, bad: Int)] = [:]
        // Records that the mapping skips are neither good nor bad.
        for slice in transaction.slices {
            counts[slice.source, default: (0, 0)].records += slice.changes.count + slice.faults.count
        }
        for dead in deadLetters { counts[dead.batch.records.source, default: (0, 0)].bad += 1 }
        return counts
    }

    /// Whether the error may be that of one row, so that a replay can isolate it.
    func isRefusal(_ error: any Error) -> Bool {
        guard let error = error as? PostgresError, !error.isConnectionLost else { return false }
        switch writer.configuration.outcomes.outcome(of: error) {
        case .deadLetter: return true
        // Before the last attempt a replay could only be refused again.
        case .constraintRetry: return final.contains(error.constraint)
        case .retry, .retryHalved, .stop: return false
        }
    }

    mutating func outcome(of error: any Error) -> ApplyOutcome {
        guard let error = error as? PostgresError else {
            return .stopped(
                transaction.partitions, reason: StopReason(.schema, "unexpected answer of the server: \(error)"))
        }
        if error.isConnectionLost { return .lost(error) }
        do {
            try rollback()
            if error.sqlState == .fenced { return try fencing(error) }
            if error.sqlState == .outOfMemory { try saveLocks() }
            if error.sqlState == .schemaChanged { return .schemaChanged(error) }
            // What no row is at fault for may come of a plan that the table does not fit any more.
            if writer.configuration.outcomes.outcome(of: error) == .stop, try !plan.isCurrent(on: session) {
                return .schemaChanged(error)
            }
        } catch {
            return .lost((error as? PostgresError) ?? PostgresError(.connection, "\(error)"))
        }
        // The session has lost the temporary function or its table (DISCARD): they are created again by the next attempt.
        if error.sqlState == SQLState("42883") || error.sqlState == .undefinedTable, error.message.contains("pg_temp.sluice_") {
            writer.functionOwner.withLock { $0 = 0 }
            return .retry(.unavailable, error)
        }
        switch writer.configuration.outcomes.outcome(of: error) {
        case .retry: return .retry(error.isConflict ? .conflict : .unavailable, error)
        case .retryHalved: return .retryHalved(error)
        case .constraintRetry where !final.contains(error.constraint):
            let isIncoming = plan.schema.foreignKeys.contains { $0.isIncoming && $0.name == error.constraint }
            return .retry(isIncoming ? .stillReferenced : .constraint, error)
        case .deadLetter, .constraintRetry, .stop:
            return .stopped(transaction.partitions, reason: StopReason(.schema, error.description))
        }
    }

    /// `sluice_advance` has refused an offset: finds out which partitions are fenced, and whether the transaction was committed before.
    private func fencing(_ error: PostgresError) throws -> ApplyOutcome {
        let rows = try OffsetStore(group: writer.configuration.group).read(transaction.partitions, on: session)
        let states = OffsetStore.states(transaction.advances, rows)
        let fenced = states.filter { $0.value == .fenced }.keys.sorted()
        if !fenced.isEmpty { return .fenced(fenced) }
        if states.values.allSatisfy({ $0 == .committed }) {
            var report = ApplyReport()
            report.records = transaction.recordCount
            report.wasAlreadyApplied = true
            return .applied(report)
        }
        return .retry(.conflict, error)
    }

    /// Begins to save locks, until the session ends.
    private func saveLocks() throws {
        try session.execute("SET plan_cache_mode = force_custom_plan")
        writer.lockSaver.withLock { $0 = session.backendPID }
    }

    mutating func rollback() throws {
        if session.transactionStatus == .idle { return }
        statements += 1
        try session.rollback()
    }
}

/// The rows that ``SequentialFunction`` returns.
struct FunctionAnswer {
    var refusals: [(position: Int, state: String, message: String)] = []
    var counts = RowCounts()

    init(_ result: PostgresResult) throws {
        typealias Column = SequentialFunction.Column
        for row in 0..<result.rowCount {
            let at = try result.int32(row, Column.position.rawValue)
            if at >= 0 {
                refusals.append(
                    (
                        Int(at), try result.text(row, Column.state.rawValue), try result.text(row, Column.message.rawValue)
                    ))
            } else {
                counts.created = Int(try result.int64(row, Column.created.rawValue))
                counts.updated = Int(try result.int64(row, Column.updated.rawValue))
                counts.deleted = Int(try result.int64(row, Column.deleted.rawValue))
            }
        }
    }
}

extension RowCounts {
    static func + (a: RowCounts, b: RowCounts) -> RowCounts {
        RowCounts(created: a.created + b.created, updated: a.updated + b.updated, deleted: a.deleted + b.deleted)
    }
}
