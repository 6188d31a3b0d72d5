// Proves that the worker's metrics are there from the first scrape, and that a scrape shows one snapshot.

import Decode
import Kafka
import Pipeline
import Platform
import Records
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import sluice

private struct LogLines: LogSink {
    let kept = Shared<[String]>([])
    func write(_ line: [UInt8]) { kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
    var logger: Logger { Logger(label: "test", sink: self) }
    var lines: [String] { kept.current }
}

@Suite struct WorkerTelemetryTests {
    private static func lines(_ registry: MetricsRegistry) -> [Substring] {
        String(decoding: registry.render(), as: UTF8.self).split(separator: "\n")
    }

    @Test func everyFamilyIsThereBeforeThePipelineStarts() {
        let registry = MetricsRegistry()
        let telemetry = WorkerTelemetry(group: "g", mappings: [], routes: TopicRoutes([]), registry: registry, logger: .silent)
        let page = Self.lines(registry)
        for name in [
            "kafka_consumergroup_lag", "sluice_lag_seconds", "sluice_lag_eta_seconds", "sluice_end_offset",
            "sluice_applied_offset",
            "sluice_committed_offset", "sluice_partition_paused", "sluice_partition_stopped", "sluice_end_offset_age_seconds",
        ] {
            #expect(page.contains("# TYPE \(name) gauge"))
        }
        for reason in [
            "waiting_for_database", "no_credits", "paused_by_operator", "circuit_open", "broker_gone", "claiming",
            "partition_stopped", "open_transaction", "unknown",
        ] {
            #expect(page.contains("sluice_stalled{reason=\"\(reason)\"} 0"))
        }
        #expect(page.contains("sluice_drain_rate_events_per_second 0"))
        #expect(page.contains("sluice_circuit_state 0"))
        #expect(page.contains("sluice_dead_letter_rows 0"))
        #expect(telemetry.snapshot == nil)
        for name in ["reseeks", "gaps", "duplicates", "restarts", "fetch_wakeups"] {
            #expect(page.contains("# TYPE sluice_consumer_\(name)_total counter"))
            #expect(page.contains("sluice_consumer_\(name)_total 0"))
        }
    }

    @Test func eventsAreCountedByMapping() {
        let registry = MetricsRegistry()
        let telemetry = WorkerTelemetry(
            group: "g", mappings: ["orders", "items"], routes: TopicRoutes([["orders-topic"], ["^items-"]]), registry: registry,
            logger: .silent)
        #expect(Self.lines(registry).contains(#"sluice_mapping_events_total{mapping="items",outcome="applied"} 0"#))
        var counts = AppliedCounts()
        (counts.applied, counts.superseded, counts.deadLetters, counts.unchanged) = (5, 2, ["sql:unique": 1], 3)
        let work = PartitionBatches(
            source: TopicPartition("items-topic", 3), generation: 1, epoch: 1, expected: 0, batches: [])
        telemetry.observed(.applied(lane: 0, work: [work], counts: counts, seconds: 0.1))
        let page = Self.lines(registry)
        #expect(page.contains(#"sluice_unchanged_events_total{mapping="items"} 3"#))
        for (outcome, count) in [("applied", 5), ("superseded", 2), ("dead_lettered", 1)] {
            #expect(page.contains("sluice_mapping_events_total{mapping=\"items\",outcome=\"\(outcome)\"} \(count)"[...]))
            #expect(page.contains("sluice_mapping_events_total{mapping=\"orders\",outcome=\"\(outcome)\"} 0"[...]))
            #expect(page.contains("sluice_events_total{outcome=\"\(outcome)\"} \(count)"[...]))
        }
    }

    /// What no mapping of the route has decoded, and what became of it unseen, is the route's own.
    @Test func eventsOfARoutedTopicAreCountedByTheirMapping() {
        let registry = MetricsRegistry()
        let telemetry = WorkerTelemetry(
            group: "g", mappings: ["orders", "plain", "items"], routes: TopicRoutes([["t"], ["p"], ["t"]], routed: [2, 0]),
            registry: registry, logger: .silent)
        var (counts, items, orders) = (AppliedCounts(), AppliedCounts(), AppliedCounts())
        (items.applied, items.unchanged, items.deadLetters) = (3, 1, ["sql:unique": 1])
        (orders.applied, orders.superseded) = (1, 2)
        (counts.applied, counts.superseded, counts.skipped, counts.unchanged) = (4, 2, 5, 1)
        counts.deadLetters = ["sql:unique": 1, "decode:no_route": 2]
        counts.parts = [items, orders]
        let work = PartitionBatches(source: TopicPartition("t", 3), generation: 1, epoch: 1, expected: 0, batches: [])
        telemetry.observed(.applied(lane: 0, work: [work], counts: counts, seconds: 0.1))
        let page = Self.lines(registry)
        for (mapping, outcome, count) in [
            ("items", "applied", 3), ("items", "dead_lettered", 1), ("orders", "applied", 1), ("orders", "superseded", 2),
            ("route", "dead_lettered", 2), ("route", "skipped", 5), ("route", "applied", 0), ("plain", "applied", 0),
        ] {
            let line = "sluice_mapping_events_total{mapping=\"\(mapping)\",outcome=\"\(outcome)\"} \(count)"
            #expect(page.contains(line[...]), "the page lacks \(line)")
        }
        #expect(page.contains(#"sluice_events_total{outcome="dead_lettered"} 3"#))
        #expect(page.contains(#"sluice_unchanged_events_total{mapping="items"} 1"#))
    }

    @Test func theConsumersCountersAreShown() {
        let registry = MetricsRegistry()
        let telemetry = ConsumerTelemetry(registry)
        telemetry.watch {
            var statistics = KafkaConsumerStatistics()
            (statistics.reseeks, statistics.gaps, statistics.duplicates, statistics.wakeUps) = (1, 2, 3, 4)
            statistics.restarts = 5
            return statistics
        }
        let page = Self.lines(registry)
        for line in ["reseeks_total 1", "gaps_total 2", "duplicates_total 3", "fetch_wakeups_total 4", "restarts_total 5"] {
            #expect(page.contains("sluice_consumer_\(line)"))
        }
    }

    @Test func aScrapeTakesOneSnapshot() {
        let registry = MetricsRegistry()
        let taken = Mutex(0)
        let states = registry.sharedCollector { () -> PipelineSnapshot? in
            let number = taken.withLock { taken in
                taken += 1
                return taken
            }
            return pipelineState(applied: 5, end: 5 + 10 * Int64(number), stall: .circuitOpen)
        }
        let (pauses, resumes) = (PartitionCounts(), PartitionCounts())
        PipelineCollectors.register(on: states, group: "g", pauses: pauses, resumes: resumes, flaps: PartitionCounts())
        pauses.increment(TopicPartition("t", 3))
        let page = Self.lines(registry)
        #expect(taken.withLock { $0 } == 1)
        let labels = "topic=\"t\",partition=\"3\""
        for line in [
            "kafka_consumergroup_lag{consumergroup=\"g\",\(labels)} 10", "sluice_end_offset{\(labels)} 15",
            "sluice_applied_offset{\(labels)} 5", "sluice_lag_seconds{\(labels)} 12.5", "sluice_lag_eta_seconds +Inf",
            "sluice_end_offset_age_seconds{\(labels)} 0.5", "sluice_drain_rate_events_per_second 100",
            "sluice_arrival_rate_events_per_second 40", "sluice_stalled{reason=\"circuit_open\"} 1",
            "sluice_stalled{reason=\"unknown\"} 0", "sluice_partition_pauses_total{\(labels)} 1",
            "sluice_partition_resumes_total{\(labels)} 0",
        ] {
            #expect(page.contains { $0 == line }, "the page lacks \(line)")
        }
        #expect(Self.lines(registry).contains("kafka_consumergroup_lag{consumergroup=\"g\",\(labels)} 20"))
    }

    @Test func skippedRecordsAndKeysOfOtherRowsAreCounted() throws {
        let registry = MetricsRegistry()
        let log = LogLines()
        let telemetry = WorkerTelemetry(
            group: "g", mappings: ["m"], routes: TopicRoutes([["t"]]), registry: registry, logger: log.logger)
        let before = Self.lines(registry)
        #expect(before.contains("sluice_events_total{outcome=\"skipped\"} 0") && before.contains("sluice_key_mismatches_total 0"))
        var counts = AppliedCounts()
        (counts.applied, counts.skipped) = (3, 4)
        for _ in 0..<2 {
            var rows = ChangeRows(columnCount: 1)
            rows.keyMismatches = 2
            let batch = ChangeBatch(records: RecordBatch(source: TopicPartition("t", 3), generation: 1), rows: rows)
            let work = PartitionBatches(source: TopicPartition("t", 3), generation: 1, epoch: 1, expected: 0, batches: [batch])
            telemetry.observed(.applied(lane: 0, work: [work], counts: counts, seconds: 1))
        }
        let page = Self.lines(registry)
        #expect(page.contains("sluice_events_total{outcome=\"applied\"} 6"))
        #expect(page.contains(#"sluice_mapping_events_total{mapping="m",outcome="skipped"} 8"#))
        #expect(page.contains("sluice_events_total{outcome=\"skipped\"} 8") && page.contains("sluice_key_mismatches_total 4"))
        // One line a minute.
        #expect(log.lines.filter { $0.contains("Record keys name other rows") }.count == 1, "\(log.lines)")
    }

    @Test func unknownValuesHaveNoSeries() {
        let registry = MetricsRegistry()
        let states = registry.sharedCollector { () -> PipelineSnapshot? in
            pipelineState(end: nil, lagSeconds: nil, secondsToDrain: nil)
        }
        PipelineCollectors.register(
            on: states, group: "g", pauses: PartitionCounts(), resumes: PartitionCounts(), flaps: PartitionCounts())
        let page = Self.lines(registry)
        for name in ["kafka_consumergroup_lag", "sluice_end_offset", "sluice_lag_seconds", "sluice_lag_eta_seconds"] {
            #expect(!page.contains { $0.hasPrefix("\(name) ") || $0.hasPrefix("\(name){") })
        }
    }

    @Test func pausesAreRemovedWithTheirAssignment() {
        let telemetry = WorkerTelemetry(
            group: "g", mappings: [], routes: TopicRoutes([]), registry: MetricsRegistry(), logger: .silent)
        let source = TopicPartition("t", 3)
        telemetry.observed(.paused(source))
        telemetry.observed(.resumed(source))
        #expect(telemetry.pauses[source] == 1 && telemetry.resumes[source] == 1)
        telemetry.observed(.rebalanced(assigned: [], revoked: [source], isLost: false))
        #expect(telemetry.pauses[source] == 0 && telemetry.resumes[source] == 0)
    }
}
