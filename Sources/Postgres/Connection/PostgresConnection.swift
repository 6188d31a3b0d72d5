// Owns the asynchronous use of a connection on a thread of its own.

internal import Synchronization
public import Telemetry

/// One connection to PostgreSQL. libpq blocks its thread only; the caller's task is suspended.
///
/// Bodies run one at a time in the order of their ``perform(_:)`` calls. A lost connection does not reconnect: make a new one.
public final class PostgresConnection: Sendable {
    private let thread: ConnectionThread
    private let slot: SessionSlot
    private let signals: ConnectionSignals
    /// Process number of the server's side (`pg_stat_activity.pid`).
    public let backendPID: Int32

    private init(thread: ConnectionThread, slot: SessionSlot, signals: ConnectionSignals, backendPID: Int32) {
        self.thread = thread
        self.slot = slot
        self.signals = signals
        self.backendPID = backendPID
    }

    /// A released connection is closed after its last body.
    deinit { PostgresConnection.finish(slot, on: thread, signals) }

    /// Connects within `configuration.connectTimeout`, and sets the session's timeouts. Cancelling the task ends it.
    /// - Parameters:
    ///   - thread: the connection's thread; `nil`: a new one.
    ///   - log: takes the server's notices (debug), from the connection's thread.
    public static func connect(
        _ configuration: PostgresConfiguration, on thread: ConnectionThread? = nil, log: @escaping LogHandler = { _, _ in }
    ) async throws(PostgresError) -> PostgresConnection {
        let signals = try ConnectionSignals()
        let thread = if let thread { thread } else { try ConnectionThread(named: "postgres") }
        let slot = SessionSlot()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Int32, PostgresError>, Never>) in
                thread.post {
                    do throws(PostgresError) {
                        let session = try connectSession(configuration, signals: signals, log: log)
                        slot.session = session
                        continuation.resume(returning: .success(session.backendPID))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        } onCancel: {
            signals.abandon()
        }
        let connection = PostgresConnection(thread: thread, slot: slot, signals: signals, backendPID: try outcome.get())
        // Cancelled after the connection was made.
        if signals.isBroken { throw .closed("connecting was cancelled by its owner") }
        return connection
    }

    private static func finish(
        _ slot: SessionSlot, on thread: ConnectionThread, _ signals: ConnectionSignals, then: @escaping @Sendable () -> Void = {}
    ) {
        thread.post {
            slot.session?.wire.finish()
            slot.session = nil
            signals.markBroken()
            then()
        }
    }

    /// The connection is lost, abandoned or closed. A loss is noticed at the next use.
    public var isBroken: Bool { signals.isBroken }

    /// Runs `body` on the connection's thread, where blocking is fine, and returns what it returns.
    ///
    /// A task that is cancelled before its body begins gets `CancellationError`. A body that has begun runs to its end; ``abandon()`` ends
    /// its wait for the server.
    @discardableResult
    public func perform<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let cancelled = Flag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                thread.post { [slot] in
                    continuation.resume(
                        with: Result {
                            if cancelled.isRaised { throw CancellationError() }
                            guard let session = slot.session else { throw PostgresError.closed() }
                            return try body(session)
                        })
                }
            }
        } onCancel: {
            cancelled.raise()
        }
    }

    /// Runs `body` as ``perform(_:)`` does, and disconnects whatever comes of it.
    public func performLast<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let result: Result<R, any Error>
        do { result = .success(try await perform(body)) } catch { result = .failure(error) }
        await close()
        return try result.get()
    }

    /// Waits for the bodies under way and disconnects. Later ``perform(_:)`` calls get ``PostgresError/Code/closed``.
    public func close() async {
        await withCheckedContinuation { continuation in
            PostgresConnection.finish(slot, on: thread, signals) { continuation.resume() }
        }
    }

    /// Closes the connection at once, from any thread: a body that waits for the server gets ``PostgresError/Code/closed``, and so does
    /// every later body. What was sent may be executed or not.
    public func abandon() {
        signals.abandon()
        PostgresConnection.finish(slot, on: thread, signals)
    }
}

/// Holds the connection's session while there is one.
private final class SessionSlot: @unchecked Sendable {
    // Licence for @unchecked: read and written by the connection's thread only, inside of what is posted to it.
    var session: PostgresSession?
}

private final class Flag: Sendable {
    private let raised = Atomic<Bool>(false)
    var isRaised: Bool { raised.load(ordering: .acquiring) }
    func raise() { raised.store(true, ordering: .releasing) }
}
