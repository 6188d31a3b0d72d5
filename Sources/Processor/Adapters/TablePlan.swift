// Owns the plans of the mappings' tables: makes them, keeps them for the lanes, and makes them anew when a table has changed.

import Apply
import Backpressure
import Decode
import Postgres
import Records
import Synchronization
import Telemetry

/// What has a connection of its own to the database.
protocol SessionSource: Sendable {
    /// Runs `body` on the connection's thread, connecting first where there is no connection.
    func session<R: Sendable>(_ body: @Sendable @escaping (PostgresSession) throws -> R) async throws -> R
}

extension DatabaseLane: SessionSource {}
extension OperatorPauseSync: SessionSource {}

/// The plans of all mappings, and which topic is whose.
struct TablePlans: Sendable {
    /// One for each mapping.
    let all: [TablePlan]
    /// The plans of each mapping's table, and last, where there is a route, those of its tables, which are written together.
    let together: [[TablePlan]]
    /// Counts the records that the route has no mapping for.
    let unrouted: PoisonGuard
    private let routes: TopicRoutes

    /// - Parameters:
    ///   - routes: which of them is a topic's.
    ///   - poison: when a partition stops for records that the route has no mapping for.
    init(_ plans: [TablePlan], routes: TopicRoutes, poison: PoisonLimits = PoisonLimits()) {
        all = plans
        together = plans.map { [$0] } + (routes.routed.isEmpty ? [] : [routes.routed.map { plans[$0] }])
        unrouted = PoisonGuard(poison)
        self.routes = routes
    }

    /// The position in ``together`` of a partition's plans: each topic that is read belongs to one mapping, or is routed.
    func index(of source: TopicPartition) -> Int { all.count == 1 ? 0 : routes.mapping(of: source.topic) ?? 0 }

    /// Changes limits while transactions are under way.
    func reconfigure(poison: PoisonLimits) {
        for guardian in all.map(\.poison) + [unrouted] { guardian.update(poison) }
    }

    /// Starts the counts of a partition that was claimed again at 0, if it was stopped.
    func forget(_ source: TopicPartition) {
        for guardian in together[index(of: source)].map(\.poison) + [unrouted] { guardian.forget(source) }
    }

    /// Why it is not known which plan is a topic's; `nil`: it is.
    func fault(of topic: String) -> String? {
        // Brokers that match expressions themselves may know another syntax.
        if routes.mapping(of: topic) == nil { return "no mapping reads the topic \(topic)" }
        return routes.conflict(over: topic, names: all.map(\.configuration.mapping))
    }
}

/// How one table is written, for all lanes, and for the claims, which must not succeed where it cannot be written.
final class TablePlan: Sendable {
    /// For how long the server's word that it would execute the plan's statements is taken, at claims. Partitions that wait for a row are
    /// claimed several times a second.
    static let trust = Duration.seconds(10)

    private struct State {
        var plan: WritePlan?
        /// When the server was asked last; `nil`: it must be asked before the next claim, because privileges change without the schema.
        var checked: ContinuousClock.Instant?
    }

    /// Settings of the lanes' writers.
    let configuration: ApplyConfiguration
    /// Counts the bad records of all lanes.
    let poison: PoisonGuard
    private let shape: TableShape
    private let others: [OtherTable]
    private let logger: Logger
    private let state = Mutex(State())
    /// Held while the plan is made, so that lanes which notice a change together read the schema once.
    private let refreshing = AsyncMutex()

    /// - Parameter others: the tables of the other mappings.
    init(
        shape: TableShape, others: [OtherTable] = [], configuration: ApplyConfiguration, poison: PoisonLimits, logger: Logger
    ) {
        self.shape = shape
        self.others = others
        self.configuration = configuration
        self.poison = PoisonGuard(poison)
        self.logger = logger
    }

    /// The mapping's table, as the mapping names it.
    var table: String { shape.name }

    /// The plan; `nil` before the first claim.
    var current: WritePlan? { state.withLock { $0.plan } }

    /// A lane was refused what depends on no row.
    func mustBeChecked() { state.withLock { $0.checked = nil } }

    /// Makes the plan for a claim. The server is asked whether it would execute its statements, unless that was a moment ago.
    func claimed(on connection: some SessionSource) async throws {
        let isTrusted = state.withLock { state in state.checked.map { .now - $0 < Self.trust } ?? false }
        try await refresh(on: connection, isTrusted: isTrusted)
    }

    /// Makes the plan anew where the table is not as it says. A lane that writes by it learns by itself what else is refused.
    func changed(on lane: DatabaseLane) async throws { try await refresh(on: lane, isTrusted: true) }

    /// - Parameter isTrusted: a plan whose schema has not changed is kept without asking the server for its statements.
    /// - Throws: `ApplyError` where table and mapping do not fit, `PostgresError` where the server did not answer. The plan stays.
    private func refresh(on connection: some SessionSource, isTrusted: Bool) async throws {
        try await refreshing.lock()
        defer { refreshing.unlock() }
        let known = current
        do {
            let (fresh, isChecked) = try await connection.session { [shape, others] session in
                if isTrusted, let known, try known.isCurrent(on: session) { return (known, false) }
                return (try WritePlan.checked(shape, unlessChanged: known, apartFrom: others, on: session), true)
            }
            state.withLock { state in
                state.plan = fresh
                if isChecked { state.checked = .now }
            }
            if fresh !== known { log(fresh) }
        } catch {
            mustBeChecked()
            throw error
        }
    }

    private func log(_ plan: WritePlan) {
        logger.warn(of: plan)
        let reasons =
            plan.choice.reasons.isEmpty
            ? "no trigger or constraint sees an intermediate row" : plan.choice.reasons.joined(separator: "; ")
        if plan.choice.isForced {
            logger.warning(
                "The write strategy is the mapping's; triggers or constraints may see the difference.",
                ["table": shape.name, "strategy": plan.choice.strategy.rawValue, "reasons_against": reasons])
        } else {
            logger.info(
                "Write strategy chosen.",
                ["table": shape.name, "strategy": plan.choice.strategy.rawValue, "reasons": reasons])
        }
    }
}

extension Configuration {
    /// The tables of the mappings besides one that update and delete rows.
    func otherTables(than mapping: Mapping) -> [OtherTable] {
        mappings.filter { $0.name != mapping.name }.compactMap { OtherTable($0.table, mapping: $0.name) }
    }
}

extension Logger {
    /// Writes what will surprise somebody about a table.
    func warn(of plan: WritePlan) {
        for warning in plan.warnings {
            self.warning("The table needs attention.", ["table": plan.shape.name, "message": warning])
        }
    }
}
