// Owns the metrics of the memory budget: its shares, and how much of each is used.

import Backpressure
import Pipeline
import Records
import Synchronization
import Telemetry

/// The metrics of the memory budget. Zero until the worker starts.
final class MemoryTelemetry: Sendable {
    /// The memory in use: bytes that librdkafka holds, and what the pipeline has spent.
    typealias Use = @Sendable () -> (prefetched: Int, pipeline: PipelineMemory)

    private static let shares = ["prefetch", "records", "changes", "database"]
    private static let none = [0, 0, 0, 0]

    private let source = Mutex<(budget: MemoryBudget, use: Use)?>(nil)

    init(_ registry: MetricsRegistry) {
        registry.collector(
            "sluice_memory_budget_bytes", type: .gauge, help: "Memory budget of all data between Kafka and PostgreSQL."
        ) { [weak self] sink in sink.sample(self?.budget.reduce(0, +) ?? 0) }
        registry.collector(
            "sluice_memory_used_bytes", type: .gauge,
            help: "Used part of the budget; it exceeds the budget while a record larger than the free part is in flight."
        ) { [weak self] sink in sink.sample(self?.used.reduce(0, +) ?? 0) }
        registry.collector(
            "sluice_memory_share_bytes", type: .gauge,
            help:
                "Shares of the budget: librdkafka's prefetch, records in flight, the changes they are decoded to (reserved when they are "
                + "read), and transactions in PostgreSQL."
        ) { [weak self] sink in
            for (name, bytes) in zip(Self.shares, self?.budget ?? Self.none) { sink.sample(bytes, ["share": name]) }
        }
        registry.collector("sluice_memory_share_used_bytes", type: .gauge, help: "Used part of each share of the budget.") {
            [weak self] sink in
            for (name, bytes) in zip(Self.shares, self?.used ?? Self.none) { sink.sample(bytes, ["share": name]) }
        }
    }

    /// Sets the budget in force, and the source of its use.
    func watch(_ budget: MemoryBudget, _ use: @escaping Use) { source.withLock { $0 = (budget, use) } }

    /// Applies another budget.
    func update(_ total: Int) {
        source.withLock { if let current = $0 { $0 = (current.budget.resized(to: total), current.use) } }
    }

    /// Bytes of each share, in the order of ``shares``.
    private var budget: [Int] {
        guard let budget = source.withLock({ $0?.budget }) else { return Self.none }
        return [budget.prefetch, budget.records, budget.changes, budget.database]
    }

    private var used: [Int] {
        guard let (prefetched, pipeline) = source.withLock({ $0?.use })?() else { return Self.none }
        let charged = pipeline.outstanding.bytes
        return [prefetched, charged, charged, pipeline.bytesInTransactions * Footprint.copiesInTransaction]
    }
}
