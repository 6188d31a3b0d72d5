// Owns the plan of the mapping's table: makes it, keeps it for the lanes.

import Apply
import Postgres
import Records
import Synchronization
import Telemetry

/// How the table is written, for all lanes, and for the claims, which must not succeed where it cannot be written.
final class TablePlan: Sendable {
    /// Settings of the lanes' writers.
    let configuration: ApplyConfiguration
    /// Counts the bad records of all lanes.
    let poison: PoisonGuard
    private let shape: TableShape
    private let logger: Logger
    private let plan = Mutex<WritePlan?>(nil)

    init(shape: TableShape, configuration: ApplyConfiguration, poison: PoisonLimits, logger: Logger) {
        self.shape = shape
        self.configuration = configuration
        self.poison = PoisonGuard(poison)
        self.logger = logger
    }

    /// The mapping's table, as the mapping names it.
    var table: String { shape.name }

    /// The plan; `nil` before the first claim.
    var current: WritePlan? { plan.withLock { $0 } }

    /// Makes the plan for a claim.
    /// - Throws: `ApplyError` where table and mapping do not fit, `PostgresError` where the server did not answer. The plan stays.
    func claimed(on lane: DatabaseLane) async throws {
        let known = current
        let fresh = try await lane.session { [shape] in try WritePlan.checked(shape, unlessChanged: known, on: $0) }
        if fresh === known { return }
        plan.withLock { $0 = fresh }
        log(fresh)
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

extension Logger {
    /// Writes what will surprise somebody about a table.
    func warn(of plan: WritePlan) {
        for warning in plan.warnings {
            self.warning("The table needs attention.", ["table": plan.shape.name, "message": warning])
        }
    }
}
