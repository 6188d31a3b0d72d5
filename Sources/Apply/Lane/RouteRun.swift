// Owns one execution of a transaction that writes several tables: all statements in one round trip.

import Postgres
import Records
import SluiceTables

/// One execution, on the connection's thread. A row that is refused is not isolated here: the transaction is written again in parts, until
/// what is left is one mapping's.
struct RouteRun {
    let prepared: PreparedRoute
    /// One for each of ``PreparedRoute/parts``. They decide what an error of their statements leads to.
    var runs: [TransactionRun]
    let session: PostgresSession
    let checksVersion: Bool
    /// Mappings of the route.
    let partCount: Int

    mutating func execute() -> ApplyOutcome {
        var outcome: ApplyOutcome
        do {
            for index in runs.indices { if let answer = try runs[index].answerBeforeWriting() { return answer } }
            for index in runs.indices { runs[index].isAlone = runs[index].beginsAlone() }
            outcome = try executeInOneTrip()
        } catch {
            outcome = runs[0].outcome(of: error)
        }
        if case .applied(var report) = outcome, report.wasAlreadyApplied {
            report.records = prepared.recordCount
            outcome = .applied(report)
        }
        return outcome
    }

    private mutating func executeInOneTrip() throws -> ApplyOutcome {
        var own: [ParameterArray] = []
        defer { runs[0].writer.pool.give(own) }
        var built: [BuiltStatements] = []
        for index in runs.indices {
            var statements = runs[index].transaction.built
            if runs[index].savesLocks, runs[index].plan.strategy != .sequential, !statements.statements.isEmpty {
                statements = runs[index].sequentially()
                own += statements.statements.flatMap(\.arrays)
            }
            if statements.usesFunction { try runs[index].ensureFunction() }
            built.append(statements)
        }
        let checksAtOnce = runs.contains { $0.plan.schema.hasDeferredChecks }
        let written = built.indices.filter { !built[$0].statements.isEmpty }
        // Of the whole transaction, so not where queries of triggers are planned.
        let findsRowsByKey =
            written.allSatisfy { runs[$0].plan.strategy == .coalesce }
            && built.contains { $0.statements.contains(where: \.isPlannedEachTime) }
        // See VersionGuard. In the order of the tables, so that no two transactions of the route wait for each other.
        let enters = written.compactMap { runs[$0].enterGuard }
        let guarded = written.filter { !runs[$0].isAlone && built[$0].versionCheck != nil }
        let leading = 2 + enters.count + (checksAtOnce ? 1 : 0) + (findsRowsByKey ? 1 : 0)
        // Whose each statement is, in the order in which they are sent.
        var owners = Array(repeating: 0, count: leading)
        for index in written { owners += Array(repeating: index, count: built[index].statements.count) }
        let checked = checksVersion ? runs.indices.filter { runs[$0].transaction.dependsOnTable } : []
        owners += checked
        owners += runs.indices.filter { runs[$0].transaction.faultStatement != nil }
        if prepared.faultStatement != nil { owners.append(0) }
        for index in guarded { owners += [index, index] }
        let (results, failure) = try session.answers { [runs, prepared] pipeline in
            try pipeline.execute(TransactionRun.begin)
            for enter in enters { try pipeline.execute(enter) }
            if checksAtOnce { try pipeline.execute(TransactionRun.checkConstraintsAtOnce) }
            try runs[0].transaction.advance.queue(&pipeline)
            if findsRowsByKey { try pipeline.execute(TransactionRun.findRowsByKey) }
            for index in written { for statement in built[index].statements { try statement.queue(&pipeline) } }
            for index in checked { try runs[index].writer.versionCheck.queue(&pipeline) }
            for run in runs { try run.transaction.faultStatement?.queue(&pipeline) }
            try prepared.faultStatement?.queue(&pipeline)
            for index in guarded {
                if let check = built[index].versionCheck { try runs[index].plan.versionGuard?.queue(check, &pipeline) }
            }
            try pipeline.execute("COMMIT")
        }
        if let failure, runs.contains(where: { $0.isRepeatedAlone(after: failure) }) {
            try runs[0].rollback()
            for index in runs.indices { runs[index].isAlone = true }
            return try executeInOneTrip()
        }
        if let failure { return failed(failure, of: results.count < owners.count ? owners[results.count] : 0) }
        try results[results.count - 1].requireTag("COMMIT")

        var report = ApplyReport()
        report.parts = (0..<partCount).map { _ in ApplyReport() }
        var next = leading
        for index in runs.indices {
            var part = ApplyReport()
            part.superseded = built[index].superseded
            for statement in built[index].statements {
                part.rows += try statement.rows(results[next])
                next += 1
            }
            part = runs[index].committed(part, runs[index].transaction.faults)
            report.parts[prepared.parts[index].part] = part
            report.events += part.events
            report.rows += part.rows
            report.superseded += part.superseded
            report.unchanged += part.unchanged
            report.deadLetters.merge(part.deadLetters, uniquingKeysWith: +)
        }
        for dead in prepared.faults { report.deadLetters[dead.reason, default: 0] += 1 }
        report.records = prepared.recordCount
        report.skipped = report.records - report.events - report.deadLetters.values.reduce(0, +)
        report.statements = results.count
        return .applied(report)
    }

    /// - Parameter part: whose statement has failed.
    private mutating func failed(_ error: PostgresError, of part: Int) -> ApplyOutcome {
        if !error.isConnectionLost {
            switch runs[part].writer.configuration.outcomes.outcome(of: error) {
            case .deadLetter, .constraintRetry:
                do {
                    try runs[part].rollback()
                    return .refused(error)
                } catch {
                    return runs[part].outcome(of: error)
                }
            case .retry, .retryHalved, .stop: break
            }
        }
        return runs[part].outcome(of: error)
    }
}
