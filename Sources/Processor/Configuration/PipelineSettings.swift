// Declares the sections `pipeline` and `apply`.

import Apply
import Pipeline
import Platform
import Settings

struct PipelineSettings: Sendable {
    var memoryBudget = 64 << 20
    var lowWatermark = 0.25
    var highWatermark = 0.75
    var pauseDwell = Duration.milliseconds(750)
    var drainTimeout = Duration.seconds(5)
    var claimTimeout = Duration.seconds(2)
    var offsetCommitInterval = Duration.seconds(1)
    var lagInterval = Duration.seconds(1)
    var pauseInterval = Duration.seconds(2)
    var recheckInterval = Duration.seconds(60)
    var stallTimeout = Duration.seconds(30)
    var shutdownTimeout = Duration.seconds(20)

    static let section = Section<PipelineSettings>(
        "pipeline", help: "How much data may be between Kafka and PostgreSQL.",
        keys: [
            Key(
                "memory_budget_bytes", \.memoryBudget, .bytes(in: 16 << 20...64 << 30),
                help:
                    "Memory for librdkafka's prefetch, record batches, decoded batches and statement parameters. A change "
                    + "applies live to the batches, and at the next start to the prefetch.", reload: .live),
            Key(
                "low_watermark", \.lowWatermark, .double(in: 0.01...0.9), unit: "share",
                help:
                    "A partition with less than this share of its credits free is starved; a reader without credits is woken "
                    + "at this share.", reload: .live),
            Key(
                "high_watermark", \.highWatermark, .double(in: 0.02...1), unit: "share",
                help:
                    "A paused partition is resumed when this share of its credits is free.", reload: .live),
            Key(
                "pause_dwell", \.pauseDwell, .duration(in: .milliseconds(100) ... .seconds(600)),
                help:
                    "How long a partition must be starved without interruption before it is paused.", reload: .live),
            Key(
                "drain_timeout", \.drainTimeout, .duration(in: .zero ... .seconds(60)),
                help:
                    "When the group revokes partitions: how long batches in the pipeline may take to finish.", reload: .live),
            Key(
                "claim_timeout", \.claimTimeout, .duration(in: .milliseconds(10) ... .seconds(60)),
                help:
                    "When the group assigns partitions: reading begins after this time at the latest, with the partitions that are "
                    + "claimed in PostgreSQL by then. The others are tried again, and join.",
                reload: .live),
            Key(
                "offset_commit_interval", \.offsetCommitInterval, .duration(in: .milliseconds(100) ... .seconds(600)),
                help:
                    "How often applied offsets are committed to Kafka, for lag tools. The offsets that a restart uses are "
                    + "those in sluice_offsets.",
                reload: .live),
            Key(
                "lag_interval", \.lagInterval, .duration(in: .milliseconds(100) ... .seconds(600)),
                help: "How often the end offsets of the partitions are queried.", reload: .live),
            Key(
                "pause_interval", \.pauseInterval, .duration(in: .milliseconds(100) ... .seconds(600)),
                help:
                    "How often operator pauses made on other workers are read from PostgreSQL (POST /admin/pause)."),
            Key(
                "recheck_interval", \.recheckInterval, .duration(in: .seconds(1) ... .seconds(3600)),
                help:
                    "How often a stopped partition is claimed again, in case the table, privilege or topic it lacks is there now. "
                    + "One that Kafka refuses is claimed again sooner, and one that stopped for its bad records waits for POST "
                    + "/admin/retry.",
                reload: .live),
            Key(
                "stall_timeout", \.stallTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help:
                    "A partition with records to apply and no progress for this time is reported as stalled by /readyz, the "
                    + "log and sluice_stalled.",
                reload: .live),
            Key(
                "shutdown_timeout", \.shutdownTimeout, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "How long the drain after SIGTERM may take. Records that are not durable by then are read again at the "
                    + "next start.",
                reload: .live),
        ],
        rules: [
            Rule("low_watermark", "high_watermark", sentence: "must be below high_watermark") {
                $0.lowWatermark < $0.highWatermark
            }
        ])
}

struct ApplySettings: Sendable {
    var batchRecords = 5_000
    var batchBytes = 4 << 20
    var commitInterval = Duration.zero
    var outcomes: [String: String] = [:]
    var retryInitial = Duration.milliseconds(50)
    var retryMaximum = Duration.seconds(10)
    var constraintTimeout = Duration.seconds(10)
    var circuitFailures = 5
    var poisonRecords = 1_000
    var poisonShare = 0.5
    var poisonWindow = Duration.seconds(60)

    static let section = Section<ApplySettings>(
        "apply", help: "How events are written to the database.",
        keys: [
            Key(
                "batch_records", \.batchRecords, .int(in: 1...1_000_000),
                help:
                    "The most records of a transaction. A transaction carries what has arrived during the previous one.",
                reload: .live),
            Key(
                "batch_bytes", \.batchBytes, .bytes(in: 1 << 10...1 << 30),
                help: "The most bytes of records of a transaction.", reload: .live),
            Key(
                "commit_interval", \.commitInterval, .duration(in: .zero ... .seconds(10)),
                help:
                    "Least pause of a lane between transactions of less than a quarter of batch_records. Fewer and larger commits "
                    + "use fewer transaction IDs, for as much latency. 0: half as long as the last transaction took, at most 10ms.",
                reload: .live),
            Key(
                "outcomes", \.outcomes, .map,
                help:
                    "Outcome of an SQLSTATE or a class of them: retry, retry_halved, constraint_retry, dead_letter or stop, "
                    + "such as {\"23514\": stop}. Entries change the built-in table (docs/errors.md)."),
            Key(
                "retry_initial", \.retryInitial, .duration(in: .milliseconds(1) ... .seconds(60)),
                help:
                    "Delay before the first retry; it doubles with each further one, with jitter.", reload: .live),
            Key(
                "retry_maximum", \.retryMaximum, .duration(in: .milliseconds(1) ... .seconds(600)),
                help: "Longest delay between retries.", reload: .live),
            Key(
                "constraint_timeout", \.constraintTimeout, .duration(in: .zero ... .seconds(3600)),
                help:
                    "How long an event may wait for its parent row (23503), or for a unique value that another row has (23505), "
                    + "before it becomes a dead letter. 0: not at all.", reload: .live),
            Key(
                "circuit_failures", \.circuitFailures, .int(in: 1...1000),
                help:
                    "Consecutive failures of the database that open the circuit: then one lane probes and the others wait.",
                reload: .live),
            Key(
                "poison_records", \.poisonRecords, .int(in: 1...1_000_000_000),
                help:
                    "The fewest records before a partition can be stopped for its bad records: of its own within poison_window, or of "
                    + "all partitions, however long they took.",
                reload: .live),
            Key(
                "poison_share", \.poisonShare, .double(in: 0...1), unit: "share",
                help:
                    "A partition stops when more than this share of those records are bad.", reload: .live),
            Key(
                "poison_window", \.poisonWindow, .duration(in: .seconds(1) ... .seconds(86_400)),
                help: "Length of the window of a partition's own records.", reload: .live),
        ],
        rules: [
            Rule("retry_initial", "retry_maximum", sentence: "must not be above retry_maximum") {
                $0.retryInitial <= $0.retryMaximum
            }
        ])
}

extension ApplySettings {
    var poisonLimits: PoisonLimits {
        var limits = PoisonLimits()
        limits.leastRecords = poisonRecords
        limits.share = poisonShare
        limits.windowSeconds = poisonWindow.inSeconds
        return limits
    }
}
