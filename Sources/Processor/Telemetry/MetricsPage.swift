// Answers requests for the metrics, away from the thread of the HTTP server.

import Dispatch
import HTTPServer
import Synchronization
import Telemetry

/// Renders one page at a time. Requests that arrive meanwhile get the next one together, so that no client can keep more than one
/// processor busy.
final class MetricsPage: Sendable {
    private let registry: MetricsRegistry
    private let queue = DispatchQueue(label: "sluice-metrics")
    private let waiting = Mutex<[HTTPExchange]>([])

    init(_ registry: MetricsRegistry) { self.registry = registry }

    func answer(_ exchange: HTTPExchange) {
        let isFirst = waiting.withLock { exchanges in
            exchanges.append(exchange)
            return exchanges.count == 1
        }
        guard isFirst else { return }
        queue.async { [self] in
            let exchanges = waiting.withLock { exchanges in
                defer { exchanges = [] }
                return exchanges
            }
            let page = HTTPResponse(
                status: 200, headers: [("Content-Type", MetricsRegistry.contentType)], body: registry.render())
            for exchange in exchanges { exchange.respond(page) }
        }
    }
}
