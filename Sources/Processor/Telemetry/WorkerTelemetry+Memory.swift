// Shows the memory budget: how it is split, and how much of each part is used.

import Backpressure
import Pipeline
import Records
import Synchronization
import Telemetry

/// The gauges of the memory budget. Zero until there is a worker.
final class MemoryTelemetry: Sendable {
    /// What is used: bytes librdkafka holds, and what the pipeline's credits say.
    typealias Use = @Sendable () -> (prefetched: Int, pipeline: PipelineMemory)

    private struct Shares {
        var prefetch = 0
        var records = 0
        var changes = 0
        var database = 0
        var all: [(name: String, bytes: Int)] {
            [("prefetch", prefetch), ("records", records), ("changes", changes), ("database", database)]
        }
        var sum: Int { prefetch + records + changes + database }
    }

    private let watched = Mutex<(budget: MemoryBudget, use: Use)?>(nil)

    init(_ registry: MetricsRegistry) {
        registry.collector(
            "sluice_memory_budget_bytes", type: .gauge, help: "Memory for everything under way between Kafka and PostgreSQL."
        ) { [weak self] sink in sink.sample(self?.budget.sum ?? 0) }
        registry.collector(
            "sluice_memory_used_bytes", type: .gauge,
            help: "How much of the budget is used; more than all of it while a record larger than what was free passes."
        ) { [weak self] sink in sink.sample(self?.used.sum ?? 0) }
        registry.collector(
            "sluice_memory_share_bytes", type: .gauge,
            help:
                "The budget's parts and their use: librdkafka's prefetch, records under way, what they are decoded to (reserved when "
                + "they are read), and the transactions in the database."
        ) { [weak self] sink in
            for (kind, shares) in [("budget", self?.budget), ("used", self?.used)] {
                for (name, bytes) in (shares ?? Shares()).all { sink.sample(bytes, ["share": name, "kind": kind]) }
            }
        }
    }

    /// The budget that is in force, and how much of it is used.
    func watch(_ budget: MemoryBudget, _ use: @escaping Use) { watched.withLock { $0 = (budget, use) } }

    /// Another budget is in force.
    func update(_ total: Int) {
        watched.withLock { if let watched = $0 { $0 = (watched.budget.resized(to: total), watched.use) } }
    }

    private var budget: Shares {
        guard let budget = watched.withLock({ $0?.budget }) else { return Shares() }
        return Shares(
            prefetch: budget.prefetch, records: budget.records, changes: budget.changes, database: budget.database)
    }

    private var used: Shares {
        guard let (prefetched, pipeline) = watched.withLock({ $0?.use })?() else { return Shares() }
        let charged = pipeline.outstanding.bytes
        return Shares(
            prefetch: prefetched, records: charged, changes: charged,
            database: pipeline.bytesInTransactions * Footprint.copiesInTransaction)
    }
}
