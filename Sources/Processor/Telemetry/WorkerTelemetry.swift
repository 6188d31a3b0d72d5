// Turns events of the pipeline into metrics and log lines.

import Apply
import Backpressure
import Decode
import Pipeline
import Platform
import Records
import SluiceTables
import Synchronization
import Telemetry

/// The pipeline's observer. It counts by batch, not by record.
final class WorkerTelemetry: PipelineObserver {
    private let logger: Logger
    private let rebalances: Counter
    private let applied: Counter
    private let superseded: Counter
    private let deadLettered: Counter
    private let ofMappings: [MappingCounters]
    private let routes: TopicRoutes
    private let skipped: Counter
    private let keyMismatches: KeyMismatchTelemetry
    private let deadLetters: CounterFamily
    private let retries: Counter
    private let fences: Counter
    private let batchRows: Histogram
    private let batchSeconds: Histogram
    private let latency: Histogram
    let pauses = PartitionCounts()
    let resumes = PartitionCounts()
    let flaps = PartitionCounts()
    /// How many dead letters there are, set by the task that counts them.
    let deadLetterRows: Gauge
    /// The metrics of the memory budget.
    let memory: MemoryTelemetry
    /// The metrics of the consumer.
    let consumer: ConsumerTelemetry
    private let pipeline = Mutex<EventPipeline?>(nil)

    /// - Parameters:
    ///   - mappings: names of the mappings.
    ///   - routes: which of them is a topic's.
    init(group: String, mappings: [String], routes: TopicRoutes, registry: MetricsRegistry, logger: Logger) {
        self.routes = routes
        self.logger = logger
        rebalances = registry.counter(
            "sluice_rebalances_total", help: "Rebalances of the consumer group that assigned or revoked partitions.")
        let events = registry.counterFamily(
            "sluice_events_total", help: "Records whose offset is durable in PostgreSQL, by outcome.", labels: ["outcome"])
        applied = events.child("applied")
        superseded = events.child("superseded")
        deadLettered = events.child("dead_lettered")
        let mapped = registry.counterFamily(
            "sluice_mapping_events_total", help: "Records whose offset is durable, by the mapping of their topic and outcome.",
            labels: ["mapping", "outcome"])
        let unchanged = registry.counterFamily(
            "sluice_unchanged_events_total", help: "Applied records that wrote nothing, of mappings with skip_unchanged.",
            labels: ["mapping"])
        ofMappings = (mappings + (routes.routed.isEmpty ? [] : [Mapping.routeName])).map { name in
            MappingCounters(
                applied: mapped.child(name, "applied"), superseded: mapped.child(name, "superseded"),
                deadLettered: mapped.child(name, "dead_lettered"), skipped: mapped.child(name, "skipped"),
                unchanged: unchanged.child(name))
        }
        skipped = events.child("skipped")
        keyMismatches = KeyMismatchTelemetry(registry, logger: logger)
        deadLetters = registry.counterFamily(
            "sluice_dead_letters_total", help: "Records written to sluice_dead_letters, by reason.", labels: ["reason"])
        for reason in DecodeReason.allCases { deadLetters.child(DeadLetterReason.decode(reason.rawValue)) }
        for reason in DeadLetterReason.allSQL { deadLetters.child(reason) }
        deadLetterRows = registry.gauge(
            "sluice_dead_letter_rows", help: "Rows of the group in sluice_dead_letters, counted once a minute.")
        retries = registry.counter("sluice_apply_retries_total", help: "Transactions that were retried.")
        fences = registry.counter("sluice_fenced_total", help: "Partitions that another worker had claimed since.")
        batchRows = registry.histogram(
            "sluice_batch_rows", help: "Records of a committed transaction.",
            buckets: [1, 10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000])
        batchSeconds = registry.histogram(
            "sluice_batch_apply_seconds", help: "Time from encoding to commit of a transaction.",
            buckets: Histogram.secondsBounds)
        latency = registry.histogram(
            "sluice_event_latency_seconds", help: "Time from the record's timestamp to its commit in PostgreSQL.",
            buckets: LatencyBuckets.seconds)
        memory = MemoryTelemetry(registry)
        consumer = ConsumerTelemetry(registry)
        let states = registry.sharedCollector { [weak self] in self?.snapshot }
        PipelineCollectors.register(on: states, group: group, pauses: pauses, resumes: resumes, flaps: flaps)
    }

    /// Sets the pipeline whose state each scrape shows.
    func watch(_ pipeline: EventPipeline) { self.pipeline.withLock { $0 = pipeline } }

    /// The pipeline's state now; `nil`: it has not started.
    var snapshot: PipelineSnapshot? { pipeline.withLock { $0 }?.snapshot() }

    func observed(_ event: PipelineEvent) {
        switch event {
        case .applied(_, let work, let counts, let seconds):
            count(work, counts, seconds)
        case .rebalanced(let assigned, let revoked, let isLost):
            rebalances.increment()
            pauses.removeAll()
            resumes.removeAll()
            flaps.removeAll()
            logger.info(
                "Partitions assigned or revoked.",
                ["assigned": assigned.count, "revoked": revoked.count, "lost": isLost])
        case .claimed(let claims):
            logger.info("Partitions claimed; consuming starts.", ["partitions": claims.count])
            for claim in claims {
                logger.debug(
                    "Partition claimed.",
                    ["partition": "\(claim.source)", "epoch": claim.epoch, "offset": claim.offset, "lane": claim.lane])
            }
        case .claimFailed(let partitions, let reason, let wait):
            let names = partitions.map { "\($0)" }.joined(separator: ", ")
            logger.warning(
                "Partitions not claimed; retrying.",
                ["partitions": names, "message": reason, "retry_in_ms": wait / 1_000_000])
        case .waits(let waiting):
            logger.info(
                waiting.cause == .row ? "Partition waits for another row." : "Partition waits for its decoder.",
                [
                    "partition": "\(waiting.source)", "message": waiting.reason,
                    "retry_in_seconds": Double(waiting.retryIn) / 1e9,
                ])
        case .stopped(let partition, let reason):
            logger.error(
                "Partition stopped.",
                [
                    "partition": "\(partition)", "reason": reason.kind.rawValue, "message": reason.description,
                    "starts_again": Self.restart(after: reason),
                ])
        case .fenced(let partition):
            fences.increment()
            logger.warning(
                "Partition fenced: another worker has claimed it. It is claimed again if the group still assigns it here.",
                ["partition": "\(partition)"])
        case .positionLost(let partition, let reason):
            logger.error(
                "Partition cannot be read at its offset; it is claimed again, which decides where it continues.",
                ["partition": "\(partition)", "message": reason])
        case .drained(let isComplete, let nanoseconds):
            logger.info("Pipeline drained.", ["complete": isComplete, "ms": nanoseconds / 1_000_000])
        case .retrying(let lane, let reason, let wait):
            retries.increment()
            logger.warning("Transaction failed; retrying.", ["lane": lane, "message": reason, "retry_in_ms": wait / 1_000_000])
        case .circuit(let state):
            logger.warning("Circuit breaker of PostgreSQL changed state.", ["state": "\(state)"])
        case .paused(let partition):
            pauses.increment(partition)
            logger.info("Partition paused: it has had no credits for longer than the dwell time.", ["partition": "\(partition)"])
        case .resumed(let partition):
            resumes.increment(partition)
            logger.info("Partition resumed.", ["partition": "\(partition)"])
        case .overran(let bytes, let budget):
            guard bytes > 0 else { break }
            logger.debug(
                "librdkafka exceeds its prefetch share, because producers' batches are larger than a fetch; credits are reduced.",
                ["overrun_bytes": bytes, "credit_bytes": budget])
        case .flapped(let partition):
            flaps.increment(partition)
        case .stalled(let reason, let nanoseconds):
            logger.error(
                "Stalled: records wait and nothing is applied.",
                ["reason": reason.rawValue, "message": reason.sentence, "seconds": Int(nanoseconds / 1_000_000_000)])
        case .stallEnded(let reason, let nanoseconds):
            logger.info(
                "Stall ended.",
                ["reason": reason.rawValue, "seconds": Int(nanoseconds / 1_000_000_000)])
        case .sourceNotice(let sentence):
            logger.warning("Kafka reported an error.", ["message": sentence])
        }
    }

    private static func restart(after reason: StopReason) -> String {
        if reason.isPassing { return "tried within seconds, then less often, or at POST /admin/retry" }
        return reason.isRechecked
            ? "when what is wrong is mended; checked at pipeline.recheck_interval, or at POST /admin/retry"
            : "at POST /admin/retry"
    }

    private func count(_ work: [PartitionBatches], _ counts: AppliedCounts, _ seconds: Double) {
        applied.increment(by: counts.applied)
        superseded.increment(by: counts.superseded)
        skipped.increment(by: counts.skipped)
        deadLettered.increment(by: counts.deadLettered)
        for (reason, number) in counts.deadLetters { deadLetters.child(reason).increment(by: number) }
        // A transaction writes the table of one mapping, or those of the route.
        if let topic = work.first?.source.topic, let mapping = routes.mapping(of: topic) {
            ofMappings[mapping].count(counts)
            for (part, counts) in zip(routes.routed, counts.parts) { ofMappings[part].count(counts) }
        }
        var rows = 0
        var buckets = LatencyBuckets()
        let now = WallClock.milliseconds()
        for part in work {
            for batch in part.batches {
                rows += batch.records.count
                buckets.add(batch.records, now: now)
                keyMismatches.applied(batch, now: now)
            }
        }
        batchRows.observe(Double(rows))
        batchSeconds.observe(seconds)
        buckets.flush(into: latency)
    }
}

/// What became of a mapping's records.
private struct MappingCounters {
    let applied: Counter
    let superseded: Counter
    let deadLettered: Counter
    let skipped: Counter
    let unchanged: Counter

    /// Counts what those of ``AppliedCounts/parts`` do not.
    func count(_ counts: AppliedCounts) {
        func rest(_ path: KeyPath<AppliedCounts, Int>) -> Int {
            counts.parts.reduce(counts[keyPath: path]) { $0 - $1[keyPath: path] }
        }
        applied.increment(by: rest(\.applied))
        superseded.increment(by: rest(\.superseded))
        deadLettered.increment(by: rest(\.deadLettered))
        skipped.increment(by: rest(\.skipped))
        unchanged.increment(by: rest(\.unchanged))
    }
}

extension AppliedCounts {
    /// Dead letters for any reason.
    fileprivate var deadLettered: Int { deadLetters.values.reduce(0, +) }
}

/// Counters by partition, of the current assignment.
final class PartitionCounts: Sendable {
    private let counts = Mutex<[TopicPartition: Int]>([:])
    /// Removes all counters: the assignment has ended.
    func removeAll() { counts.withLock { $0 = [:] } }
    func increment(_ source: TopicPartition) { counts.withLock { $0[source, default: 0] += 1 } }
    subscript(source: TopicPartition) -> Int { counts.withLock { $0[source] ?? 0 } }
}
