// Owns writing a transaction of which some event was refused: tries of ranges behind a savepoint, replays in order of what is
// suspect.

import Postgres
import Records

extension TransactionRun {
    /// Statements that go before a step, in the same trip.
    private enum Savepoint {
        /// Everything so far is kept.
        static let advance = ["RELEASE SAVEPOINT sluice", "SAVEPOINT sluice"]
        /// What was tried last is undone.
        static let back = ["ROLLBACK TO SAVEPOINT sluice"]
    }

    /// What is gathered on the way.
    private struct Progress {
        var letters: [DeadLetter]
        var report = ApplyReport()
        /// Rows by kind; `nil` once some of them were written in bulk.
        var counts: RowCounts? = RowCounts()
        /// To be sent before the next step.
        var savepoint: [String] = []
    }

    /// Writes everything but what is refused, from front to back, in a new transaction. Constraints are checked at once, as they
    /// would be if each event were a transaction.
    mutating func replay() throws -> ApplyOutcome {
        try ensureFunction()
        var machine = BisectionMachine(
            count: transaction.sequence.count, limits: writer.configuration.bisection, spent: statements)
        var progress = Progress(letters: transaction.faultLetters)
        progress.report.isReplayed = true
        let (before, advance) = (statements, transaction.advance)
        _ = try trip { pipeline in
            try pipeline.execute("BEGIN")
            try pipeline.execute(Self.checkAtOnce)
            try advance.queue(&pipeline)
            try pipeline.execute("SAVEPOINT sluice")
        }
        machine.spent(statements - before)
        while true {
            let before = statements
            switch machine.action {
            case .finish: return try commit(progress)
            case .apply(let range, let limit):
                let builder = builder(transaction.sequence.part(range))
                guard let built = builder.build(atMost: limit) else {
                    machine.didNotFit()
                    continue
                }
                if try attempt(built, &progress) { machine.applied() } else { machine.refused() }
            case .replay(let range):
                let refusals = try replay(range, &progress)
                machine.replayed(refusals: refusals)
                // More letters only make it worse, so there is no need to look at the rest.
                if refusals > 0, let stop = verdict(progress.letters) {
                    try rollback()
                    return stop
                }
            }
            machine.spent(statements - before)
        }
    }

    private func builder(_ sequence: EventSequence) -> StatementBuilder {
        StatementBuilder(plan: plan, sequence: sequence, pool: writer.pool, leastRoundRows: writer.configuration.leastRoundRows)
    }

    /// A try in bulk; `false`: one of its rows was refused.
    private mutating func attempt(_ built: BuiltStatements, _ progress: inout Progress) throws -> Bool {
        defer { writer.pool.give(built.statements.flatMap(\.arrays)) }
        let savepoint = progress.savepoint
        let results: [PostgresResult]
        do {
            results = try trip { pipeline in
                for statement in savepoint { try pipeline.execute(statement) }
                for statement in built.statements { try statement.queue(&pipeline) }
            }
        } catch {
            guard isRefusal(error) else { throw error }
            progress.savepoint = Savepoint.back
            return false
        }
        progress.savepoint = Savepoint.advance
        progress.counts = nil
        progress.report.superseded += built.superseded
        for (statement, result) in zip(built.statements, results.dropFirst(savepoint.count)) {
            progress.report.rows += try statement.rows(result)
        }
        return true
    }

    /// Every event of a range in order by the function, which notes what is refused and goes on. Returns how many were.
    private mutating func replay(_ range: Range<Int>, _ progress: inout Progress) throws -> Int {
        let isolated = writer.configuration.outcomes.refusals(isFinalForeignKeyAttempt: isFinalForeignKeyAttempt)
        let call = builder(transaction.sequence).sequential(ContiguousArray(range), isolating: isolated)
        defer { writer.pool.give(call.arrays) }
        let savepoint = progress.savepoint
        let results = try trip { pipeline in
            for statement in savepoint { try pipeline.execute(statement) }
            try call.queue(&pipeline)
        }
        progress.savepoint = Savepoint.advance
        let answer = try FunctionAnswer(results[savepoint.count])
        progress.report.rows += answer.counts.total
        progress.counts = progress.counts.map { $0 + answer.counts }
        for refusal in answer.refusals {
            let (batch, record) = transaction.sequence.record(of: range.lowerBound + refusal.position)
            progress.letters.append(
                DeadLetter(
                    batch: batch, record: record, reason: DeadLetterReason.sql(refusal.state), state: refusal.state,
                    detail: refusal.message))
        }
        return answer.refusals.count
    }

    private mutating func commit(_ progress: Progress) throws -> ApplyOutcome {
        let insertion = writer.deadLetterWriter.encode(progress.letters)
        defer { if let insertion { writer.pool.give(insertion.arrays) } }
        let results = try trip { pipeline in
            try insertion?.queue(&pipeline)
            try pipeline.execute("COMMIT")
        }
        try results[results.count - 1].requireTag("COMMIT")
        var report = progress.report
        report.counts = progress.counts
        return applied(report, progress.letters)
    }
}
