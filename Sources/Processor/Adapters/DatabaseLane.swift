// Puts one connection and its writer behind the pipeline's port: one transaction at a time, unknown outcomes settled before it answers.

import Apply
import Backpressure
import Pipeline
import Postgres
import Records
import Synchronization
import Telemetry

/// One lane into the database. It connects when it must, and again when the connection is lost.
///
/// Called by its apply stage, one transaction at a time, and by the claimer before and between transactions.
final class DatabaseLane: BatchApplier {
    private struct State {
        var connection: PostgresConnection?
        var writer: TableWriter?
        /// What is durable beyond what the stage knows: parts of a transaction that had to be split or settled.
        var durable: [TopicPartition: (generation: UInt64, next: Int64)] = [:]
        /// What parts of the present work have become, until the whole of it is durable.
        var counts = AppliedCounts()
        /// A transaction whose answer was lost and whose fate is not known yet.
        var unsettled: PreparedTransaction?
        /// Since when the present work waits for a parent row, monotonic nanoseconds.
        var waitingForParentSince: UInt64?
    }

    private let configuration: PostgresConfiguration
    private let foreignKeyTimeout: Atomic<UInt64>
    private let outcomes: OutcomeTable
    private let logger: Logger
    private let state = Mutex(State())
    private let turn = AsyncMutex()
    /// The thread all of the lane's connections live on, one after the other, and its stage with them.
    private let thread: ConnectionThread

    /// - Throws: where there is no thread for it.
    init(
        configuration: PostgresConfiguration, foreignKeyTimeout: Duration, outcomes: OutcomeTable, logger: Logger
    ) throws(PostgresError) {
        thread = try ConnectionThread(named: "lane")
        self.configuration = configuration
        self.foreignKeyTimeout = Atomic(foreignKeyTimeout.nanoseconds)
        self.outcomes = outcomes
        self.logger = logger
    }

    // MARK: For the claimer and the end

    /// How the table is written from now on.
    func use(_ plan: WritePlan, _ configuration: ApplyConfiguration) {
        state.withLock { $0.writer = TableWriter(plan: plan, configuration: configuration) }
    }

    /// Limits were changed while transactions are under way. What was counted stays counted.
    func reconfigure(foreignKeyTimeout: Duration, poison: PoisonLimits) {
        self.foreignKeyTimeout.store(foreignKeyTimeout.nanoseconds, ordering: .relaxed)
        state.withLock { $0.writer }?.updatePoisonLimits(poison)
    }

    /// Partitions were claimed anew: earlier counts of bad records are forgotten.
    func claimed(_ partitions: [TopicPartition]) {
        state.withLock { state in
            for partition in partitions {
                state.writer?.resetPoisonCount(of: partition)
                state.durable[partition] = nil
            }
        }
    }

    /// Runs `body` on the connection's thread, connecting first where there is no connection.
    func session<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        try await connected().perform(body)
    }

    /// Makes whatever waits for the server return at once.
    func abandon() { state.withLock { $0.connection }?.abandon() }

    /// Waits for what is under way and disconnects.
    func close() async { await state.withLock { $0.connection }?.close() }

    private func connected() async throws -> PostgresConnection {
        if let connection = state.withLock({ $0.connection }), !connection.isBroken { return connection }
        // One at a time: a claim must be recorded with the backend that will write, so the claimer and the stage must not both connect.
        try await turn.lock()
        let result: Result<PostgresConnection, any Error>
        do {
            result = .success(try await connect())
        } catch {
            result = .failure(error)
        }
        turn.unlock()
        return try result.get()
    }

    private func connect() async throws -> PostgresConnection {
        if let connection = state.withLock({ $0.connection }), !connection.isBroken { return connection }
        let connection = try await PostgresConnection.connect(configuration, on: thread, log: logger.postgres)
        state.withLock { $0.connection = connection }
        return connection
    }

    // MARK: For the apply stage

    var executor: (any TaskExecutor)? { thread }

    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult {
        // Other work than last time, which may have been dropped while it waited: nobody has waited for its parents yet.
        if attempt == 0 { state.withLock { $0.waitingForParentSince = nil } }
        do {
            if let result = try await settle(work) { return result }
            let slices = remaining(work)
            let result = slices.isEmpty ? nil : try await write(slices, of: work)
            if let result { return result }
            return .applied(
                state.withLock { state in
                    defer {
                        state.counts = AppliedCounts()
                        state.waitingForParentSince = nil
                    }
                    return state.counts
                })
        } catch let error as PostgresError {
            return failed(error, work)
        } catch let error as ApplyError {
            return .stopped(work.map(\.source), reason: error.description)
        }
    }

    /// Writes slices in one transaction, or in several where it is too large. `nil`: all durable.
    private func write(_ slices: [BatchSlice], of work: [PartitionBatches]) async throws -> ApplyResult? {
        guard let writer = state.withLock({ $0.writer }) else {
            preconditionFailure("work reached a lane before its partitions were claimed")
        }
        let transaction = try writer.prepare(slices, claims: claims(work))
        let connection = try await connected()
        let isFinal = parentIsLate
        let outcome: ApplyOutcome
        do {
            outcome = try await connection.perform { session in
                writer.execute(
                    transaction, on: session, isFinalForeignKeyAttempt: isFinal,
                    now: Double(MonotonicClock.nanoseconds()) / 1e9)
            }
        } catch let error as PostgresError {
            // The body did not run: nothing was sent.
            writer.recycle(transaction)
            throw error
        }
        if case .lost(let error) = outcome {
            state.withLock { $0.unsettled = transaction }
            return failed(error, work)
        }
        writer.recycle(transaction)
        switch outcome {
        case .applied(let report):
            advance(slices, work, report)
            return nil
        case .fenced(let partitions):
            return .fenced(partitions)
        case .retry(.foreignKey, let error):
            if startOrContinueWaitingForParent() { return try await write(slices, of: work) }
            return .retry(reason: "a parent row is missing: \(error)", isOutage: false)
        case .retry(let reason, let error):
            return .retry(reason: "\(error)", isOutage: reason == .unavailable)
        case .retryHalved(let error):
            return try await writeHalved(slices, of: work, error)
        case .stopped(let partitions, let message):
            return .stopped(partitions, reason: message)
        case .lost:
            preconditionFailure("answered above")
        }
    }

    /// Several batches go back to the stage, which learns from it to make transactions smaller; a single one is cut here.
    private func writeHalved(
        _ slices: [BatchSlice], of work: [PartitionBatches], _ error: PostgresError
    ) async throws -> ApplyResult? {
        if work.reduce(0, { $0 + $1.batches.count }) > 1 { return .tooLarge(reason: "\(error)") }
        guard let (first, second) = BatchSlice.halve(slices) else { return .retry(reason: "\(error)", isOutage: false) }
        if let result = try await write(first, of: work) { return result }
        return try await write(second, of: work)
    }

    /// Finds out what became of a transaction whose answer was lost. `nil`: go on with what remains.
    private func settle(_ work: [PartitionBatches]) async throws -> ApplyResult? {
        guard let (transaction, writer) = state.withLock({ state in state.unsettled.map { ($0, state.writer!) } }) else {
            return nil
        }
        // Partitions that were claimed again since are no concern any more: the claim has seen what the transaction left.
        let advances = transaction.advances.filter { advance in
            work.contains { $0.source == advance.source && $0.epoch == advance.epoch }
        }
        guard !advances.isEmpty else {
            state.withLock { $0.unsettled = nil }
            writer.recycle(transaction)
            return nil
        }
        let sources = Set(advances.map(\.source))
        let states = try await session { try writer.settle(transaction, of: sources, on: $0) }
        state.withLock { $0.unsettled = nil }
        logger.info(
            "A transaction whose answer was lost has been settled.",
            ["partitions": states.map { "\($0.key) \($0.value.rawValue)" }.sorted().joined(separator: ", ")])
        for advance in advances where states[advance.source] == .committed {
            guard let part = work.first(where: { $0.source == advance.source }) else { continue }
            let slices = transaction.slices.filter { $0.source == advance.source }
            let events = slices.reduce(0) { $0 + $1.records.count }
            state.withLock { state in
                state.durable[part.source] = (part.generation, advance.next)
                state.counts.applied += events
            }
        }
        writer.recycle(transaction)
        let fenced = advances.map(\.source).filter { states[$0] == .fenced }
        return fenced.isEmpty ? nil : .fenced(fenced)
    }

    private func advance(_ slices: [BatchSlice], _ work: [PartitionBatches], _ report: ApplyReport) {
        state.withLock { state in
            for slice in slices {
                guard let next = slice.nextOffset, let part = work.first(where: { $0.source == slice.source }) else { continue }
                state.durable[slice.source] = (part.generation, next)
            }
            let dead = report.deadLetters.values.reduce(0, +)
            state.counts.superseded += report.superseded
            state.counts.applied += report.records - dead - report.superseded
            state.counts.deadLetters.merge(report.deadLetters, uniquingKeysWith: +)
        }
    }

    /// What of the work is not durable yet.
    private func remaining(_ work: [PartitionBatches]) -> [BatchSlice] {
        work.flatMap { part in
            let next = position(of: part)
            return part.batches.compactMap { batch -> BatchSlice? in
                let records = batch.records.records
                guard let first = records.firstIndex(where: { $0.offset >= next }) else { return nil }
                return BatchSlice(batch, records: first..<records.count)
            }
        }
    }

    private func claims(_ work: [PartitionBatches]) -> [PartitionClaim] {
        work.map { PartitionClaim(source: $0.source, epoch: $0.epoch, nextOffset: position(of: $0)) }
    }

    /// The offset the database has for a partition: what the stage knows, or what became durable since.
    private func position(of part: PartitionBatches) -> Int64 {
        let durable = state.withLock { $0.durable[part.source] }
        guard let durable, durable.generation == part.generation else { return part.expected }
        return Swift.max(part.expected, durable.next)
    }

    private var parentIsLate: Bool {
        guard let since = state.withLock({ $0.waitingForParentSince }) else { return false }
        return MonotonicClock.nanoseconds() - since >= foreignKeyTimeout.load(ordering: .relaxed)
    }

    /// Notes that a parent is missing. Answers whether its time is up already.
    private func startOrContinueWaitingForParent() -> Bool {
        state.withLock { state in
            if state.waitingForParentSince == nil { state.waitingForParentSince = MonotonicClock.nanoseconds() }
        }
        return parentIsLate
    }

    private func failed(_ error: PostgresError, _ work: [PartitionBatches]) -> ApplyResult {
        if let sqlState = error.sqlState, outcomes.outcome(of: sqlState) == .stop {
            return .stopped(work.map(\.source), reason: "PostgreSQL: \(error)")
        }
        return .retry(reason: "PostgreSQL: \(error)", isOutage: true)
    }
}

extension Logger {
    /// Takes what the Postgres room says.
    var postgres: PostgresLog {
        { level, sentence in
            switch level {
            case .debug: debug("PostgreSQL said something.", ["message": sentence])
            case .info: info("PostgreSQL said something.", ["message": sentence])
            case .warning: warning("PostgreSQL said something.", ["message": sentence])
            case .error: error("PostgreSQL said something.", ["message": sentence])
            }
        }
    }
}
