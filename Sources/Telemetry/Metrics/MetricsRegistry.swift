// The metrics of the process, in the order of their registration, and the page Prometheus scrapes.

import Synchronization

/// All metrics of a process.
///
/// Registering a name twice, or one that Prometheus does not accept, is a programming error and traps. Rendering holds no lock while
/// instruments are read or collectors run.
public final class MetricsRegistry: Sendable {
    /// The media type of ``render()``'s page.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private struct Family: Sendable {
        let header: MetricHeader
        let write: @Sendable (inout PrometheusText, inout PageState) -> Void
    }

    private struct State {
        var families: [Family] = []
        var lastSize = 4096
    }

    private let state = Mutex(State())

    /// An empty registry.
    public init() {}

    /// A counter.
    public func counter(_ name: String, help: String) -> Counter { counterFamily(name, help: help, labels: []).child() }

    /// Counters under one name, one for each combination of label values.
    public func counterFamily(_ name: String, help: String, labels: [String]) -> CounterFamily {
        let header = MetricHeader(name, type: .counter, help: help, labels: labels)
        let family = CounterFamily(header)
        register(header) { text, _ in family.write(into: &text) }
        return family
    }

    /// A gauge.
    public func gauge(_ name: String, help: String) -> Gauge {
        let gauge = Gauge()
        register(MetricHeader(name, type: .gauge, help: help)) { text, _ in
            text.sample(name, value: PrometheusText.number(gauge.value))
        }
        return gauge
    }

    /// A histogram.
    /// - Parameter buckets: inclusive upper bounds, ascending; +Inf is added.
    public func histogram(_ name: String, help: String, buckets: [Double] = Histogram.secondsBounds) -> Histogram {
        let histogram = Histogram(bounds: buckets)
        register(MetricHeader(name, type: .histogram, help: help)) { text, _ in histogram.write(name, into: &text) }
        return histogram
    }

    /// A metric whose series are computed by `body` at each scrape. The HELP and TYPE lines stand on the page also without a series.
    /// Histograms cannot be collected. The registry keeps `body`, which must not capture the registry strongly.
    public func collector(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink) -> Void
    ) {
        collect(name, type: type, help: help) { sink, _ in body(&sink) }
    }

    /// Families that are all computed from one state, which `take` returns, once a page.
    public func sharedCollector<State: Sendable>(_ take: @escaping @Sendable () -> State) -> SharedCollector<State> {
        SharedCollector(registry: self, take: take)
    }

    func collect(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink, inout PageState) -> Void
    ) {
        precondition(type != .histogram, "\(name): a histogram cannot be collected")
        register(MetricHeader(name, type: type, help: help)) { text, page in
            var sink = SampleSink(name: name)
            body(&sink, &page)
            for sample in sink.samples { text.sample(name, labels: sample.labels, value: sample.value) }
        }
    }

    private func register(
        _ header: MetricHeader, _ write: @escaping @Sendable (inout PrometheusText, inout PageState) -> Void
    ) {
        state.withLock { state in
            precondition(!state.families.contains { $0.header.name == header.name }, "\(header.name) is registered twice")
            state.families.append(Family(header: header, write: write))
        }
    }

    /// The page as UTF-8, in the Prometheus text format 0.0.4.
    public func render() -> [UInt8] {
        let (families, lastSize) = state.withLock { ($0.families, $0.lastSize) }
        var text = PrometheusText(reserving: lastSize + lastSize / 8)
        var page = PageState()
        for family in families {
            text.open(family.header)
            family.write(&text, &page)
        }
        let bytes = text.bytes
        state.withLock { $0.lastSize = bytes.count }
        return bytes
    }
}
