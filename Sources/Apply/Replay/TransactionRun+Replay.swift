// Owns the replay of a transaction of which a row was refused, or is expected to be: ranges are tried in bulk after a savepoint, or
// replayed sequentially.

import Postgres
import Records
import SluiceTables
import Synchronization

extension TransactionRun {
    /// Statements that go before the next range, in the same round trip.
    private enum Savepoint {
        /// Keeps everything so far.
        static let move = ["RELEASE SAVEPOINT sluice", "SAVEPOINT sluice"]
        /// Undoes the last range.
        static let rollBack = ["ROLLBACK TO SAVEPOINT sluice"]
    }

    private struct Progress {
        var deadLetters: [DeadLetter]
        /// Positions of the refused events.
        var refused: Set<Int> = []
        var report = ApplyReport()
        /// Rows by kind; `nil` once some of them were written in bulk.
        var counts: RowCounts? = RowCounts()
        /// To be sent before the next range.
        var savepoint: [String] = []
    }

    /// Writes everything but the refused events in a new transaction, in sequence. Constraints are checked at once, as if each event were a
    /// transaction.
    mutating func replay() throws -> ApplyOutcome {
        try ensureFunction()
        var limits = writer.configuration.bisection
        // All of it by the function.
        if savesLocks { limits.suspectEvents = .max }
        var machine = BisectionMachine(
            count: transaction.sequence.count, limits: limits, spent: statements, expected: transaction.expectedRefusals)
        var progress = Progress(deadLetters: transaction.faults)
        progress.report.isReplayed = transaction.expectedRefusals == nil
        let (before, advance, findsRowsByKey) = (statements, transaction.advance, plan.strategy == .coalesce)
        let enter = enterGuard
        _ = try roundTrip { pipeline in
            try pipeline.execute(Self.begin)
            if let enter { try pipeline.execute(enter) }
            try pipeline.execute(Self.checkConstraintsAtOnce)
            try advance.queue(&pipeline)
            if findsRowsByKey { try pipeline.execute(Self.findRowsByKey) }
            try pipeline.execute("SAVEPOINT sluice")
        }
        machine.spent(statements - before)
        while true {
            let before = statements
            switch machine.action {
            case .finish: return try commit(progress)
            case .apply(let ranges, let limit):
                var pieces: [BuiltStatements] = []
                for range in ranges {
                    let builder = builder(transaction.sequence.part(range), firstNumber: range.lowerBound)
                    guard let built = builder.build(atMost: limit) else { break }
                    pieces.append(built)
                }
                if pieces.isEmpty {
                    machine.didNotFit()
                    continue
                }
                let (written, isRefused) = try attempt(pieces, &progress)
                machine.applied(written, isRefused: isRefused)
            case .replay(let range):
                let refusals = try replay(range, &progress)
                machine.replayed(refusals: refusals)
                // Further dead letters cannot undo the verdict.
                if refusals > 0, let stop = poisonStop(progress.deadLetters) {
                    try rollback()
                    return try unlessChanged(stop)
                }
            }
            machine.spent(statements - before)
        }
    }

    /// A stop for bad records, unless the table has changed: then the plan may be what is bad.
    func unlessChanged(_ stop: ApplyOutcome) throws -> ApplyOutcome {
        guard checksVersion, case .stopped(let partitions, _) = stop, try !plan.isCurrent(on: session) else { return stop }
        writer.poison.machine.withLock { machine in
            for partition in partitions { machine.continued(partition) }
        }
        return .schemaChanged(
            PostgresError(.server, "the table has changed since its schema was read", sqlState: .schemaChanged))
    }

    /// All of its events by the sequential function, of which none is isolated.
    func sequentially() -> BuiltStatements {
        let statements = builder(transaction.sequence).sequential(
            ContiguousArray(0..<transaction.eventCount), isolating: nil)
        return BuiltStatements(statements: statements, usesFunction: true)
    }

    private func builder(_ sequence: EventSequence, firstNumber: Int = 0) -> StatementBuilder {
        StatementBuilder(
            plan: plan, sequence: sequence, pool: writer.pool, leastRoundRows: writer.leastRoundRows,
            firstNumber: firstNumber)
    }

    /// Writes ranges in bulk, in one round trip. Returns how many were written, and whether a row of the next one was refused, which must
    /// be undone then.
    private mutating func attempt(
        _ pieces: [BuiltStatements], _ progress: inout Progress
    ) throws -> (written: Int, isRefused: Bool) {
        defer { for piece in pieces { writer.pool.give(piece.statements.flatMap(\.arrays)) } }
        var savepoint = progress.savepoint
        let (results, failure) = try answers { pipeline in
            var savepoint = savepoint
            for piece in pieces {
                for statement in savepoint { try pipeline.execute(statement) }
                for statement in piece.statements { try statement.queue(&pipeline) }
                savepoint = Savepoint.move
            }
        }
        if let failure, !isRefusal(failure) { throw failure }
        var written = 0
        var next = 0
        for piece in pieces {
            next += savepoint.count
            guard next + piece.statements.count <= results.count else { break }
            for (statement, result) in zip(piece.statements, results[next...]) {
                progress.report.rows += try statement.rows(result)
            }
            progress.report.superseded += piece.superseded
            progress.counts = nil
            next += piece.statements.count
            written += 1
            savepoint = Savepoint.move
        }
        progress.savepoint = failure == nil ? Savepoint.move : Savepoint.rollBack
        if failure != nil { progress.report.isReplayed = true }
        return (written, failure != nil)
    }

    /// Writes a range by the sequential function, which skips refused events. Returns how many were refused.
    private mutating func replay(_ range: Range<Int>, _ progress: inout Progress) throws -> Int {
        let isolated = writer.configuration.outcomes.refusals(final: final)
        let calls = builder(transaction.sequence).sequential(ContiguousArray(range), isolating: isolated)
        let savepoint = progress.savepoint
        let (results, failure) = try answers { pipeline in
            for statement in savepoint { try pipeline.execute(statement) }
            for call in calls { try call.queue(&pipeline) }
        }
        writer.pool.give(calls.flatMap(\.arrays))
        if let failure {
            guard results.count == savepoint.count, isRefusal(failure) else { throw failure }
            return try isolate(failure, in: range, &progress)
        }
        progress.savepoint = Savepoint.move
        let answer = try FunctionAnswer(results[results.count - 1])
        if !answer.refusals.isEmpty { progress.report.isReplayed = true }
        progress.report.rows += try calls[calls.count - 1].rows(results[results.count - 1])
        progress.counts = progress.counts.map { $0 + answer.counts }
        for refusal in answer.refusals { refuse(refusal.position, refusal.state, refusal.message, &progress) }
        return answer.refusals.count
    }

    /// Isolates an event that the function has not even got: the server cannot read a value, such as a text of characters that its encoding
    /// does not have, or the event is no row of the function's table. Returns how many are refused.
    private mutating func isolate(_ error: PostgresError, in range: Range<Int>, _ progress: inout Progress) throws -> Int {
        progress.savepoint = Savepoint.rollBack
        progress.report.isReplayed = true
        guard range.count > 1 else {
            refuse(range.lowerBound, error.sqlState?.rawValue ?? "", error.message, &progress)
            return 1
        }
        let middle = range.lowerBound + range.count / 2
        let refused = try replay(range.lowerBound..<middle, &progress)
        return refused + (try replay(middle..<range.upperBound, &progress))
    }

    private func refuse(_ position: Int, _ state: String, _ message: String, _ progress: inout Progress) {
        let (batch, record) = transaction.sequence.record(of: position)
        progress.refused.insert(position)
        progress.deadLetters.append(
            DeadLetter(
                batch: batch, record: record, reason: DeadLetterReason.sql(state), state: state, detail: message))
    }

    private mutating func commit(_ progress: Progress) throws -> ApplyOutcome {
        let insertion = writer.deadLetterWriter.encode(progress.deadLetters)
        defer { if let insertion { writer.pool.give(insertion.arrays) } }
        let versionCheck = checksVersion ? writer.versionCheck : nil
        let check = isAlone ? nil : builder(transaction.sequence).versionCheck(without: progress.refused)
        defer { if let check { writer.pool.give(check.statement.arrays) } }
        let guarding = plan.versionGuard
        let results = try roundTrip { pipeline in
            // The last event may have been refused before the function got it.
            if progress.savepoint == Savepoint.rollBack {
                for statement in progress.savepoint { try pipeline.execute(statement) }
            }
            // Ranges that were rolled back hold no locks. What was changed meanwhile is seen here.
            try versionCheck?.queue(&pipeline)
            try insertion?.queue(&pipeline)
            if let check { try guarding?.queue(check, &pipeline) }
            try pipeline.execute("COMMIT")
        }
        try results[results.count - 1].requireTag("COMMIT")
        var report = progress.report
        report.counts = progress.counts
        return applied(report, progress.deadLetters)
    }
}
