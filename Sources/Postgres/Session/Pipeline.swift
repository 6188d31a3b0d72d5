// Owns libpq's pipeline mode: several statements in one round trip.

internal import CPq

/// Sends statements without waiting for their answers, until one Sync at the end.
///
/// The server executes them in order and skips the rest after the first error. Without BEGIN they are one implicit transaction; with
/// BEGIN, the caller rolls back after an error.
///
/// A Flush after every statement with parameters makes the server answer it when it is done, and not at the Sync (PostgreSQL manual,
/// 55.2.4): so the reply timeout is that of one statement, as `statement_timeout` is, however many there are.
public struct Pipeline: ~Copyable {
    /// A command whose answer has not been read.
    enum Sent {
        case preparation(PreparedStatement, name: String)
        case statement(PreparedStatement?)
    }

    private let session: PostgresSession
    private let connection: OpaquePointer
    private(set) var sent: [Sent] = []
    /// Statements prepared earlier in this pipeline, with unknown success.
    private var preparing: [PreparedStatement: String] = [:]

    init(session: PostgresSession, connection: OpaquePointer) {
        self.session = session
        self.connection = connection
    }

    /// Sends one statement without preparing it, such as BEGIN, COMMIT or SAVEPOINT.
    public mutating func execute(_ sql: String, _ parameters: Parameters? = nil) throws(PostgresError) {
        try queue(session.send(sql, parameters, on: connection), .statement(nil))
        if parameters != nil { try requestAnswer() }
    }

    /// Sends a statement, and its preparation before it where the connection does not have it. libpq has copied the parameters when
    /// this returns.
    public mutating func execute(_ statement: PreparedStatement, _ parameters: Parameters? = nil) throws(PostgresError) {
        let name: String
        if let known = session.statements.name(of: statement) ?? preparing[statement] {
            name = known
        } else {
            name = session.statements.newName()
            try queue(session.send(prepare: statement, as: name, on: connection), .preparation(statement, name: name))
            preparing[statement] = name
        }
        try queue(session.send(prepared: name, parameters, on: connection), .statement(statement))
        try requestAnswer()
    }

    private func requestAnswer() throws(PostgresError) {
        if PQsendFlushRequest(connection) != 1 { throw session.wire.refused(connection) }
    }

    private mutating func queue(_ accepted: Int32, _ what: Sent) throws(PostgresError) {
        session.wire.sent += 1
        if accepted != 1 { throw session.wire.refused(connection) }
        sent.append(what)
    }
}

extension PostgresSession {
    /// Sends the statements that `body` queues and returns their results in order, or throws the first error, whose
    /// ``PostgresError/commandIndex`` names the statement.
    ///
    /// Where `body` throws, what it had queued is executed all the same, and its error is thrown. All other errors are ``PostgresError``.
    public func pipeline(_ body: (inout Pipeline) throws -> Void) throws -> [PostgresResult] {
        let (results, failure) = try answers(to: body)
        if let failure { throw failure }
        return results
    }

    /// As ``pipeline(_:)``; returns the results before the first error, and the error. Throws where the connection is lost.
    public func answers(
        to body: (inout Pipeline) throws -> Void
    ) throws -> (results: [PostgresResult], failure: PostgresError?) {
        try deallocateDropped()
        let connection = try wire.usable()
        guard PQpipelineStatus(connection) == PQ_PIPELINE_OFF else { throw wire.insidePipeline }
        guard PQenterPipelineMode(connection) == 1 else { throw wire.refused(connection) }
        var pipeline = Pipeline(session: self, connection: connection)
        var bodyError: (any Error)?
        do { try body(&pipeline) } catch { bodyError = error }
        guard wire.pointer != nil else { throw bodyError ?? PostgresError.closed() }
        guard PQpipelineSync(connection) == 1 else { throw wire.refused(connection) }
        let answers = Result { () throws(PostgresError) in try collect(pipeline.sent) }
        if wire.pointer != nil, PQexitPipelineMode(connection) != 1 { throw wire.unexpected(PGRES_PIPELINE_SYNC) }
        if let bodyError { throw bodyError }
        return try answers.get()
    }

    /// Reads the answers to what was sent, up to the Sync's.
    private func collect(
        _ sent: [Pipeline.Sent]
    ) throws(PostgresError) -> (results: [PostgresResult], failure: PostgresError?) {
        var results: [PostgresResult] = []
        results.reserveCapacity(sent.count)
        var failure: PostgresError?
        var index = 0
        for command in sent {
            guard let result = try wire.next() else { throw wire.unexpected(PGRES_BAD_RESPONSE) }
            switch result.status {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
                switch command {
                case .preparation(let statement, let name): statements.prepared(statement, as: name)
                case .statement: results.append(PostgresResult(result))
                }
            case PGRES_PIPELINE_ABORTED: break
            case PGRES_FATAL_ERROR:
                wire.noteFatal(result)
                var error = result.error()
                error.commandIndex = index
                if case .statement(let statement?) = command { noteFailure(of: statement, error) }
                failure = failure ?? error
            default: throw wire.unexpected(result.status)
            }
            if case .statement = command { index += 1 }
            guard try wire.next() == nil else { throw wire.unexpected(PGRES_BAD_RESPONSE) }
        }
        guard let sync = try wire.next() else { throw wire.unexpected(PGRES_BAD_RESPONSE) }
        guard sync.status == PGRES_PIPELINE_SYNC else { throw wire.unexpected(sync.status) }
        try wire.checkAlive()
        return (results, failure)
    }
}
