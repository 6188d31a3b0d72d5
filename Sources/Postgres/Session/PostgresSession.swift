// Owns the operations of a connection on its thread: statements, prepared statements, scripts, transactions.

internal import CPq

/// A connection on its own thread: ``PostgresConnection`` passes it to the bodies that it runs. Calls block that thread only.
///
/// After an error the session is usable unless the error says ``PostgresError/isConnectionLost``. The caller rolls back a transaction
/// that has failed.
public final class PostgresSession {
    let wire: Wire
    var statements: StatementCacheMachine
    /// Bytes of parameters of the largest command so far. libpq copies a command before it sends it, and keeps that memory for the life of
    /// the connection.
    public private(set) var largestCommand = 0

    init(wire: Wire, statementCacheSize: Int) {
        self.wire = wire
        statements = StatementCacheMachine(capacity: statementCacheSize)
    }

    /// Where the session stands between BEGIN and COMMIT.
    public enum TransactionStatus: Sendable {
        /// Outside of a transaction.
        case idle
        /// A command is under way.
        case active
        /// In a transaction, waiting for the next command.
        case inTransaction
        /// In a transaction that has failed: only ROLLBACK helps.
        case failed
        /// The connection is gone.
        case unknown
    }

    /// Where the session stands between BEGIN and COMMIT.
    public var transactionStatus: TransactionStatus {
        guard let connection = wire.pointer else { return .unknown }
        return switch PQtransactionStatus(connection) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    /// Process number of the server's side of the connection (`pg_stat_activity.pid`); 0 once it is lost.
    public var backendPID: Int32 { wire.pointer.map { PQbackendPID($0) } ?? 0 }

    /// The server's version as a number: 150018 is 15.18; 0 once the connection is lost.
    public var serverVersion: Int32 { wire.pointer.map { PQserverVersion($0) } ?? 0 }

    /// Commands sent so far, preparations included; a script counts as one.
    public var commandsSent: Int { wire.sent }

    /// The connection is closed where the server sends and takes no byte for this long. `statementTimeout` + `replyGrace` of the
    /// configuration; raise it where statements may take longer.
    public var replyTimeout: Duration {
        get { wire.replyTimeout }
        set { wire.replyTimeout = newValue }
    }

    /// Executes one statement without preparing it.
    @discardableResult
    public func execute(_ sql: String, _ parameters: Parameters? = nil) throws(PostgresError) -> PostgresResult {
        try wire.one { connection in send(sql, parameters, on: connection) }
    }

    /// Executes a statement that is prepared on this connection at its first use.
    @discardableResult
    public func execute(
        _ statement: PreparedStatement, _ parameters: Parameters? = nil
    ) throws(PostgresError) -> PostgresResult {
        let name = try ensurePrepared(statement)
        do throws(PostgresError) {
            return try wire.one { connection in send(prepared: name, parameters, on: connection) }
        } catch {
            noteFailure(of: statement, error)
            throw error
        }
    }

    /// Prepares a statement now, in a round trip of its own, unless the connection has it.
    public func prepare(_ statement: PreparedStatement) throws(PostgresError) {
        _ = try ensurePrepared(statement)
    }

    /// Prepares a statement now, in a round trip of its own, unless the connection has it.
    @discardableResult
    public func prepare(_ sql: String, types: [UInt32] = []) throws(PostgresError) -> PreparedStatement {
        let statement = PreparedStatement(sql, types: types)
        try prepare(statement)
        return statement
    }

    /// Executes any number of statements without parameters. Outside of a transaction they are one. Returns the command tags.
    @discardableResult
    public func executeScript(_ sql: String) throws(PostgresError) -> [String] {
        try wire.all { connection in PQsendQuery(connection, sql) }.map { $0.commandTag }
    }

    /// COMMIT that throws when the server rolled back instead, which it reports as a success.
    public func commit() throws(PostgresError) { try execute("COMMIT").requireTag("COMMIT") }

    /// ROLLBACK. Harmless outside of a transaction.
    public func rollback() throws(PostgresError) { try execute("ROLLBACK") }

    /// Runs `body` between BEGIN and COMMIT. Where it throws, the transaction is rolled back and its error is thrown.
    public func transaction<R>(_ body: () throws -> R) throws -> R {
        do {
            try execute("BEGIN")
            let result = try body()
            try commit()
            return result
        } catch {
            // If this fails, the connection is lost: the first error says so, or the next call does.
            if transactionStatus == .failed || transactionStatus == .inTransaction { try rollback() }
            throw error
        }
    }

    private func ensurePrepared(_ statement: PreparedStatement) throws(PostgresError) -> String {
        if let name = statements.name(of: statement) { return name }
        try deallocateDropped()
        let name = statements.newName()
        _ = try wire.one { connection in send(prepare: statement, as: name, on: connection) }
        statements.prepared(statement, as: name)
        return name
    }

    /// Deallocates statements that the cache has dropped. Not inside a transaction, which an error would abort.
    func deallocateDropped() throws(PostgresError) {
        guard !statements.dropped.isEmpty, transactionStatus == .idle else { return }
        for name in statements.takeDropped() {
            do throws(PostgresError) {
                try execute("DEALLOCATE \(name)")
            } catch {
                // After DISCARD ALL there is nothing to deallocate.
                if error.sqlState != .invalidStatementName { throw error }
            }
        }
    }

    /// Drops a statement from the cache where its error shows that it must be prepared again.
    func noteFailure(of statement: PreparedStatement, _ error: PostgresError) {
        if error.sqlState == .invalidStatementName { statements.invalidated(statement, exists: false) }
        if error.sqlState == .featureNotSupported { statements.invalidated(statement, exists: true) }
    }

    // MARK: The three ways to send

    func send(_ sql: String, _ parameters: Parameters?, on connection: OpaquePointer) -> Int32 {
        guard let parameters else { return PQsendQueryParams(connection, sql, 0, nil, nil, nil, nil, 1) }
        largestCommand = max(largestCommand, parameters.bytes)
        return parameters.withArguments { count, types, values, lengths, formats in
            PQsendQueryParams(connection, sql, count, types, values, lengths, formats, 1)
        }
    }

    func send(prepared name: String, _ parameters: Parameters?, on connection: OpaquePointer) -> Int32 {
        guard let parameters else { return PQsendQueryPrepared(connection, name, 0, nil, nil, nil, 1) }
        largestCommand = max(largestCommand, parameters.bytes)
        return parameters.withArguments { count, _, values, lengths, formats in
            PQsendQueryPrepared(connection, name, count, values, lengths, formats, 1)
        }
    }

    func send(prepare statement: PreparedStatement, as name: String, on connection: OpaquePointer) -> Int32 {
        statement.types.withUnsafeBufferPointer {
            PQsendPrepare(connection, name, statement.sql, Int32($0.count), $0.baseAddress)
        }
    }
}
