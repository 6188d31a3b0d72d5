// Owns the metrics that are read from the pipeline's state, all of one scrape from one snapshot.

import Backpressure
import Pipeline
import Records
import Telemetry

/// The metrics of a ``PipelineSnapshot``. Before the pipeline starts, those with fixed labels are 0.
enum PipelineCollectors {
    typealias States = SharedCollector<PipelineSnapshot?>

    static func register(
        on states: States, group: String, pauses: PartitionCounts, resumes: PartitionCounts, flaps: PartitionCounts
    ) {
        offsets(states, group: group)
        times(states)
        pauseMetrics(states, pauses: pauses, resumes: resumes, flaps: flaps)
        flow(states)
    }

    private static func offsets(_ states: States, group: String) {
        gauge(
            states, "kafka_consumergroup_lag", "Records between the applied offset and the partition's end."
        ) { sink, position in
            if let backlog = position.backlog { sink.sample(Int(backlog), position.source.labels(group: group)) }
        }
        gauge(states, "sluice_end_offset", "One past the last record of the partition.") { sink, position in
            if let end = position.end { sink.sample(Int(end), position.source.labels) }
        }
        gauge(states, "sluice_applied_offset", "Next offset to apply: everything before it is in PostgreSQL.") {
            $0.sample(Int($1.applied), $1.source.labels)
        }
        gauge(states, "sluice_committed_offset", "Offset last committed to Kafka's consumer group.") { sink, position in
            if let committed = position.committed { sink.sample(Int(committed), position.source.labels) }
        }
    }

    private static func times(_ states: States) {
        states.gauge(
            "sluice_lag_seconds", "Age of the partition's oldest unapplied record, read or not; 0 if there is none."
        ) { sink, snapshot in
            for lag in snapshot?.lags ?? [] {
                if let seconds = lag.seconds { sink.sample(seconds, lag.source.labels) }
            }
        }
        states.gauge(
            "sluice_end_offset_age_seconds", "Time since a broker last returned the partition's end."
        ) { sink, snapshot in
            for lag in snapshot?.lags ?? [] { sink.sample(lag.answerAgeSeconds, lag.source.labels) }
        }
        states.gauge(
            "sluice_lag_eta_seconds", "Time until this worker's lag is applied at the recent rates; +Inf: it does not shrink."
        ) { sink, snapshot in
            if let seconds = snapshot?.rates.secondsToDrain { sink.sample(seconds) }
        }
        states.gauge("sluice_drain_rate_events_per_second", "Records recently applied per second.") {
            $0.sample($1?.rates.drain ?? 0)
        }
        states.gauge(
            "sluice_arrival_rate_events_per_second", "Offsets by which this worker's partitions have recently grown per second."
        ) { sink, snapshot in sink.sample(snapshot?.rates.arrival ?? 0) }
        states.gauge(
            "sluice_stalled", "1 for the reason of a stall: records wait and nothing is applied."
        ) { sink, snapshot in
            for reason in StallReason.allCases {
                sink.sample(snapshot?.stall?.reason == reason ? 1 : 0, ["reason": reason.rawValue])
            }
        }
    }

    private static func pauseMetrics(_ states: States, pauses: PartitionCounts, resumes: PartitionCounts, flaps: PartitionCounts)
    {
        states.gauge(
            "sluice_partition_paused", "1 while the partition is not fetched: for lack of credits, or by an operator."
        ) { sink, snapshot in
            for position in snapshot?.positions ?? [] {
                sink.sample(snapshot?.paused.contains(position.source) == true ? 1 : 0, position.source.labels)
            }
        }
        states.gauge(
            "sluice_partition_paused_by_operator",
            "1 while an operator has paused the partition; /readyz and /admin/pauses say why."
        ) { sink, snapshot in
            for position in snapshot?.positions ?? [] {
                sink.sample(snapshot?.pausedByOperator[position.source] == nil ? 0 : 1, position.source.labels)
            }
        }
        for (name, counts, help) in [
            ("sluice_partition_pauses_total", pauses, "Times the partition was paused for lack of credits."),
            ("sluice_partition_resumes_total", resumes, "Times the partition was resumed once credits were back."),
            ("sluice_partition_flaps_total", flaps, "Pauses that came soon after a resume; each makes the next one wait longer."),
        ] {
            states.family(name, type: .counter, help: help) { sink, snapshot in
                for position in snapshot?.positions ?? [] { sink.sample(counts[position.source], position.source.labels) }
            }
        }
        states.gauge(
            "sluice_partition_stopped",
            "1 for a stopped partition; poison and truncate: it starts again only at POST /admin/retry."
        ) { sink, snapshot in
            for stopped in snapshot?.stopped ?? [] {
                sink.sample(
                    1,
                    [
                        "topic": stopped.source.topic, "partition": "\(stopped.source.partition)",
                        "reason": stopped.reason.kind.rawValue,
                    ])
            }
        }
    }

    private static func flow(_ states: States) {
        states.gauge("sluice_circuit_state", "Circuit breaker of PostgreSQL: 0 closed, 1 half-open, 2 open.") {
            $0.sample($1?.circuit.rawValue ?? 0)
        }
        states.gauge(
            "sluice_stage_credits", "Free credits of all partitions; negative: more is in flight than the budget."
        ) { sink, snapshot in
            let free = snapshot?.freeCredits ?? .zero
            sink.sample(free.records, ["stage": "poll", "unit": "records"])
            sink.sample(free.bytes, ["stage": "poll", "unit": "bytes"])
        }
        states.gauge("sluice_stage_queue", "Records and bytes that wait for a stage.") { sink, snapshot in
            let apply = snapshot?.laneQueues.reduce(Credits.zero, +) ?? .zero
            for (stage, level) in [("decode", snapshot?.decodeQueue ?? .zero), ("apply", apply)] {
                sink.sample(level.records, ["stage": stage, "unit": "records"])
                sink.sample(level.bytes, ["stage": stage, "unit": "bytes"])
            }
        }
    }

    private static func gauge(
        _ states: States, _ name: String, _ help: String,
        _ body: @escaping @Sendable (inout SampleSink, OffsetLedgerMachine.Position) -> Void
    ) {
        states.gauge(name, help) { sink, snapshot in
            for position in snapshot?.positions ?? [] { body(&sink, position) }
        }
    }
}

extension SharedCollector {
    /// A gauge whose series are computed from the page's state.
    func gauge(_ name: String, _ help: String, _ body: @escaping @Sendable (inout SampleSink, State) -> Void) {
        family(name, type: .gauge, help: help, body)
    }
}

extension TopicPartition {
    /// The labels of a partition's series.
    var labels: KeyValuePairs<String, String> { ["topic": topic, "partition": "\(partition)"] }

    /// The labels of a series that names the consumer group, too.
    func labels(group: String) -> KeyValuePairs<String, String> {
        ["consumergroup": group, "topic": topic, "partition": "\(partition)"]
    }
}
