// Turns what happens in the pipeline into metrics and log lines: the one place where their names are.

import Apply
import Backpressure
import Decode
import Pipeline
import Records
import Synchronization
import Telemetry

/// Watches the pipeline. Everything is counted once, by batch.
final class WorkerTelemetry: PipelineObserver {
    private let logger: Logger
    private let rebalances: Counter
    private let applied: Counter
    private let superseded: Counter
    private let deadLettered: Counter
    private let deadLetters: Family<Counter>
    private let retries: Counter
    private let fences: Counter
    private let batchRows: Histogram
    private let batchSeconds: Histogram
    private let latency: Histogram
    private let pauses = PartitionCounts()
    private let resumes = PartitionCounts()
    private let flaps = PartitionCounts()
    /// The memory budget's gauges.
    let memory: MemoryTelemetry
    private let pipeline = Mutex<EventPipeline?>(nil)
    private let group: String

    init(group: String, registry: MetricsRegistry, logger: Logger) {
        self.group = group
        self.logger = logger
        rebalances = registry.counter(
            "sluice_rebalances_total", help: "Times the group gave or took partitions.")
        let events = registry.counterFamily(
            "sluice_events_total", help: "Records whose offset is durable, by what became of them.", labels: ["outcome"])
        applied = events.child("applied")
        superseded = events.child("superseded")
        deadLettered = events.child("dead_lettered")
        deadLetters = registry.counterFamily(
            "sluice_dead_letters_total", help: "Records written to sluice_dead_letters, by reason.", labels: ["reason"])
        for reason in DecodeReason.allCases { deadLetters.child(DeadLetterReason.decode(reason.rawValue)) }
        for reason in DeadLetterReason.allSQL { deadLetters.child(reason) }
        retries = registry.counter("sluice_apply_retries_total", help: "Transactions that had to be tried again.")
        fences = registry.counter("sluice_fenced_total", help: "Partitions that turned out to belong to another worker.")
        batchRows = registry.histogram(
            "sluice_batch_rows", help: "Records a durable transaction carried.",
            buckets: [1, 10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000])
        batchSeconds = registry.histogram(
            "sluice_batch_apply_seconds", help: "Time a durable transaction took, from encoding to commit.",
            buckets: Histogram.secondsBounds)
        latency = registry.histogram(
            "sluice_event_latency_seconds", help: "Time from the record's timestamp to its commit in PostgreSQL.",
            buckets: LatencyBuckets.seconds)
        memory = MemoryTelemetry(registry)
        registerCollectors(registry)
    }

    /// The pipeline whose state is shown at each scrape.
    func watch(_ pipeline: EventPipeline) { self.pipeline.withLock { $0 = pipeline } }

    /// The pipeline's state now; `nil` before there is one.
    var snapshot: PipelineSnapshot? { pipeline.withLock { $0 }?.snapshot() }

    func observed(_ event: PipelineEvent) {
        switch event {
        case .applied(_, let work, let counts, let seconds):
            count(work, counts, seconds)
        case .rebalanced(let assigned, let revoked, let isLost):
            rebalances.increment()
            logger.info(
                "The group has moved partitions.",
                ["assigned": assigned.count, "revoked": revoked.count, "lost": isLost])
        case .claimed(let claims):
            logger.info("Partitions are ours; reading begins.", ["partitions": claims.count])
            for claim in claims {
                logger.debug(
                    "A partition is ours.",
                    ["partition": "\(claim.source)", "epoch": claim.epoch, "offset": claim.offset, "lane": claim.lane])
            }
        case .claimFailed(let reason, let wait):
            logger.warning("Partitions could not be claimed.", ["error": reason, "retry_in_ms": wait / 1_000_000])
        case .stopped(let partition, let reason):
            logger.error("A partition has stopped.", ["partition": "\(partition)", "reason": reason])
        case .fenced(let partition):
            fences.increment()
            logger.warning(
                "A partition belongs to another worker; it is claimed again if the group says it is ours.",
                ["partition": "\(partition)"])
        case .positionLost(let partition, let reason):
            logger.error(
                "The log does not hold the position of a partition any more.", ["partition": "\(partition)", "error": reason])
        case .drained(let isComplete, let nanoseconds):
            logger.info("Work under way has ended.", ["complete": isComplete, "ms": nanoseconds / 1_000_000])
        case .retrying(let lane, let reason, let wait):
            retries.increment()
            logger.warning("A transaction is tried again.", ["lane": lane, "error": reason, "retry_in_ms": wait / 1_000_000])
        case .circuit(let state):
            logger.warning("The circuit to PostgreSQL has changed.", ["state": "\(state)"])
        case .paused(let partition):
            pauses.count(partition)
            logger.info("A partition is paused: it has long been without credits.", ["partition": "\(partition)"])
        case .resumed(let partition):
            resumes.count(partition)
            logger.info("A partition is resumed.", ["partition": "\(partition)"])
        case .flapped(let partition):
            flaps.count(partition)
        case .sourceNotice(let sentence):
            logger.warning("Kafka reports trouble.", ["message": sentence])
        }
    }

    private func count(_ work: [PartitionWork], _ counts: AppliedCounts, _ seconds: Double) {
        applied.increment(by: counts.applied)
        superseded.increment(by: counts.superseded)
        for (reason, number) in counts.deadLetters {
            deadLetters.child(reason).increment(by: number)
            deadLettered.increment(by: number)
        }
        var rows = 0
        var buckets = LatencyBuckets()
        let now = WallClock.milliseconds()
        for part in work {
            for batch in part.batches {
                rows += batch.records.count
                buckets.add(batch.records, now: now)
            }
        }
        batchRows.observe(Double(rows))
        batchSeconds.observe(seconds)
        buckets.flush(into: latency)
    }

    private func registerCollectors(_ registry: MetricsRegistry) {
        let group = self.group
        collect(
            registry, "kafka_consumergroup_lag", "Records between the applied offset and the partition's end."
        ) { sink, position in
            guard let end = position.end else { return }
            sink.sample(
                Int(Swift.max(0, end - position.applied)),
                [
                    "consumergroup": group, "topic": position.source.topic, "partition": "\(position.source.partition)",
                ])
        }
        collect(registry, "sluice_end_offset", "One past the last record of the partition.") { sink, position in
            if let end = position.end { sink.sample(Int(end), Self.labels(position.source)) }
        }
        collect(registry, "sluice_applied_offset", "Next offset to apply: everything before it is in PostgreSQL.") {
            $0.sample(Int($1.applied), Self.labels($1.source))
        }
        collect(registry, "sluice_committed_offset", "Offset last mirrored to Kafka's consumer group.") { sink, position in
            if let mirrored = position.mirrored { sink.sample(Int(mirrored), Self.labels(position.source)) }
        }
        registry.collector(
            "sluice_lag_seconds", type: .gauge,
            help: "Age of the oldest record that is read and not yet applied; 0 where the partition is caught up."
        ) { [weak self] sink in
            guard let snapshot = self?.snapshot else { return }
            for position in snapshot.positions {
                if let oldest = position.oldestTimestamp {
                    sink.sample(Double(Swift.max(0, snapshot.wallMilliseconds - oldest)) / 1000, Self.labels(position.source))
                } else if let end = position.end, position.applied >= end {
                    sink.sample(0.0, Self.labels(position.source))
                }
            }
        }
        registry.collector("sluice_partition_paused", type: .gauge, help: "1 while the partition's second brake is pulled.") {
            [weak self] sink in
            guard let snapshot = self?.snapshot else { return }
            for position in snapshot.positions {
                sink.sample(snapshot.paused.contains(position.source) ? 1 : 0, Self.labels(position.source))
            }
        }
        for (name, counts, help) in [
            ("sluice_partition_pauses_total", pauses, "Times the partition was paused."),
            ("sluice_partition_resumes_total", resumes, "Times the partition was resumed."),
            ("sluice_partition_flaps_total", flaps, "Pauses that came soon after a resume; each makes the next one wait longer."),
        ] {
            registry.collector(name, type: .counter, help: help) { [weak self] sink in
                for position in self?.snapshot?.positions ?? [] {
                    sink.sample(counts[position.source], Self.labels(position.source))
                }
            }
        }
        registry.collector("sluice_partition_stopped", type: .gauge, help: "1 for a partition that is out of service.") {
            [weak self] sink in
            for stopped in self?.snapshot?.stopped ?? [] { sink.sample(1, Self.labels(stopped.source)) }
        }
        registry.collector("sluice_circuit_state", type: .gauge, help: "Circuit to PostgreSQL: 0 closed, 1 half-open, 2 open.") {
            [weak self] sink in sink.sample(self?.snapshot?.circuit.rawValue ?? 0)
        }
        registry.collector(
            "sluice_stage_credits", type: .gauge, help: "Free credits of the reader, over all partitions; negative: a debt."
        ) { [weak self] sink in
            let free = self?.snapshot?.freeCredits ?? .zero
            sink.sample(free.records, ["stage": "poll", "unit": "records"])
            sink.sample(free.bytes, ["stage": "poll", "unit": "bytes"])
        }
        registry.collector("sluice_stage_queue", type: .gauge, help: "What waits before a stage.") { [weak self] sink in
            let snapshot = self?.snapshot
            let apply = snapshot?.laneQueues.reduce(Credits.zero, +) ?? .zero
            for (stage, level) in [("decode", snapshot?.decodeQueue ?? .zero), ("apply", apply)] {
                sink.sample(level.records, ["stage": stage, "unit": "records"])
                sink.sample(level.bytes, ["stage": stage, "unit": "bytes"])
            }
        }
    }

    private func collect(
        _ registry: MetricsRegistry, _ name: String, _ help: String,
        _ body: @escaping @Sendable (inout SampleSink, OffsetLedgerMachine.Position) -> Void
    ) {
        registry.collector(name, type: .gauge, help: help) { [weak self] sink in
            for position in self?.snapshot?.positions ?? [] { body(&sink, position) }
        }
    }

    private static func labels(_ source: TopicPartition) -> KeyValuePairs<String, String> {
        ["topic": source.topic, "partition": "\(source.partition)"]
    }
}

/// Counters by partition; they are shown while the partition is ours.
private final class PartitionCounts: Sendable {
    private let counts = Mutex<[TopicPartition: Int]>([:])
    func count(_ source: TopicPartition) { counts.withLock { $0[source, default: 0] += 1 } }
    subscript(source: TopicPartition) -> Int { counts.withLock { $0[source] ?? 0 } }
}
