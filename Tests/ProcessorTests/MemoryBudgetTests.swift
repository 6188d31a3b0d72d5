// Proves that the split never exceeds the budget, gives full speed at the shipped size, and that too small a budget is refused.

import Backpressure
import Kafka
import Records
import Telemetry
import Testing

@testable import Pipeline
@testable import sluice

@Suite struct MemoryBudgetTests {
    private func settings(_ bytes: Int, lanes: Int = 3) -> SluiceSettings {
        var settings = SluiceSettings()
        settings.pipeline.memoryBudget = bytes
        settings.postgres.connections = lanes
        return settings
    }

    @Test func aRunningConsumerKeepsItsPrefetch() {
        let budget = MemoryBudget(total: 64 << 20, lanes: 3)
        let smaller = budget.resized(to: 32 << 20)
        #expect(smaller.prefetch == budget.prefetch)
        #expect(smaller.records == MemoryBudget(total: 32 << 20, lanes: 3).records)
        #expect(smaller.transaction == MemoryBudget(total: 32 << 20, lanes: 3).transaction)
        #expect(smaller.resized(to: 64 << 20).prefetch == budget.prefetch)
    }

    @Test(arguments: [16, 48, 64, 100, 128, 256, 4096], [1, 3, 16])
    func thePartsAreNeverMoreThanTheWhole(mebibytes: Int, lanes: Int) throws {
        let settings = settings(mebibytes << 20, lanes: lanes)
        let budget = settings.memoryBudget
        #expect(budget.prefetch + budget.records + budget.changes + budget.database == budget.total)
        let configuration = settings.pipelineConfiguration
        #expect(configuration.budget.bytes == budget.records)
        #expect(configuration.batch.bytes <= settings.apply.batchBytes)
        #expect(configuration.batch.bytes * Footprint.copiesInTransaction * lanes <= budget.database)
    }

    @Test func theShippedBudgetIsEnoughForFullSpeed() throws {
        let settings = settings(64 << 20)
        let configuration = settings.pipelineConfiguration
        let charge = 230 + Footprint(columns: 3).perRecord
        #expect(configuration.budget.bytes >= 3 * 3 * 5_000 * charge)
        #expect(configuration.budget.records == 45_000)
        #expect(configuration.batch.bytes >= 5_000 * charge)
        let eight = try settings.memoryBudget.prefetchShare(partitions: 8, properties: [:])
        #expect(eight.queuedRecords >= 2_000)
        #expect(eight.fetchBytes == 128 << 10)
        // The embedded broker's partitions.
        let embedded = try settings.memoryBudget.prefetchShare(
            partitions: EmbeddedBroker.defaultPartitions, properties: [:])
        #expect(embedded.fetchBytes < eight.fetchBytes)
    }

    @Test(arguments: [1, 8, 64, 100, 128, 500, 1000], [1, 3, 64])
    func tooSmallABudgetIsRefusedWithTheLeastThatWouldDo(partitions: Int, lanes: Int) throws {
        let least = MemoryBudget.least(partitions: partitions, lanes: lanes, properties: [:])
        #expect(least % (1 << 20) == 0)
        _ = try MemoryBudget(total: least, lanes: lanes).prefetchShare(partitions: partitions, properties: [:])
        let less = MemoryBudget(total: least - (1 << 20), lanes: lanes)
        let error = try #require(throws: CommandError.self) {
            try less.prefetchShare(partitions: partitions, properties: [:])
        }
        for part in ["pipeline.memory_budget_bytes", "\(less.total)", "\(partitions) partitions", "\(lanes) lanes", "\(least)"] {
            #expect(error.description.contains(part), "\(error)")
        }
    }

    @Test func aFetchOfTheUsersOwnIsCounted() throws {
        let budget = MemoryBudget(total: 64 << 20, lanes: 3)
        let own = ["max.partition.fetch.bytes": "262144"]
        let share = try budget.prefetchShare(partitions: 8, properties: own)
        let standard = try budget.prefetchShare(partitions: 8, properties: [:])
        #expect(share.fetchBytes == 256 << 10)
        #expect(share.queuedRecords < standard.queuedRecords)
        let error = try #require(throws: CommandError.self) { try budget.prefetchShare(partitions: 64, properties: own) }
        #expect(error.description.contains("kafka.properties"))
        let least = MemoryBudget.least(partitions: 64, lanes: 3, properties: own)
        _ = try MemoryBudget(total: least, lanes: 3).prefetchShare(partitions: 64, properties: own)
    }

    @Test func theGaugesAreThereFromTheStartAndFollowTheWorker() {
        let registry = MetricsRegistry()
        let telemetry = MemoryTelemetry(registry)
        func page() -> [String] { String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").map(String.init) }
        for share in ["prefetch", "records", "changes", "database"] {
            for name in ["sluice_memory_share_bytes", "sluice_memory_share_used_bytes"] {
                #expect(page().contains(#"\#(name){share="\#(share)"} 0"#))
            }
        }
        #expect(page().contains("sluice_memory_budget_bytes 0"))
        let budget = MemoryBudget(total: 64 << 20, lanes: 3)
        telemetry.watch(budget) {
            (
                prefetched: 1_000,
                pipeline: PipelineMemory(
                    outstanding: Credits(records: 10, bytes: 500), total: Credits(records: 1, bytes: 1), bytesInTransactions: 20)
            )
        }
        #expect(page().contains("sluice_memory_budget_bytes \(64 << 20)"))
        #expect(page().contains("sluice_memory_used_bytes \(1_000 + 500 + 500 + 20 * Footprint.copiesInTransaction)"))
        #expect(page().contains(#"sluice_memory_share_bytes{share="prefetch"} \#(24 << 20)"#))
        #expect(page().contains(#"sluice_memory_share_used_bytes{share="changes"} 500"#))
    }
}
