// Counts and logs the events that Kafka did not acknowledge.

import Kafka
import Platform
import Synchronization
import Telemetry

/// `sluice_produce_failures_total`, and one line for each kind of error in a minute.
final class ProduceFailures: Sendable {
    private struct Kind {
        let counter: Counter
        /// When it was logged last, monotonic nanoseconds.
        var loggedAt: UInt64
        /// Events since then.
        var events = 0
    }

    /// Between two lines about one kind of error, nanoseconds.
    private static let window: UInt64 = 60_000_000_000

    private let family: CounterFamily
    private let logger: Logger
    private let kinds = Mutex<[String: Kind]>([:])

    init(_ registry: MetricsRegistry, _ logger: Logger) {
        family = registry.counterFamily(
            "sluice_produce_failures_total",
            help: "Events that were handed to the producer and not acknowledged, by Kafka's name of the error.", labels: ["error"]
        )
        self.logger = logger
    }

    /// An event was not acknowledged.
    func failed(_ error: KafkaError, now: UInt64 = MonotonicClock.nanoseconds()) {
        let name = error.name
        let unlogged: Int? = kinds.withLock { kinds in
            var kind = kinds[name] ?? Kind(counter: family.child(name), loggedAt: 0)
            kind.counter.increment()
            kind.events += 1
            defer { kinds[name] = kind }
            // Read before the lock, so it may be earlier than the other thread's.
            guard kind.loggedAt == 0 || now >= kind.loggedAt + Self.window else { return nil }
            defer { (kind.loggedAt, kind.events) = (now, 0) }
            return kind.events
        }
        guard let unlogged else { return }
        logger.log(
            error.isRetriable || error.mayBePersisted ? .warning : .error, "Kafka did not acknowledge events.",
            ["error": name, "message": error.message, "events": unlogged, "window_s": 60])
    }
}
