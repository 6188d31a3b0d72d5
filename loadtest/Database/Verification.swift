// Compares what the worker wrote with the model: rows, capture, dead letters.

import Postgres
import Synchronization

/// What a verification found.
struct VerificationResult: Sendable, Equatable {
    /// The differences; empty if the run is verified.
    var findings: [String] = []
    /// Acknowledged events in the model.
    var events = 0
    /// Rows that agree.
    var rows = 0
    /// Captured changes that agree.
    var captured = 0
    /// Dead letters that agree.
    var deadLetters = 0
    /// Partitions that were applied to their end.
    var partitions = 0
    /// Keys that could not be compared.
    var uncertainKeys = 0
    /// Seconds from the last acknowledgement until the worker had applied everything.
    var waitedSeconds = 0.0

    /// Whether there is no difference.
    var isVerified: Bool { findings.isEmpty }

    /// `VERIFIED: …` or `FAILED: …`, with a line for each finding.
    func text(hasCapture: Bool) -> String {
        guard isVerified else {
            return "FAILED: \(findings.count) kind\(findings.count == 1 ? "" : "s") of difference\n"
                + findings.map { "  " + $0 }.joined(separator: "\n")
        }
        return "VERIFIED: \(events) events, \(rows) rows, " + (hasCapture ? "\(captured) captured changes, " : "")
            + "\(deadLetters) dead letters"
            + (partitions > 0 ? ", \(partitions) partitions" : "")
            + (uncertainKeys > 0 ? ", \(uncertainKeys) keys could not be judged" : "")
    }
}

extension Database {
    private static let chunk = 20_000

    /// Compares all rows, captured changes and dead letters with the model, on one snapshot, in chunks.
    /// - Parameter since: the server's time before the run; older dead letters are not of this run.
    func compare(_ ledger: RunLedger, since: String) async throws(LoadError) -> VerificationResult {
        try await perform("comparing with the model") { session in
            try session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            let result = try ledger.state.withLock { state in
                var result = VerificationResult()
                result.events = state.model.eventCount
                result.uncertainKeys = state.model.uncertainCount
                try compareRows(session, state.model, &result)
                if !options.captureTable.isEmpty {
                    try compareCapture(session, state.model, &result)
                    try checkChains(session, &result)
                }
                try compareDeadLetters(session, state.badCoordinates, unknown: state.badUnknown, since: since, &result)
                judge(state.counts, state.disorder, &result)
                return result
            }
            try session.commit()
            return result
        }
    }

    private func judge(_ counts: EventCounts, _ disorder: Findings, _ result: inout VerificationResult) {
        let share = Double(result.uncertainKeys) / Double(plan.keys)
        if share > options.maxUncertain {
            result.findings.append(
                "\(result.uncertainKeys) of \(plan.keys) keys have an unknown outcome, "
                    + "more than --max-uncertain \(options.maxUncertain)"
            )
        }
        if counts.badAccepted > 0 { result.findings.append("\(counts.badAccepted) bad events were accepted") }
        if disorder.count > 0 { result.findings.append(disorder.line) }
    }

    private func compareRows(
        _ session: PostgresSession, _ model: borrowing TableModel, _ result: inout VerificationResult
    ) throws {
        var comparison = RowComparison(plan)
        try forEachRow(
            session,
            "SELECT message_id, name, message FROM \(quoted(options.table)) "
                + "WHERE message_id BETWEEN $1 AND $2 ORDER BY message_id", range()
        ) { rows, row in
            let id = try rows.int32(row, 0)
            rows.withBytes(row, 1) { name in
                rows.withBytes(row, 2) { message in
                    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
                    comparison.row(id: id, name: name ?? nothing, message: message ?? nothing, model: model)
                }
            }
        }
        comparison.finished(model: model)
        result.rows = comparison.agreeing
        result.findings += comparison.findings.map(\.line)
    }

    private func compareCapture(
        _ session: PostgresSession, _ model: borrowing TableModel, _ result: inout VerificationResult
    ) throws {
        var comparison = CaptureComparison(plan)
        try forEachRow(
            session,
            """
            SELECT message_id, count(*) FILTER (WHERE operation_type = 'INSERT'),
                   count(*) FILTER (WHERE operation_type = 'UPDATE'), count(*) FILTER (WHERE operation_type = 'DELETE')
            FROM \(quoted(options.captureTable)) WHERE message_id BETWEEN $1 AND $2 GROUP BY message_id ORDER BY message_id
            """, range()
        ) { rows, row in
            let counts = CaptureCounts(
                inserts: UInt32(clamping: try rows.int64(row, 1)), updates: UInt32(clamping: try rows.int64(row, 2)),
                deletes: UInt32(clamping: try rows.int64(row, 3)))
            comparison.key(id: try rows.int32(row, 0), counts: counts, model: model)
        }
        comparison.finished(model: model)
        result.captured = comparison.agreeing
        result.findings += comparison.findings.map(\.line)
    }

    /// The texts before each captured change of a key must be those after the previous one, and NULL after a DELETE and for the first:
    /// this proves the order, and that nothing was applied twice and undone. Texts are compared by a hash, so that the sort carries 8
    /// bytes instead of them.
    private func checkChains(_ session: PostgresSession, _ result: inout VerificationResult) throws {
        var broken = Findings("keys whose captured changes do not follow one another")
        try forEachRow(
            session,
            """
            SELECT DISTINCT message_id FROM (
                SELECT message_id, before, lag(after) OVER (PARTITION BY message_id ORDER BY cdc_id) AS previous
                FROM (
                    SELECT cdc_id, message_id,
                           CASE WHEN operation_type <> 'INSERT'
                                THEN hashtextextended(name_before || E'\\x01' || message_before, 0) END AS before,
                           CASE WHEN operation_type <> 'DELETE'
                                THEN hashtextextended(name_after || E'\\x01' || message_after, 0) END AS after
                    FROM \(quoted(options.captureTable)) WHERE message_id BETWEEN $1 AND $2
                ) changes
            ) chain WHERE before IS DISTINCT FROM previous ORDER BY message_id
            """, range()
        ) { rows, row in
            let id = try rows.int32(row, 0)
            broken.add("message_id \(id)")
        }
        if broken.count > 0 { result.findings.append(broken.line) }
    }

    private func compareDeadLetters(
        _ session: PostgresSession, _ expected: [Coordinate], unknown: Int, since: String, _ result: inout VerificationResult
    ) throws {
        var comparison = DeadLetterComparison(expected: expected)
        let parameters = Parameters()
        parameters.append(text: options.group)
        parameters.append(text: options.topic)
        parameters.append(text: since)
        try forEachRow(
            session,
            """
            SELECT partition, "offset", key FROM sluice_dead_letters
            WHERE consumer_group = $1 AND topic = $2 AND failed_at >= $3::text::timestamptz ORDER BY partition, "offset"
            """, parameters
        ) { rows, row in
            guard !rows.isNull(row, 2), let id = Int64(String(decoding: try rows.bytes(row, 2), as: UTF8.self)),
                plan.slot(id: id) != nil
            else { return }
            comparison.deadLetter(Coordinate(partition: try rows.int32(row, 0), offset: try rows.int64(row, 1)))
        }
        comparison.finished()
        result.deadLetters = comparison.agreeing
        if comparison.missing.count > 0 { result.findings.append(comparison.missing.line) }
        // A bad event with an unknown outcome may have become a dead letter at an unknown offset.
        if comparison.extra.count > unknown { result.findings.append(comparison.extra.line) }
    }

    /// Reads a result of any size through a cursor, inside a transaction.
    private func forEachRow(
        _ session: PostgresSession, _ sql: String, _ parameters: Parameters, _ body: (PostgresResult, Int) throws -> Void
    ) throws {
        try session.execute("DECLARE rows NO SCROLL CURSOR FOR " + sql, parameters)
        while true {
            let rows = try session.execute("FETCH \(Self.chunk) FROM rows")
            for row in 0..<rows.rowCount { try body(rows, row) }
            if rows.rowCount < Self.chunk { break }
        }
        try session.execute("CLOSE rows")
    }
}
