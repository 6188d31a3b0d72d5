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
        let trip = OneTrip(runs, built, unrouted: prepared.faultStatement)
        let (results, failure) = try session.answers(to: trip.queue)
        if let failure, runs.contains(where: { $0.isRepeatedAlone(after: failure) }) {
            try runs[0].rollback()
            for index in runs.indices { runs[index].isAlone = true }
            return try executeInOneTrip()
        }
        if let failure { return failed(failure, of: trip.owner(after: results.count)) }

        var report = ApplyReport()
        report.parts = (0..<partCount).map { _ in ApplyReport() }
        for (index, partial) in try trip.reports(results).enumerated() {
            let part = runs[index].committed(partial, runs[index].transaction.faults)
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
