// Counts events by what they were answered.

import Telemetry

/// `sluice_http_events_total`: each event that was read, alone or in a batch, counts once, also where its client has left. Of a request
/// that is refused at its header none is.
final class EventCounters: Sendable {
    /// Every status an event can have, with its series from the start.
    static let statuses = [200, 400, 413, 429, 500, 503]

    private let counters: [Counter]
    let sent: Counter

    init(_ registry: MetricsRegistry) {
        let family = registry.counterFamily(
            "sluice_http_events_total",
            help:
                "Events that were read at POST /send, alone or in batches, by the status each was answered with, whoever still listened.",
            labels: ["status"])
        counters = Self.statuses.map { family.child("\($0)") }
        sent = counters[0]
    }

    func count(_ status: Int, _ events: Int = 1) {
        guard events > 0, let index = Self.statuses.firstIndex(of: status) else { return }
        counters[index].increment(by: events)
    }
}
