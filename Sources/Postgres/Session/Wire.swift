// Owns the protocol of one PGconn: sending, waiting for answers, and the loss of the connection.

internal import CPq
internal import Platform
internal import Synchronization
internal import Telemetry

/// The state of a connection that other threads may read and set.
final class ConnectionSignals: Sendable {
    private let broken = Atomic<Bool>(false)
    let interrupt: InterruptHandle

    init() throws(PostgresError) { interrupt = try InterruptHandle() }

    var isBroken: Bool { broken.load(ordering: .acquiring) }

    func markBroken() { broken.store(true, ordering: .releasing) }

    /// Ends the wait of the connection's thread, and every later one.
    func abandon() {
        markBroken()
        interrupt.raise()
    }
}

/// A live libpq connection in non-blocking mode, used by its own thread only.
final class Wire {
    private var handle: ConnectionHandle?
    private let signals: ConnectionSignals
    /// The connection as libpq wants it; `nil` once it is lost.
    private(set) var pointer: OpaquePointer?
    /// The longest wait in which no byte is sent or received.
    var replyTimeout: Duration
    private let notices: NoticeSink
    private var loss: PostgresError?
    /// The server's FATAL error, where it ended the session with one.
    private var fatalError: PostgresError?

    init(_ handle: consuming ConnectionHandle, signals: ConnectionSignals, replyTimeout: Duration, log: @escaping LogHandler) {
        pointer = handle.pointer
        self.handle = consume handle
        self.signals = signals
        self.replyTimeout = replyTimeout
        notices = NoticeSink(log)
        // The sink lives as long as this object, and the connection does not outlive it (`deinit`).
        PQsetNoticeReceiver(pointer, receiveNotice, Unmanaged.passUnretained(notices).toOpaque())
        PQsetnonblocking(pointer, 1)
    }

    deinit { finish() }

    /// Closes the connection, politely where it lives.
    func finish() {
        pointer = nil
        handle = nil
    }

    /// Commands sent so far.
    var sent = 0

    /// Inside a pipeline the server answers at the Sync, so that the answer of a single statement would never come.
    var insidePipeline: PostgresError {
        PostgresError(
            .protocolViolation, "a statement was executed inside a pipeline's body; queue it with the pipeline's execute")
    }

    /// Sends one command and returns its one answer.
    func one(_ send: (OpaquePointer) -> Int32) throws(PostgresError) -> PostgresResult {
        let results = try all(send)
        guard let result = results.last else {
            throw PostgresError(.protocolViolation, "the server gave no answer to a statement")
        }
        return result
    }

    /// Sends one command, which may hold several statements, and returns all answers, or the first error.
    func all(_ send: (OpaquePointer) -> Int32) throws(PostgresError) -> [PostgresResult] {
        let connection = try usable()
        guard PQpipelineStatus(connection) == PQ_PIPELINE_OFF else { throw insidePipeline }
        sent += 1
        if send(connection) != 1 { throw refused(connection) }
        var results: [PostgresResult] = []
        var failure: PostgresError?
        while let result = try next() {
            switch result.status {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK: results.append(PostgresResult(result))
            case PGRES_EMPTY_QUERY: continue
            case PGRES_FATAL_ERROR:
                noteFatal(result)
                failure = failure ?? result.error()
            default: throw unexpected(result.status)
            }
        }
        try checkAlive()
        if let failure { throw failure }
        return results
    }

    /// Keeps the error with which the server ends the session, or which shows that the session is of no use.
    ///
    /// A session whose transactions are read-only is on the wrong server: after a failover the former primary may live on as a standby.
    /// Only a new connection asks the host list, DNS and `target_session_attrs` again, so the connection counts as lost.
    func noteFatal(_ result: borrowing ResultHandle) {
        let severity = result.field(.severity)
        let isReadOnly = result.field(.sqlState) == SQLState.readOnlyTransaction.rawValue
        if severity == "FATAL" || severity == "PANIC" || isReadOnly { fatalError = result.error() }
    }

    /// The connection, or the error that says why there is none.
    func usable() throws(PostgresError) -> OpaquePointer {
        guard let pointer else { throw loss ?? .closed() }
        return pointer
    }

    /// Sends what is queued and waits for the next answer; `nil` at the end of a command.
    ///
    /// It reads while it writes: a server that is blocked writing answers does not read (libpq manual, PQflush).
    func next() throws(PostgresError) -> ResultHandle? {
        let connection = try usable()
        var deadline = MonotonicClock.nanoseconds() + replyTimeout.nanoseconds
        while true {
            let flushed = PQflush(connection)
            if flushed < 0 { throw lost() }
            if PQisBusy(connection) == 0 { return PQgetResult(connection).map { ResultHandle($0) } }
            switch try readiness(of: connection, write: flushed == 1, deadline: deadline) {
            case .deadlinePassed: throw timedOut()
            case .interrupted: throw lose(.closed("the connection was abandoned by its owner"))
            case .ready(let readable, _):
                if readable, PQconsumeInput(connection) == 0 { throw lost() }
                deadline = MonotonicClock.nanoseconds() + replyTimeout.nanoseconds
            }
        }
    }

    private func readiness(
        of connection: OpaquePointer, write: Bool, deadline: UInt64
    ) throws(PostgresError) -> SocketReadiness {
        do throws(PostgresError) {
            return try waitForSocket(
                PQsocket(connection), read: true, write: write, interrupt: signals.interrupt, deadline: deadline)
        } catch {
            throw lose(error)
        }
    }

    /// Throws where libpq has noticed the loss of the connection, perhaps after an answer.
    func checkAlive() throws(PostgresError) {
        if let pointer, PQstatus(pointer) != CONNECTION_BAD, fatalError?.sqlState != .readOnlyTransaction { return }
        throw lost()
    }

    /// libpq has refused a command: the connection is lost, or the command cannot be sent.
    func refused(_ connection: OpaquePointer) -> PostgresError {
        if PQstatus(connection) == CONNECTION_BAD { return lost() }
        return PostgresError(.protocolViolation, "libpq refused a command: " + message(of: connection))
    }

    /// An answer was out of order. Later answers could not be assigned to their commands, so the connection is closed.
    func unexpected(_ status: ExecStatusType) -> PostgresError {
        lose(
            PostgresError(
                .protocolViolation,
                "unexpected answer \(String(cString: PQresStatus(status))) (COPY cannot be used here); the connection was closed",
                isConnectionLost: true))
    }

    private func lost() -> PostgresError {
        guard let pointer else { return loss ?? .closed() }
        if let fatal = fatalError {
            return lose(PostgresError(.connection, fatal.message, sqlState: fatal.sqlState))
        }
        return lose(PostgresError(.connection, message(of: pointer)))
    }

    private func timedOut() -> PostgresError {
        lose(PostgresError(.timeout, "no byte was sent or received for \(replyTimeout); the connection was closed"))
    }

    private func lose(_ error: PostgresError) -> PostgresError {
        loss = error
        finish()
        signals.markBroken()
        return error
    }

    private func message(of connection: OpaquePointer) -> String { firstLine(String(cString: PQerrorMessage(connection))) }
}

/// Passes the server's notices to the log.
private final class NoticeSink {
    let log: LogHandler
    init(_ log: @escaping LogHandler) { self.log = log }
}

/// Called by libpq for each notice. The owner is the connection's ``NoticeSink``, alive as long as the connection.
private let receiveNotice: @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?) -> Void = { owner, result in
    guard let owner else { return }
    let sink = Unmanaged<NoticeSink>.fromOpaque(owner).takeUnretainedValue()
    sink.log(
        .debug,
        "\(ResultHandle.field(result, .severity) ?? "NOTICE"): \(ResultHandle.field(result, .primary) ?? "no text")")
}
