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
    let pauses = PartitionCounts()
    let resumes = PartitionCounts()
    let flaps = PartitionCounts()
    /// The memory budget's gauges.
    let memory: MemoryTelemetry
    private let pipeline = Mutex<EventPipeline?>(nil)

    init(group: String, registry: MetricsRegistry, logger: Logger) {
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
        let states = registry.sharedCollector { [weak self] in self?.snapshot }
        PipelineCollectors.register(on: states, group: group, pauses: pauses, resumes: resumes, flaps: flaps)
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
            pauses.forget()
            resumes.forget()
            flaps.forget()
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
        case .overran(let bytes, let budget):
            guard bytes > 0 else { break }
            logger.debug(
                "librdkafka holds more than its share, since producers' batches are larger than a fetch: what is under way gives way.",
                ["overrun_bytes": bytes, "credit_bytes": budget])
        case .flapped(let partition):
            flaps.count(partition)
        case .stalled(let reason, let nanoseconds):
            logger.error(
                "The worker has something to do and does not move.",
                ["reason": reason.rawValue, "cause": reason.sentence, "seconds": Int(nanoseconds / 1_000_000_000)])
        case .stallEnded(let reason, let nanoseconds):
            logger.info(
                "The worker is not stalled any more.",
                ["reason": reason.rawValue, "seconds": Int(nanoseconds / 1_000_000_000)])
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
}

/// Counters by partition, of the present assignment.
final class PartitionCounts: Sendable {
    private let counts = Mutex<[TopicPartition: Int]>([:])
    /// The group has moved partitions: those of the last assignment are not shown any more, and begin anew if they come back.
    func forget() { counts.withLock { $0 = [:] } }
    func count(_ source: TopicPartition) { counts.withLock { $0[source, default: 0] += 1 } }
    subscript(source: TopicPartition) -> Int { counts.withLock { $0[source] ?? 0 } }
}
