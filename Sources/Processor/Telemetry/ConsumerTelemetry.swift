// Owns the metrics of how the consumer reads: what it sought, what was missing, what came twice.

import Kafka
import Synchronization
import Telemetry

/// The metrics of a ``KafkaConsumerStatistics``. Zero until the worker starts.
final class ConsumerTelemetry: Sendable {
    private let source = Mutex<(@Sendable () -> KafkaConsumerStatistics)?>(nil)

    init(_ registry: MetricsRegistry) {
        let states: SharedCollector<KafkaConsumerStatistics> = registry.sharedCollector { [weak self] in
            self?.source.withLock { $0 }?() ?? KafkaConsumerStatistics()
        }
        let counters: [(name: String, help: String, value: @Sendable (KafkaConsumerStatistics) -> Int)] = [
            (
                "sluice_consumer_reseeks_total",
                "Seeks because reading began beyond the offset it was told to begin at; at most one for each begin.",
                { $0.reseeks }
            ),
            (
                "sluice_consumer_gaps_total",
                "Gaps between the offsets of records: compacted records, or markers of transactions.", { $0.gaps }
            ),
            ("sluice_consumer_duplicates_total", "Records that Kafka's library delivered again, dropped.", { $0.duplicates }),
            (
                "sluice_consumer_restarts_total",
                "Times all partitions were assigned anew in Kafka's library, because it did not fetch one, or the process stood still.",
                { $0.restarts }
            ),
            (
                "sluice_consumer_fetch_wakeups_total",
                "Times the fetcher of Kafka's library was woken for a queue that was full and has been drained.", { $0.wakeUps }
            ),
        ]
        for counter in counters {
            states.family(counter.name, type: .counter, help: counter.help) { $0.sample(counter.value($1)) }
        }
    }

    /// Sets the source of the counters.
    func watch(_ source: @escaping @Sendable () -> KafkaConsumerStatistics) { self.source.withLock { $0 = source } }
}
