// Counts events by the status of their answer.

import Telemetry

/// `sluice_http_events_total`: each event that was read, alone or in a batch, counts once, also if its client has disconnected. A request
/// that is refused at its header counts none.
final class EventCounters: Sendable {
    /// Every status an event can have; each has a series from the start.
    static let statuses = [200, 400, 413, 429, 500, 503]

    private let counters: [Counter]
    let sent: Counter
    /// Of every record, events of batches included.
    let acknowledgement: Histogram

    init(_ registry: MetricsRegistry) {
        let family = registry.counterFamily(
            "sluice_http_events_total",
            help:
                "Events read at POST /send, alone or in batches, by the status of their answer, whether or not the client received it.",
            labels: ["status"])
        counters = Self.statuses.map { family.child("\($0)") }
        sent = counters[0]
        acknowledgement = registry.histogram(
            "sluice_produce_ack_seconds",
            help: "Time from producing an event to its acknowledgement by the broker (the mean of those reported together).")
    }

    func count(_ status: Int, _ events: Int = 1) {
        guard events > 0, let index = Self.statuses.firstIndex(of: status) else { return }
        counters[index].increment(by: events)
    }
}

extension EventProducer {
    func acknowledged(_ records: Int, after seconds: Double) { counters.acknowledgement.observe(seconds, count: records) }
}
