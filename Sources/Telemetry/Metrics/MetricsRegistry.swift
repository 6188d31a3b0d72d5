// The metrics of the process, in the order of their registration, and the page Prometheus scrapes.

import Synchronization

/// All metrics of a process.
///
/// Registering a name twice, or one that Prometheus does not accept, is a programming error and traps. Rendering holds no lock while
/// instruments are read or collectors run.
public final class MetricsRegistry: Sendable {
    /// The media type of ``render()``'s page.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private struct State {
        var families: [any MetricFamily] = []
        var names: Set<String> = []
        var lastSize = 4096
    }

    private let state = Mutex(State())

    /// An empty registry.
    public init() {}

    /// A counter with fixed labels, if any.
    public func counter(_ name: String, help: String, labels: KeyValuePairs<String, String> = [:]) -> Counter {
        counterFamily(name, help: help, labels: labels.map(\.key)).child(labels.map(\.value))
    }

    /// Counters under one name, one for each combination of label values.
    public func counterFamily(_ name: String, help: String, labels: [String]) -> Family<Counter> {
        register(Family(MetricHeader(name, type: .counter, help: help, labels: labels)) { Counter() })
    }

    /// A gauge with fixed labels, if any.
    public func gauge(_ name: String, help: String, labels: KeyValuePairs<String, String> = [:]) -> Gauge {
        gaugeFamily(name, help: help, labels: labels.map(\.key)).child(labels.map(\.value))
    }

    /// Gauges under one name, one for each combination of label values.
    public func gaugeFamily(_ name: String, help: String, labels: [String]) -> Family<Gauge> {
        register(Family(MetricHeader(name, type: .gauge, help: help, labels: labels)) { Gauge() })
    }

    /// A histogram with fixed labels, if any.
    /// - Parameter buckets: inclusive upper bounds, ascending; +Inf is added.
    public func histogram(
        _ name: String, help: String, buckets: [Double] = Histogram.secondsBounds, labels: KeyValuePairs<String, String> = [:]
    ) -> Histogram {
        histogramFamily(name, help: help, buckets: buckets, labels: labels.map(\.key)).child(labels.map(\.value))
    }

    /// Histograms under one name, one for each combination of label values.
    public func histogramFamily(
        _ name: String, help: String, buckets: [Double] = Histogram.secondsBounds, labels: [String]
    ) -> Family<Histogram> {
        register(Family(MetricHeader(name, type: .histogram, help: help, labels: labels)) { Histogram(bounds: buckets) })
    }

    /// A metric whose series are computed by `body` at each scrape. The HELP and TYPE lines stand on the page also without a series.
    /// Histograms cannot be collected. The registry keeps `body`, which must not capture the registry strongly.
    public func collector(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink) -> Void
    ) {
        register(CollectedFamily(name, type: type, help: help) { sink, _ in body(&sink) })
    }

    /// Families that are all computed from one state, which `take` returns, once a page.
    public func sharedCollector<State: Sendable>(_ take: @escaping @Sendable () -> State) -> SharedCollector<State> {
        SharedCollector(registry: self, take: take)
    }

    @discardableResult
    func register<F: MetricFamily>(_ family: F) -> F {
        state.withLock { state in
            precondition(state.names.insert(family.header.name).inserted, "\(family.header.name) is registered twice")
            state.families.append(family)
        }
        return family
    }

    /// The page as UTF-8, in the Prometheus text format 0.0.4.
    public func render() -> [UInt8] {
        let (families, lastSize) = state.withLock { ($0.families, $0.lastSize) }
        var text = PrometheusText(reserving: lastSize + lastSize / 8)
        var page = PageState()
        for family in families {
            text.open(family.header.name, type: family.header.type, help: family.header.help)
            family.write(into: &text, &page)
        }
        let bytes = text.bytes
        state.withLock { $0.lastSize = bytes.count }
        return bytes
    }
}
