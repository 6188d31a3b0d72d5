// Owns the metrics that an ingress without a pipeline shows of its consumer group, all of one scrape from one snapshot.

import Pipeline
import Records
import Telemetry

/// The metrics of a ``GroupLag``, under the names of a worker's metrics of the same meaning.
enum GroupCollectors {
    static func register(on states: SharedCollector<GroupLag>, group: String) {
        each(states, "kafka_consumergroup_lag", "Records between the group's committed offset and the partition's end.") {
            sink, partition in
            if let backlog = partition.backlog { sink.sample(Int(backlog), partition.source.labels(group: group)) }
        }
        each(states, "sluice_end_offset", "One past the last record of the partition.") { sink, partition in
            if let end = partition.end { sink.sample(Int(end), partition.source.labels) }
        }
        each(states, "sluice_committed_offset", "Last offset the group has committed to Kafka.") { sink, partition in
            if let committed = partition.committed { sink.sample(Int(committed), partition.source.labels) }
        }
        each(
            states, "sluice_lag_seconds",
            "Least age of the oldest uncommitted record: time since an end offset after the committed one is known; 0 if there is none."
        ) { sink, partition in
            if let seconds = partition.seconds { sink.sample(seconds, partition.source.labels) }
        }
        each(
            states, "sluice_end_offset_age_seconds", "Time since a broker last returned the partition's end and committed offset."
        ) { sink, partition in sink.sample(partition.answerAgeSeconds, partition.source.labels) }
        states.gauge(
            "sluice_lag_eta_seconds", "Time until the group's lag is applied at the recent rates; +Inf: it does not shrink."
        ) { sink, lag in
            if let seconds = lag.rates.secondsToDrain { sink.sample(seconds) }
        }
        states.gauge("sluice_drain_rate_events_per_second", "Offsets the group has recently committed per second.") {
            $0.sample($1.rates.drain)
        }
        states.gauge(
            "sluice_arrival_rate_events_per_second", "Offsets by which the group's partitions have recently grown per second."
        ) { $0.sample($1.rates.arrival) }
    }

    private static func each(
        _ states: SharedCollector<GroupLag>, _ name: String, _ help: String,
        _ body: @escaping @Sendable (inout SampleSink, GroupLag.Partition) -> Void
    ) {
        states.gauge(name, help) { sink, lag in
            for partition in lag.partitions { body(&sink, partition) }
        }
    }
}
