// The async door to a connection that lives on a thread of its own.

internal import Synchronization

/// One connection to PostgreSQL on a thread of its own: libpq may block there, the caller's task only waits.
///
/// Bodies run one at a time in the order of their ``perform(_:)`` calls. A connection that is lost stays lost: make a new one.
public final class PostgresConnection: Sendable {
    private let thread: ConnectionThread
    private let seat: SessionSeat
    private let signals: ConnectionSignals
    /// Process number of the server's side (`pg_stat_activity.pid`).
    public let backendPID: Int32

    private init(thread: ConnectionThread, seat: SessionSeat, signals: ConnectionSignals, backendPID: Int32) {
        self.thread = thread
        self.seat = seat
        self.signals = signals
        self.backendPID = backendPID
    }

    /// A forgotten connection closes itself after the last body.
    deinit { PostgresConnection.finish(seat, on: thread, signals) }

    /// Connects within `configuration.connectTimeout`, and sets the session's timeouts. Cancelling the task gives up.
    /// - Parameters:
    ///   - thread: where the connection lives; without one it gets its own.
    ///   - log: takes the server's notices (debug), from the connection's thread.
    public static func connect(
        _ configuration: PostgresConfiguration, on thread: ConnectionThread? = nil, log: @escaping PostgresLog = { _, _ in }
    ) async throws(PostgresError) -> PostgresConnection {
        let signals = try ConnectionSignals()
        let thread = if let thread { thread } else { try ConnectionThread(named: "postgres") }
        let seat = SessionSeat()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Int32, PostgresError>, Never>) in
                thread.post {
                    do throws(PostgresError) {
                        let session = try connectSession(configuration, signals: signals, log: log)
                        seat.session = session
                        continuation.resume(returning: .success(session.backendPID))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        } onCancel: {
            signals.abandon()
        }
        let connection = PostgresConnection(thread: thread, seat: seat, signals: signals, backendPID: try outcome.get())
        // Cancelled in the last moment: what was made is not usable.
        if signals.isBroken { throw .closed("connecting was given up by its owner") }
        return connection
    }

    private static func finish(
        _ seat: SessionSeat, on thread: ConnectionThread, _ signals: ConnectionSignals, then: @escaping @Sendable () -> Void = {}
    ) {
        thread.post {
            seat.session?.wire.finish()
            seat.session = nil
            signals.markBroken()
            then()
        }
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
                thread.post { [seat] in
                    continuation.resume(
                        with: Result {
                            if cancelled.isRaised { throw CancellationError() }
                            guard let session = seat.session else { throw PostgresError.closed() }
                            return try body(session)
                        })
                }
            }
        } onCancel: {
            cancelled.raise()
        }
    }

    /// Waits for the bodies under way and disconnects. Later ``perform(_:)`` calls get ``PostgresError/Code/closed``.
    public func close() async {
        await withCheckedContinuation { continuation in
            PostgresConnection.finish(seat, on: thread, signals) { continuation.resume() }
        }
    }

    /// Gives the connection up now, from any thread: a body that waits for the server gets ``PostgresError/Code/closed``, and so does
    /// every body after it. What was sent may or may not be executed.
    public func abandon() {
        signals.abandon()
        PostgresConnection.finish(seat, on: thread, signals)
    }
}

/// Where a connection's session sits while there is one.
private final class SessionSeat: @unchecked Sendable {
    // Licence for @unchecked: read and written by the connection's thread only, inside of what is posted to it.
    var session: PostgresSession?
}

/// Something that may have happened already.
private final class Flag: Sendable {
    private let raised = Atomic<Bool>(false)
    var isRaised: Bool { raised.load(ordering: .acquiring) }
    func raise() { raised.store(true, ordering: .releasing) }
}
