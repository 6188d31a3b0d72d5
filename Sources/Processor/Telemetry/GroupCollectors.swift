// Names the metrics an ingress without a pipeline shows of its group, all of them from one look a scrape.

import Pipeline
import Records
import Telemetry

/// The families of a ``GroupLag``: named as a worker names them where they mean the same.
enum GroupCollectors {
    static func register(on states: SharedCollector<GroupLag>, group: String) {
        each(states, "kafka_consumergroup_lag", "Records between the group's committed offset and the partition's end.") {
            sink, partition in
            guard let backlog = partition.backlog else { return }
            sink.sample(
                Int(backlog),
                ["consumergroup": group, "topic": partition.source.topic, "partition": "\(partition.source.partition)"])
        }
        each(states, "sluice_end_offset", "One past the last record of the partition.") { sink, partition in
            if let end = partition.end { sink.sample(Int(end), labels(partition)) }
        }
        each(states, "sluice_committed_offset", "Offset the group has committed to Kafka last.") { sink, partition in
            if let committed = partition.committed { sink.sample(Int(committed), labels(partition)) }
        }
        each(
            states, "sluice_lag_seconds",
            "Since when an end behind the committed offset is known: the least age of the oldest uncommitted record; 0 where there is none."
        ) { sink, partition in
            if let seconds = partition.seconds { sink.sample(seconds, labels(partition)) }
        }
        each(
            states, "sluice_end_offset_age_seconds", "Time since the partition's end and committed offset were last answered."
        ) { sink, partition in sink.sample(partition.answerAgeSeconds, labels(partition)) }
        states.family(
            "sluice_lag_eta_seconds", type: .gauge,
            help: "Time until the group's backlog is applied if all goes on as lately; +Inf: nothing drains, or more arrives."
        ) { sink, lag in
            if let seconds = lag.rates.secondsToDrain { sink.sample(seconds) }
        }
        states.family(
            "sluice_drain_rate_events_per_second", type: .gauge, help: "Offsets the group commits a second, lately."
        ) { sink, lag in sink.sample(lag.rates.drain) }
        states.family(
            "sluice_arrival_rate_events_per_second", type: .gauge,
            help: "Offsets by which the group's partitions grow a second, lately."
        ) { sink, lag in sink.sample(lag.rates.arrival) }
    }

    private static func each(
        _ states: SharedCollector<GroupLag>, _ name: String, _ help: String,
        _ body: @escaping @Sendable (inout SampleSink, GroupLag.Partition) -> Void
    ) {
        states.family(name, type: .gauge, help: help) { sink, lag in
            for partition in lag.partitions { body(&sink, partition) }
        }
    }

    private static func labels(_ partition: GroupLag.Partition) -> KeyValuePairs<String, String> {
        ["topic": partition.source.topic, "partition": "\(partition.source.partition)"]
    }
}
