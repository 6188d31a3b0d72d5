// Keeps what operators have paused: in PostgreSQL for all workers of the group, and known to this worker's pipeline.

import Backpressure
import Pipeline
import Postgres
import Synchronization
import Telemetry

/// Reads the pauses at every claim and at an interval, and writes those asked for here, on a connection that no lane uses.
///
/// One question at a time, and its answer reaches the pipeline before the next is put: what is older never replaces what is newer.
/// Where the database cannot be asked, the set that is known stands.
final class OperatorPauseSync: Sendable {
    /// Takes all that is paused; returns once it counts.
    typealias Teller = @Sendable (OperatorPauses) async throws -> Void

    private struct State {
        var connection: PostgresConnection?
        var known: [StoredPause]?
        var isAbandoned = false
        var tell: Teller?
    }

    private let store: PauseStore
    private let configuration: PostgresConfiguration
    private let interval: Duration
    private let logger: Logger
    private let state = Mutex(State())
    private let turn = AsyncMutex()

    init(store: PauseStore, configuration: PostgresConfiguration, interval: Duration, logger: Logger) {
        self.store = store
        self.configuration = configuration
        self.interval = interval
        self.logger = logger
    }

    /// Whom to tell: the pipeline. Must be said before the first question.
    func attach(_ teller: @escaping Teller) { state.withLock { $0.tell = teller } }

    /// Reads at the interval until the task is cancelled, which also gives up a question under way.
    func run() async throws {
        try await withTaskCancellationHandler {
            var hasFailed = false
            while true {
                try await Task.sleep(for: interval)
                do {
                    try await refresh()
                    if hasFailed { logger.info("What operators have paused can be read again.") }
                    hasFailed = false
                } catch let error as PostgresError {
                    try Task.checkCancellation()
                    if !hasFailed {
                        logger.warning(
                            "What operators have paused cannot be read; what is known stands.", ["error": error.description])
                    }
                    hasFailed = true
                }
            }
        } onCancel: {
            abandon()
        }
    }

    /// Reads what is paused; the pipeline knows it when this returns.
    @discardableResult
    func refresh() async throws -> [StoredPause] {
        try await ask({ [store] in try store.all(on: $0) }) { pauses in
            let (known, isFirst) = (state.withLock { $0.known ?? [] }, state.withLock { $0.known == nil })
            if pauses != known {
                logger.info(
                    isFirst ? "Operators have paused this." : "What operators have paused has changed.",
                    ["paused": pauses.map { "\($0.scope): \($0.reason)" }.joined(separator: "; ")])
            }
            return pauses
        }
    }

    /// Pauses a scope. Durable, and known to the pipeline, when it returns what is paused now.
    func pause(_ scope: PauseScope, reason: String, by caller: String) async throws -> [StoredPause] {
        try await ask({ [store] in try store.pause(scope, reason: reason, by: caller, on: $0) }) { $0 }
    }

    /// Resumes a scope. Durable, and known to the pipeline, when it returns.
    func resume(_ scope: PauseScope) async throws -> PauseStore.Resumed {
        try await ask({ [store] in try store.resume(scope, on: $0) }) { answer in
            if case .done(let pauses) = answer { pauses } else { nil }
        }
    }

    /// Makes whoever waits for the server return at once; nothing is asked any more.
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

    /// Puts one question. `pauses`: what its answer says is paused now, if anything.
    private func ask<R: Sendable>(
        _ body: @Sendable @escaping (PostgresSession) throws -> R, _ pauses: (R) -> [StoredPause]?
    ) async throws -> R {
        try await turn.lock()
        defer { turn.unlock() }
        let answer = try await answer(body)
        if let pauses = pauses(answer), pauses != state.withLock({ $0.known }) {
            try await state.withLock { $0.tell }?(OperatorPauses(pauses.map(\.operatorPause)))
            state.withLock { $0.known = pauses }
        }
        return answer
    }

    private func answer<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        let (known, isAbandoned) = state.withLock { ($0.connection, $0.isAbandoned) }
        if isAbandoned { throw CancellationError() }
        if let known, !known.isBroken {
            do {
                return try await known.perform(body)
            } catch let error as PostgresError where error.code == .connection {
                // The server has been away since: every question may be put twice.
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
