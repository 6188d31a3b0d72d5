// Connects an apply stage to PostgreSQL: performs what a LaneMachine decides, on one connection and its thread.

import Apply
import Backpressure
import Decode
import Pipeline
import Platform
import Postgres
import Records
import SluiceTables
import Synchronization
import Telemetry

/// One lane. It connects at its first use, and again after the connection was lost.
///
/// Called by its apply stage, one transaction at a time, and by the claimer before and between transactions.
final class DatabaseLane: BatchApplier {
    private struct State: ~Copyable {
        var connection: PostgresConnection?
        /// While one connection takes the place of another: both.
        var replacing: [PostgresConnection] = []
        /// In monotonic nanoseconds: not replaced again before, because there was no other connection to be had.
        var replacedAgainAt: UInt64 = 0
    }

    /// What the lane knows of one mapping's table, or of the tables of the route.
    private final class Table: Sendable {
        struct State: ~Copyable {
            /// One for each plan, once it was used.
            var writers: [TableWriter?]
            var machine: LaneMachine
        }

        let plans: [TablePlan]
        let state: Mutex<State>

        init(_ plans: [TablePlan], constraintTimeout: Duration) {
            self.plans = plans
            state = Mutex(
                State(
                    writers: plans.map { _ in nil },
                    machine: LaneMachine(
                        outcomes: plans[0].configuration.outcomes, constraintTimeout: constraintTimeout.nanoseconds)))
        }
    }

    private let configuration: PostgresConfiguration
    private let plans: TablePlans
    /// In the order of ``TablePlans/together``.
    private let tables: [Table]
    /// Of the tables' writers, of which one at a time has a transaction.
    private let pool: ArrayPool
    private let group: String
    private let keptBufferBytes: Int
    private let logger: Logger
    private let state = Mutex(State())
    /// Held while connecting.
    private let connecting = AsyncMutex()
    /// The thread that all of the lane's connections, one after the other, and its stage run on.
    private let thread: ConnectionThread

    /// - Throws: where there is no thread for it.
    init(
        configuration: PostgresConfiguration, plans: TablePlans, apply: ApplyConfiguration, constraintTimeout: Duration,
        logger: Logger
    ) throws(PostgresError) {
        thread = try ConnectionThread(named: "lane")
        self.configuration = configuration
        self.plans = plans
        tables = plans.together.map { Table($0, constraintTimeout: constraintTimeout) }
        pool = ArrayPool(keptBytes: apply.keptBufferBytes)
        group = apply.group
        keptBufferBytes = apply.keptBufferBytes
        self.logger = logger
    }

    // MARK: For the claimer and the end

    /// Changes the limit while transactions are under way.
    func reconfigure(constraintTimeout: Duration) {
        for table in tables {
            table.state.withLock { $0.machine.constraintTimeoutChanged(to: constraintTimeout.nanoseconds) }
        }
    }

    /// Forgets offsets and counts of bad records of partitions that were claimed again.
    func reset(_ partitions: [TopicPartition]) {
        for partition in partitions {
            let table = tables[table(of: partition)]
            plans.forget(partition)
            table.state.withLock { $0.machine.claimed(partition) }
        }
    }

    /// Runs `body` on the connection's thread, connecting first where there is no connection.
    func session<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R {
        while true {
            let connection = try await connected()
            // Another one may have taken its place meanwhile: a claim is recorded with the backend that will write.
            let result = try await connection.perform { [self] session -> R? in
                guard state.withLock({ $0.connection === connection }) else { return nil }
                return try body(session)
            }
            if let result { return result }
        }
    }

    /// Ends a wait for the server at once.
    func abandon() {
        for connection in state.withLock({ state in [state.connection].compactMap { $0 } + state.replacing }) {
            connection.abandon()
        }
    }

    /// Waits for what is under way and disconnects.
    func close() async { await state.withLock { $0.connection }?.close() }

    private func connected() async throws -> PostgresConnection {
        if let connection = usableConnection { return connection }
        // A claim is recorded with the backend that will write, so the claimer and the stage must not both connect.
        try await connecting.lock()
        defer { connecting.unlock() }
        if let connection = usableConnection { return connection }
        let connection = try await PostgresConnection.connect(configuration, on: thread, log: logger.postgres)
        state.withLock { $0.connection = connection }
        return connection
    }

    /// Makes a new connection in place of one that libpq holds much memory for, with the same claims. It takes some milliseconds, after a
    /// transaction of megabytes. If there is none to be had, the lane keeps the one it has, and tries again after a minute at the soonest.
    private func replace(_ former: PostgresConnection) async {
        var quick = configuration
        quick.connectTimeout = min(quick.connectTimeout, .seconds(2))
        do {
            try await connecting.lock()
            defer { connecting.unlock() }
            // From here on claims wait for the new connection. One that has begun ends on the lane's thread before what follows.
            let isTaken = state.withLock { state in
                guard state.connection === former, !former.isBroken, MonotonicClock.nanoseconds() >= state.replacedAgainAt else {
                    return false
                }
                state.connection = nil
                state.replacing = [former]
                return true
            }
            guard isTaken else { return }
            var unused: PostgresConnection?
            do {
                let next = try await PostgresConnection.connect(quick, on: thread, log: logger.postgres)
                unused = next
                state.withLock { $0.replacing.append(next) }
                // Not what libpq says: a pooler invents that number.
                let backend = try await former.perform { try $0.execute("SELECT pg_backend_pid()").int32(0, 0) }
                try await next.perform { [group] in try OffsetStore(group: group).replaceBackend(backend, on: $0) }
                state.withLock { ($0.connection, $0.replacing) = (next, []) }
                unused = former
            } catch {
                logger.info("Connection was not replaced after a large transaction.", ["message": "\(error)"])
                state.withLock { state in
                    (state.connection, state.replacing) = (former, [])
                    state.replacedAgainAt = MonotonicClock.nanoseconds() + 60_000_000_000
                }
            }
            await unused?.close()
        } catch {
            // Cancelled: the lane ends.
        }
    }

    private var usableConnection: PostgresConnection? {
        state.withLock { $0.connection }.flatMap { $0.isBroken ? nil : $0 }
    }

    // MARK: For the apply stage

    var executor: (any TaskExecutor)? { thread }

    func table(of source: TopicPartition) -> Int { plans.index(of: source) }

    func apply(_ work: [PartitionBatches], attempt: Int) async throws -> ApplyResult {
        guard let first = work.first else { return .applied(AppliedCounts()) }
        let table = tables[table(of: first.source)]
        var action = table.state.withLock { $0.machine.batchesArrived(work, at: MonotonicClock.nanoseconds()) }
        while true {
            do {
                switch action {
                case .answer(let result):
                    if case .stopped(_, let reason) = result, reason.kind == .schema {
                        for plan in table.plans { plan.mustBeChecked() }
                    }
                    return result
                case .settle(let advances): action = try await settle(advances, table)
                case .inspect: action = try await inspect(table)
                case .write(let slices, let claims, let final, let checksVersion):
                    action = try await write(slices, claims, final, checksVersion: checksVersion, table)
                }
            } catch let error as PostgresError {
                action = table.state.withLock { $0.machine.failed(error) }
            } catch let error as ApplyError {
                action = table.state.withLock { $0.machine.failed(error) }
            }
        }
    }

    /// A writer for the plan of this moment.
    private func writer(of table: Table, _ index: Int = 0) -> TableWriter {
        let plan = table.plans[index]
        guard let current = plan.current else {
            preconditionFailure("batches reached a lane before their partitions were claimed")
        }
        return table.state.withLock { state in
            if let writer = state.writers[index], writer.plan === current { return writer }
            let writer = TableWriter(
                plan: current, configuration: plan.configuration, poison: plan.poison, pool: pool, after: state.writers[index])
            state.writers[index] = writer
            return writer
        }
    }

    private func settle(_ advances: [OffsetAdvance], _ table: Table) async throws -> LaneMachine.Action {
        let writer = writer(of: table)
        let states = try await session { try writer.settle(advances, on: $0) }
        logger.info(
            "Connection was lost during a transaction; its outcome was read from sluice_offsets.",
            ["partitions": states.map { "\($0.key) \($0.value.rawValue)" }.sorted().joined(separator: ", ")])
        return table.state.withLock { $0.machine.settled(states, at: MonotonicClock.nanoseconds()) }
    }

    private func inspect(_ table: Table) async throws -> LaneMachine.Action {
        logger.info(
            "The table has changed; its schema is read again.",
            ["table": table.plans.map(\.table).joined(separator: ", ")])
        // Of the last transaction; another lane may have made a new one since.
        let known = table.state.withLock { $0.writers.map { $0?.plan } }
        for plan in table.plans { try await plan.changed(on: self) }
        let isChanged = zip(table.plans, known).contains { $0.current !== $1 }
        return table.state.withLock { $0.machine.inspected(isChanged: isChanged, at: MonotonicClock.nanoseconds()) }
    }

    private func write(
        _ slices: [BatchSlice], _ claims: [PartitionClaim], _ final: FinalConstraints, checksVersion: Bool, _ table: Table
    ) async throws -> LaneMachine.Action {
        let writer = writer(of: table)
        guard table.plans.count > 1 else {
            let transaction = try writer.prepare(slices, claims: claims, checksVersion: checksVersion)
            defer { writer.recycle(transaction) }
            return try await execute(transaction.advances, table) { session, now in
                writer.execute(transaction, on: session, final: final, checksVersion: checksVersion, now: now)
            }
        }
        let route = RouteWriter(
            table.plans.indices.map { self.writer(of: table, $0) }, name: Mapping.routeName, poison: plans.unrouted)
        let transaction = try route.prepare(slices, claims: claims, checksVersion: checksVersion)
        defer { route.recycle(transaction) }
        return try await execute(transaction.advances, table) { session, now in
            route.execute(transaction, on: session, final: final, checksVersion: checksVersion, now: now)
        }
    }

    /// - Parameter body: executes a transaction that does this to the offsets, at a time in seconds.
    private func execute(
        _ advances: [OffsetAdvance], _ table: Table, _ body: @Sendable @escaping (PostgresSession, Double) -> ApplyOutcome
    ) async throws -> LaneMachine.Action {
        let connection = try await connected()
        let (outcome, largest) = try await connection.perform { session in
            (body(session, Double(MonotonicClock.nanoseconds()) / 1e9), session.largestCommand)
        }
        if largest > keptBufferBytes, !connection.isBroken { await replace(connection) }
        return table.state.withLock { $0.machine.executed(outcome, of: advances, at: MonotonicClock.nanoseconds()) }
    }
}

extension Logger {
    /// Writes PostgreSQL's notices and this program's lines about it.
    var postgres: LogHandler { handler("PostgreSQL reported a message.") }
}
