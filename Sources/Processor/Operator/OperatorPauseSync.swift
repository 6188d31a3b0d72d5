// Synchronises the operator pauses in PostgreSQL, which all workers of the group share, with this worker's pipeline.

import Backpressure
import Pipeline
import Postgres
import SluiceTables
import Synchronization
import Telemetry

/// Reads the pauses at every claim and at an interval, and writes those that operators request here, on a connection of its own.
///
/// One query runs at a time, and its result reaches the pipeline before the next one starts, so an older result never replaces a newer one.
/// While PostgreSQL is unreachable, the last result stays in force.
final class OperatorPauseSync: Sendable {
    /// Takes the set of pauses; returns once it is in force.
    typealias Update = @Sendable (OperatorPauses) async throws -> Void

    private struct State {
        var connection: PostgresConnection?
        var known: [StoredPause]?
        var isAbandoned = false
        var update: Update?
    }

    private let store: PauseStore
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let logger: Logger
    private let state = Mutex(State())
    private let mutex = AsyncMutex()

    init(store: PauseStore, configuration: PostgresConfiguration, interval: Duration, logger: Logger) {
        self.store = store
        self.configuration = configuration
        self.interval = interval
        self.logger = logger
    }

    /// Sets the pipeline to update. Call it before the first query.
    func attach(_ update: @escaping Update) { state.withLock { $0.update = update } }

    /// Reads the pauses at the interval until the task is cancelled, which also abandons the running query.
    func run() async throws {
        try await withTaskCancellationHandler {
            var hasFailed = false
            while true {
                try await Task.sleep(for: interval)
                do {
                    try await refresh()
                    if hasFailed { logger.info("Operator pauses can be read again.") }
                    hasFailed = false
                } catch let error as PostgresError {
                    try Task.checkCancellation()
                    if !hasFailed {
                        logger.warning(
                            "Operator pauses cannot be read from PostgreSQL; the known ones stay in force.",
                            ["message": error.description])
                    }
                    hasFailed = true
                }
            }
        } onCancel: {
            abandon()
        }
    }

    /// Reads the pauses; they are in force when this returns.
    @discardableResult
    func refresh() async throws -> [StoredPause] {
        try await query({ [store] in try store.all(on: $0) }) { pauses in
            let (known, isFirst) = (state.withLock { $0.known ?? [] }, state.withLock { $0.known == nil })
            if pauses != known {
                logger.info(
                    isFirst ? "Operator pauses read." : "Operator pauses changed.",
                    ["paused": pauses.map { "\($0.scope): \($0.reason)" }.joined(separator: "; ")])
            }
            return pauses
        }
    }

    /// Runs a query that may be repeated on this connection, which no lane uses. A claim reads here what it needs, so that it does not wait
    /// for a lane that is in a transaction.
    func session<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        try await mutex.lock()
        defer { mutex.unlock() }
        return try await perform(body)
    }

    /// Pauses a scope. The pause is durable and in force when this returns.
    /// - Returns: all pauses, and whether this one is new or has another reason.
    func pause(
        _ scope: PauseScope, reason: String, by caller: String
    ) async throws -> (pauses: [StoredPause], isChanged: Bool) {
        try await query({ [store] in try store.pause(scope, reason: reason, by: caller, on: $0) }) { $0.pauses }
    }

    /// Resumes a scope. Durable and in force when this returns.
    func resume(_ scope: PauseScope) async throws -> PauseStore.Resumed {
        try await query({ [store] in try store.resume(scope, on: $0) }) { result in
            if case .done(let pauses, _) = result { pauses } else { nil }
        }
    }

    /// Abandons the running query; further ones fail with `CancellationError`.
    func abandon() {
        let connection = state.withLock { state in
            state.isAbandoned = true
            return state.connection
        }
        connection?.abandon()
    }

    /// Disconnects.
    func close() async {
        abandon()
        await state.withLock { $0.connection }?.close()
    }

    /// Runs one query. `pauses`: the set of pauses in its result; `nil`: there is none.
    private func query<R: Sendable>(
        _ body: @Sendable @escaping (PostgresSession) throws -> R, _ pauses: (R) -> [StoredPause]?
    ) async throws -> R {
        try await mutex.lock()
        defer { mutex.unlock() }
        let result = try await perform(body)
        if let pauses = pauses(result), pauses != state.withLock({ $0.known }) {
            try await state.withLock { $0.update }?(OperatorPauses(pauses.map(\.operatorPause)))
            state.withLock { $0.known = pauses }
        }
        return result
    }

    private func perform<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let (known, isAbandoned) = state.withLock { ($0.connection, $0.isAbandoned) }
        if isAbandoned { throw CancellationError() }
        if let known, !known.isBroken {
            do {
                return try await known.perform(body)
            } catch let error as PostgresError where error.code == .connection {
                // The connection was lost while idle. Every query may be repeated.
            }
        }
        let fresh = try await PostgresConnection.connect(configuration, log: logger.postgres)
        let isLate = state.withLock { state in
            state.connection = fresh
            return state.isAbandoned
        }
        if isLate { fresh.abandon() }
        return try await fresh.perform(body)
    }
}
