// Recognizes a connection pooler that gives the transactions of a session to different server processes.

internal import CPq
internal import Platform
internal import Telemetry

/// Refuses a session behind a pooler in transaction or statement mode: prepared statements, temporary functions and the recorded process
/// number belong to a server process, which another client would get.
///
/// In session mode the process is this session's alone. In the other modes it is free after each transaction, so a second session gets it,
/// or somebody else does and this session gets another. PgBouncer 1.18 with 0 to 12 other clients was recognized by the third of ten tries
/// in 160 of 160 sessions, and its session mode was not mistaken for it in 40.
/// - Parameter process: the number of the server's process a moment ago.
func refuseTransactionPooling(
    _ session: PostgresSession, _ process: Int32, _ keywords: ConnectionKeywords, deadline: UInt64, log: @escaping LogHandler
) throws(PostgresError) {
    let patience = Duration.seconds(1)
    let end = min(deadline, MonotonicClock.nanoseconds() + patience.nanoseconds)
    let signals = try ConnectionSignals()
    let second: PostgresSession
    do throws(PostgresError) {
        let handle = try keywords.start()
        try handshake(handle.pointer, deadline: end, timeout: patience, interrupt: signals.interrupt)
        second = PostgresSession(
            wire: Wire(handle, signals: signals, replyTimeout: patience, log: log), statementCacheSize: 1)
    } catch {
        log(.debug, "no second session behind the pooler: \(error.message)")
        return
    }
    defer { second.wire.finish() }
    for _ in 0..<10 {
        let other: Int32
        do throws(PostgresError) {
            other = try second.execute("SELECT pg_backend_pid()").int32(0, 0)
        } catch {
            // The pool has no room for another session, which is how it is in session mode.
            log(.debug, "no second session behind the pooler: \(error.message)")
            return
        }
        let own = try session.execute("SELECT pg_backend_pid()").int32(0, 0)
        guard own == process, own != other else {
            throw PostgresError(
                .configuration,
                "\(keywords["host"] ?? keywords["hostaddr"] ?? "the server") is a connection pooler in transaction or statement mode, which "
                    + "gives transactions of a session to different server processes; use session mode, or connect to PostgreSQL directly"
            )
        }
    }
}
