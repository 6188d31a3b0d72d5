// The async door to a connection that lives on a thread of its own.

internal import Synchronization

/// One connection to PostgreSQL on a thread of its own: libpq may block there, the caller's task only waits.
///
/// Bodies run one at a time in the order of their ``perform(_:)`` calls. A connection that is lost stays lost: make a new one.
public final class PostgresConnection: Sendable {
    private let mailbox: ConnectionMailbox
    private let signals: ConnectionSignals
    /// Process number of the server's side (`pg_stat_activity.pid`).
    public let backendPID: Int32

    private init(mailbox: ConnectionMailbox, signals: ConnectionSignals, backendPID: Int32) {
        self.mailbox = mailbox
        self.signals = signals
        self.backendPID = backendPID
    }

    /// A forgotten connection closes itself; the thread ends after the last body.
    deinit { mailbox.close() }

    /// Connects within `configuration.connectTimeout`, and sets the session's timeouts. Cancelling the task gives up.
    /// - Parameter log: takes the server's notices (debug), from the connection's thread.
    public static func connect(
        _ configuration: PostgresConfiguration, log: @escaping PostgresLog = { _, _ in }
    ) async throws(PostgresError) -> PostgresConnection {
        let signals = try ConnectionSignals()
        let mailbox = ConnectionMailbox()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Int32, PostgresError>, Never>) in
                do throws(PostgresError) {
                    try startThread(named: "postgres") {
                        live(configuration, mailbox: mailbox, signals: signals, log: log) { continuation.resume(returning: $0) }
                    }
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        } onCancel: {
            signals.abandon()
        }
        let connection = PostgresConnection(mailbox: mailbox, signals: signals, backendPID: try outcome.get())
        // Cancelled in the last moment: what was made is not usable.
        if signals.isBroken { throw .closed("connecting was given up by its owner") }
        return connection
    }

    /// The life of the thread: connect, tell how that went, run bodies until the mailbox is closed, disconnect.
    private static func live(
        _ configuration: PostgresConfiguration, mailbox: ConnectionMailbox, signals: ConnectionSignals,
        log: @escaping PostgresLog, connected: (Result<Int32, PostgresError>) -> Void
    ) {
        do throws(PostgresError) {
            let session = try connectSession(configuration, signals: signals, log: log)
            connected(.success(session.backendPID))
            while let job = mailbox.take() { job(session) }
            session.wire.finish()
        } catch {
            connected(.failure(error))
        }
        signals.markBroken()
        mailbox.ended()
    }

    /// The connection is lost, abandoned or closed. It may be lost without anybody having noticed.
    public var isBroken: Bool { signals.isBroken }

    /// Runs `body` on the connection's thread, where blocking is fine, and returns what it returns.
    ///
    /// A task that is cancelled before its body begins gets `CancellationError`. A body that has begun runs to its end, so that no
    /// transaction is torn by cancellation; ``abandon()`` is for when that takes too long.
    @discardableResult
    public func perform<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let cancelled = Flag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let accepted = mailbox.post { session in
                    continuation.resume(
                        with: Result {
                            if cancelled.isRaised { throw CancellationError() }
                            return try body(session)
                        })
                }
                if !accepted { continuation.resume(throwing: PostgresError.closed()) }
            }
        } onCancel: {
            cancelled.raise()
        }
    }

    /// Waits for the bodies under way and disconnects. Later ``perform(_:)`` calls get ``PostgresError/Code/closed``.
    public func close() async {
        mailbox.close()
        await mailbox.waitForEnd()
    }

    /// Gives the connection up now, from any thread: a body that waits for the server gets ``PostgresError/Code/closed``, and so does
    /// every body after it. What was sent may or may not be executed.
    public func abandon() {
        signals.abandon()
        mailbox.close()
    }
}

/// Something that may have happened already.
private final class Flag: Sendable {
    private let raised = Atomic<Bool>(false)
    var isRaised: Bool { raised.load(ordering: .acquiring) }
    func raise() { raised.store(true, ordering: .releasing) }
}
