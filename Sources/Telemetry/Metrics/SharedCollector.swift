// Several metrics of one page that are computed from one state, taken once a page.

/// Metrics that are computed from one state. It is taken once for each rendered page, so that the figures of a page are consistent.
///
/// The registry keeps the closures, which must not capture the registry strongly.
public final class SharedCollector<State: Sendable>: Sendable {
    private let registry: MetricsRegistry
    private let take: @Sendable () -> State

    init(registry: MetricsRegistry, take: @escaping @Sendable () -> State) {
        self.registry = registry
        self.take = take
    }

    /// A metric whose series are computed at each scrape from the page's state. See ``MetricsRegistry/collector(_:type:help:_:)``.
    public func family(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink, State) -> Void
    ) {
        let owner = ObjectIdentifier(self)
        let take = self.take
        registry.collect(name, type: type, help: help) { sink, page in body(&sink, page.state(of: owner, take)) }
    }
}

/// The states taken for one page.
struct PageState {
    private var states: [ObjectIdentifier: any Sendable] = [:]

    /// The state of one collector, which is taken by the first call.
    mutating func state<State: Sendable>(of owner: ObjectIdentifier, _ take: () -> State) -> State {
        // In two steps, because a missing entry could be cast to the nil of an optional `State`.
        if let known = states[owner], let state = known as? State { return state }
        let taken = take()
        states[owner] = taken
        return taken
    }
}
