// Owns one execution of a transaction: the fast way in one trip, and what errors mean. What follows when a row was refused is in
// Replay.

import Postgres
import Records
import Synchronization

/// One execution, on the connection's thread.
struct TransactionRun {
    let writer: TableWriter
    let transaction: PreparedTransaction
    let session: PostgresSession
    let isFinalForeignKeyAttempt: Bool
    let now: Double
    /// Statements the server has executed for it so far.
    var statements = 0

    init(
        writer: TableWriter, transaction: PreparedTransaction, session: PostgresSession, isFinalForeignKeyAttempt: Bool,
        now: Double
    ) {
        self.writer = writer
        self.transaction = transaction
        self.session = session
        self.isFinalForeignKeyAttempt = isFinalForeignKeyAttempt
        self.now = now
    }

    static let checkAtOnce = "SET CONSTRAINTS ALL IMMEDIATE"
    var plan: WritePlan { writer.plan }

    mutating func execute() -> ApplyOutcome {
        if transaction.advances.isEmpty { return .applied(ApplyReport()) }
        if let stop = verdict(transaction.faultLetters) { return stop }
        do {
            return try straight()
        } catch {
            guard isRefusal(error) else { return outcome(of: error) }
        }
        do {
            try rollback()
            return try replay()
        } catch {
            return outcome(of: error)
        }
    }

    // MARK: The fast way

    /// Everything in one trip. Checks that would wait for COMMIT are made at once: an event alone in its transaction would be
    /// refused, and must not slip through because a later one removes its row.
    private mutating func straight() throws -> ApplyOutcome {
        let built = transaction.built
        let checksAtOnce = plan.schema.hasDeferredChecks
        if built.usesFunction { try ensureFunction() }
        let transaction = transaction
        let results = try trip { pipeline in
            try pipeline.execute("BEGIN")
            if checksAtOnce { try pipeline.execute(Self.checkAtOnce) }
            try transaction.advance.queue(&pipeline)
            for statement in built.statements { try statement.queue(&pipeline) }
            try transaction.faults?.queue(&pipeline)
            try pipeline.execute("COMMIT")
        }
        try results[results.count - 1].requireTag("COMMIT")
        var report = ApplyReport()
        report.superseded = transaction.superseded
        for (index, statement) in built.statements.enumerated() {
            let result = results[(checksAtOnce ? 3 : 2) + index]
            report.rows += try statement.rows(result)
            if built.statements.count == 1, statement.answer == .function {
                report.counts = try FunctionAnswer(result).counts
            }
        }
        return applied(report, transaction.faultLetters)
    }

    /// Several statements in one round trip; counts those that were executed, the one that failed included.
    mutating func trip(_ body: (inout Pipeline) throws -> Void) throws -> [PostgresResult] {
        do {
            let results = try session.pipeline(body)
            statements += results.count
            return results
        } catch {
            if let index = (error as? PostgresError)?.commandIndex { statements += index + 1 }
            throw error
        }
    }

    /// Creates the table's function unless this session has it.
    mutating func ensureFunction() throws {
        let process = session.backendPID
        if writer.functionOwner.withLock({ $0 == process }) { return }
        statements += 1
        try session.execute(plan.function.definition)
        writer.functionOwner.withLock { $0 = process }
    }

    // MARK: What it comes to

    func applied(_ partial: ApplyReport, _ letters: [DeadLetter]) -> ApplyOutcome {
        var report = partial
        report.records = transaction.recordCount
        report.events = transaction.eventCount
        report.statements = statements
        for letter in letters { report.deadLetters[letter.reason, default: 0] += 1 }
        let counts = countsByPartition(letters)
        let now = now
        for (source, count) in counts {
            writer.guardMachine.withLock { $0.committed(source, records: count.records, bad: count.bad, at: now) }
        }
        return .applied(report)
    }

    /// Stops the partitions that would be mostly poison with these letters; `nil`: none is.
    func verdict(_ letters: [DeadLetter]) -> ApplyOutcome? {
        if letters.isEmpty { return nil }
        let now = now
        let verdicts = countsByPartition(letters).sorted { $0.key < $1.key }.compactMap { source, count in
            writer.guardMachine.withLock { $0.verdict(source, records: count.records, bad: count.bad, at: now) }.map {
                (source, $0)
            }
        }
        if verdicts.isEmpty { return nil }
        let reasons = Dictionary(letters.map { ($0.reason, 1) }, uniquingKeysWith: +).sorted {
            ($1.value, $0.key) < ($0.value, $1.key)
        }
        return .stopped(
            verdicts.map(\.0),
            message: verdicts.map(\.1).joined(separator: "; ")
                + ", most of them \(reasons[0].key): look at the records before the partition goes on")
    }

    private func countsByPartition(_ letters: [DeadLetter]) -> [TopicPartition: (records: Int, bad: Int)] {
        var counts: [TopicPartition: (records: Int, bad: Int)] = [:]
        for slice in transaction.slices { counts[slice.source, default: (0, 0)].records += slice.records.count }
        for letter in letters { counts[letter.batch.records.source, default: (0, 0)].bad += 1 }
        return counts
    }

    /// A row may be at fault, so the events are worth replaying one by one.
    func isRefusal(_ error: any Error) -> Bool {
        guard let error = error as? PostgresError, !error.isConnectionLost else { return false }
        switch writer.configuration.outcomes.outcome(of: error.sqlState) {
        case .deadLetter: return true
        // The fast way may have raised a false alarm, but the replay says the same again until the last attempt.
        case .foreignKeyRetry: return isFinalForeignKeyAttempt
        case .retry, .retryHalved, .stop: return false
        }
    }

    private mutating func outcome(of error: any Error) -> ApplyOutcome {
        guard let error = error as? PostgresError else {
            return .stopped(transaction.partitions, message: "the server's answer was not understood: \(error)")
        }
        if error.isConnectionLost { return .lost(error) }
        do {
            try rollback()
            if error.sqlState == .fenced { return try fencing(error) }
        } catch {
            return .lost((error as? PostgresError) ?? PostgresError(.connection, "\(error)"))
        }
        // The function exists per session, and a session may lose it (DISCARD, a pooler): it is created anew next time.
        if error.sqlState == SQLState("42883"), error.message.contains(plan.function.name) {
            writer.functionOwner.withLock { $0 = 0 }
            return .retry(.unavailable, error)
        }
        switch writer.configuration.outcomes.outcome(of: error.sqlState) {
        case .retry:
            let isConflict = error.sqlState?.hasClass("40") == true || error.sqlState == .lockNotAvailable
            return .retry(isConflict ? .conflict : .unavailable, error)
        case .retryHalved: return .retryHalved(error)
        case .foreignKeyRetry where !isFinalForeignKeyAttempt: return .retry(.foreignKey, error)
        case .deadLetter, .foreignKeyRetry, .stop:
            return .stopped(transaction.partitions, message: error.description)
        }
    }

    /// The offsets are not where, or not whose, we believed: says whose fault that is.
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

    mutating func rollback() throws {
        if session.transactionStatus == .idle { return }
        statements += 1
        try session.rollback()
    }
}

/// What ``SequentialFunction`` answered.
struct FunctionAnswer {
    var refusals: [(position: Int, state: String, message: String)] = []
    var counts = RowCounts()

    init(_ result: PostgresResult) throws {
        typealias Column = SequentialFunction.Column
        for row in 0..<result.rowCount {
            let at = try result.int32(row, Column.position.rawValue)
            if at > 0 {
                refusals.append(
                    (
                        Int(at) - 1, try result.text(row, Column.state.rawValue), try result.text(row, Column.message.rawValue)
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
    /// Rows written, of whatever kind.
    var total: Int { created + updated + deleted }

    static func + (a: RowCounts, b: RowCounts) -> RowCounts {
        RowCounts(created: a.created + b.created, updated: a.updated + b.updated, deleted: a.deleted + b.deleted)
    }
}
