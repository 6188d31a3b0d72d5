// The run's connection to PostgreSQL, and its small queries.

import Postgres

/// The database of a run.
struct Database: Sendable {
    /// The connection; its bodies may take as long as a comparison of millions of rows takes.
    let connection: PostgresConnection
    /// The names of tables, group and topic.
    let options: Options
    /// The events.
    let plan: EventPlan

    /// Connects.
    static func connect(_ options: Options) async throws(LoadError) -> Database {
        var configuration = PostgresConfiguration(uri: options.postgres)
        configuration.applicationName = "sluice-loadtest"
        configuration.statementTimeout = .zero
        do {
            let connection = try await PostgresConnection.connect(configuration)
            return Database(connection: connection, options: options, plan: options.plan)
        } catch {
            throw LoadError(.postgres, "--postgres: \(error)")
        }
    }

    /// Runs a body on the connection's thread; its errors name what was being done.
    func perform<R: Sendable>(
        _ what: String, _ body: @Sendable @escaping (PostgresSession) throws -> R
    ) async throws(LoadError) -> R {
        do {
            return try await connection.perform(body)
        } catch let error as LoadError {
            throw error
        } catch {
            throw LoadError(.postgres, "\(what) failed: \(error)")
        }
    }

    /// Checks that there are no rows in the run's range of ids, and returns the server's time.
    func begin() async throws(LoadError) -> String {
        try await perform("checking that the run's range of ids is free") { session in
            for table in tables {
                let sql = "SELECT EXISTS (SELECT FROM \(quoted(table)) WHERE message_id BETWEEN $1 AND $2)"
                guard try !session.execute(sql, range()).bool(0, 0) else {
                    throw LoadError(
                        .postgres,
                        "table \(table) has rows with ids \(plan.firstID) to \(lastID) already, so the model cannot judge them: "
                            + "choose another range with --key-base")
                }
            }
            return try session.execute("SELECT clock_timestamp()::text").text(0, 0)
        }
    }

    /// By partition, the first offset of the topic that the worker has not applied.
    func appliedOffsets() async throws(LoadError) -> [Int32: Int64] {
        try await perform("reading sluice_offsets") { session in
            let parameters = Parameters()
            parameters.append(text: options.group)
            parameters.append(text: options.topic)
            let result = try session.execute(
                PreparedStatement("SELECT partition, next_offset FROM sluice_offsets WHERE consumer_group = $1 AND topic = $2"),
                parameters)
            var offsets: [Int32: Int64] = [:]
            for row in 0..<result.rowCount { offsets[try result.int32(row, 0)] = try result.int64(row, 1) }
            return offsets
        }
    }

    /// Rows and captured changes in the run's range of ids.
    func totals() async throws(LoadError) -> Totals {
        try await perform("counting rows") { session in
            let counts = try tables.map { table in
                try session.execute("SELECT count(*) FROM \(quoted(table)) WHERE message_id BETWEEN $1 AND $2", range())
                    .int64(0, 0)
            }
            return Totals(rows: Int(counts[0]), captured: counts.count > 1 ? Int(counts[1]) : 0)
        }
    }

    /// The table and its capture, if there is one.
    var tables: [String] { options.captureTable.isEmpty ? [options.table] : [options.table, options.captureTable] }

    /// The last id of the run's range.
    var lastID: Int32 { plan.id(Int32(plan.keys - 1)) }

    /// The range of ids as two parameters.
    func range() -> Parameters {
        let parameters = Parameters()
        parameters.append(int4: plan.firstID)
        parameters.append(int4: lastID)
        return parameters
    }

    /// A name, with a schema if it has one, quoted for SQL.
    func quoted(_ table: String) -> String {
        table.split(separator: ".").map { part in
            "\"" + part.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        }.joined(separator: ".")
    }
}

/// Rows of the table and of its capture.
struct Totals: Sendable, Equatable {
    /// Rows of the table.
    let rows: Int
    /// Rows of the capture.
    let captured: Int
}
