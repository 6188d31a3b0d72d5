// Owns which statements a transaction sends in one round trip, in which order, and what their results say.

import Postgres
import Records

/// All statements of a transaction, from BEGIN to COMMIT: those of one table, or of the tables of a route.
///
/// Deferred constraints are checked at once: an event that is refused in a transaction of its own must be refused here too, although a later
/// event removes its row.
struct OneTrip {
    /// One for each table, in the order in which they are written.
    private let runs: [TransactionRun]
    private let built: [BuiltStatements]
    /// Dead letters of records that no mapping decodes.
    private let unrouted: EncodedStatement?
    private let checksAtOnce: Bool
    private let findsRowsByKey: Bool
    /// See ``VersionGuard``. In the order of the tables, so that no two transactions of a route wait for each other.
    private let enters: [PreparedStatement]
    /// Of ``runs``, those that write rows; that require their table's version; that check the versions of rows.
    private let written: [Int], dependent: [Int], guarded: [Int]

    /// - Parameters:
    ///   - runs: all have the same offsets.
    ///   - built: the statements of each run.
    init(_ runs: [TransactionRun], _ built: [BuiltStatements], unrouted: EncodedStatement? = nil) {
        self.runs = runs
        self.built = built
        self.unrouted = unrouted
        let written = built.indices.filter { !built[$0].statements.isEmpty }
        self.written = written
        dependent = runs.indices.filter { runs[$0].checksVersion && runs[$0].transaction.dependsOnTable }
        guarded = written.filter { !runs[$0].isAlone && built[$0].versionCheck != nil }
        enters = written.compactMap { runs[$0].enterGuard }
        checksAtOnce = runs.contains { $0.plan.schema.hasDeferredChecks }
        // Of the whole transaction, so not where queries of triggers are planned.
        findsRowsByKey =
            written.allSatisfy { runs[$0].plan.strategy == .coalesce }
            && written.contains { built[$0].statements.contains(where: \.isPlannedEachTime) }
    }

    /// Statements before the first one that writes rows: BEGIN, locks, settings, and the offsets.
    private var leading: Int { 2 + enters.count + (checksAtOnce ? 1 : 0) + (findsRowsByKey ? 1 : 0) }

    /// Adds all statements.
    func queue(_ pipeline: inout Pipeline) throws {
        try pipeline.execute(TransactionRun.begin)
        for enter in enters { try pipeline.execute(enter) }
        if checksAtOnce { try pipeline.execute(TransactionRun.checkConstraintsAtOnce) }
        try runs[0].transaction.advance.queue(&pipeline)
        if findsRowsByKey { try pipeline.execute(TransactionRun.findRowsByKey) }
        for index in written { for statement in built[index].statements { try statement.queue(&pipeline) } }
        for index in dependent { try runs[index].writer.versionCheck.queue(&pipeline) }
        for run in runs { try run.transaction.faultStatement?.queue(&pipeline) }
        try unrouted?.queue(&pipeline)
        for index in guarded {
            if let check = built[index].versionCheck { try runs[index].plan.versionGuard?.queue(check, &pipeline) }
        }
        try pipeline.execute("COMMIT")
    }

    /// The run, by its position, of the statement that failed after `executed` ones. The first one's, where it is none's alone.
    func owner(after executed: Int) -> Int {
        var owners = Array(repeating: 0, count: leading)
        for index in written { owners += Array(repeating: index, count: built[index].statements.count) }
        owners += dependent
        owners += runs.indices.filter { runs[$0].transaction.faultStatement != nil }
        if unrouted != nil { owners.append(0) }
        for index in guarded { owners += [index, index] }
        return executed < owners.count ? owners[executed] : 0
    }

    /// What each run has written. Throws where the transaction was not committed.
    func reports(_ results: [PostgresResult]) throws -> [ApplyReport] {
        try results[results.count - 1].requireTag("COMMIT")
        var next = leading
        return try built.map { built in
            var report = ApplyReport()
            report.superseded = built.superseded
            for (index, statement) in built.statements.enumerated() {
                report.rows += try statement.rows(results[next])
                // The function alone: the statement before it fills its table.
                if built.usesFunction, built.statements.count == 2, index == 1 {
                    report.counts = try FunctionAnswer(results[next]).counts
                }
                next += 1
            }
            return report
        }
    }
}
