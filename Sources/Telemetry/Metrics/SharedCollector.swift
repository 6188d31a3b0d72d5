// Several metrics of one page that are computed from one state, taken once a page.

/// Metrics that are computed from one state. It is taken once for each rendered page, so that the figures of a page are consistent.
///
/// The registry keeps the closures, which must not capture the registry strongly.
public final class SharedCollector<State: Sendable>: Sendable {
    private let registry: MetricsRegistry
    private let source: StateSource<State>

    init(registry: MetricsRegistry, take: @escaping @Sendable () -> State) {
        self.registry = registry
        source = StateSource(take: take)
    }

    /// A metric whose series are computed at each scrape from the page's state. See ``MetricsRegistry/collector(_:type:help:_:)``.
    public func family(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink, State) -> Void
    ) {
        let source = self.source
        registry.collect(name, type: type, help: help) { sink, page in body(&sink, page.state(of: source)) }
    }
}

/// What takes a state. The families of a state share it and keep it alive, so that no other one gets its address.
final class StateSource<State: Sendable>: Sendable {
    let take: @Sendable () -> State
    init(take: @escaping @Sendable () -> State) { self.take = take }
}

/// The states taken for one page.
struct PageState {
    private var states: [ObjectIdentifier: any Sendable] = [:]

    /// The state of a source, which is taken by the first call.
    mutating func state<State: Sendable>(of source: StateSource<State>) -> State {
        // In two steps, because a missing entry could be cast to the nil of an optional `State`.
        if let known = states[ObjectIdentifier(source)], let state = known as? State { return state }
        let taken = source.take()
        states[ObjectIdentifier(source)] = taken
        return taken
    }
}
