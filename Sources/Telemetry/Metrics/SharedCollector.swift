// Owns the state that several families of one page are read from, taken once a page.

/// Families that all show one state. It is taken once for each rendered page, by the first of them, so that the page agrees with itself
/// and the state's owner is asked once.
///
/// The registry keeps what the closures capture: they must not capture the registry strongly.
public final class SharedCollector<State: Sendable>: Sendable {
    private let registry: MetricsRegistry
    private let take: @Sendable () -> State

    init(registry: MetricsRegistry, take: @escaping @Sendable () -> State) {
        self.registry = registry
        self.take = take
    }

    /// A name whose series are computed at each scrape, from the page's state. See ``MetricsRegistry/collector(_:type:help:_:)``.
    public func family(
        _ name: String, type: MetricType, help: String, _ body: @escaping @Sendable (inout SampleSink, State) -> Void
    ) {
        let owner = ObjectIdentifier(self)
        let take = self.take
        registry.register(
            CollectedFamily(name, type: type, help: help) { sink, page in body(&sink, page.state(of: owner, take)) })
    }
}

/// What has been taken for one page so far.
struct PageState {
    private var states: [ObjectIdentifier: any Sendable] = [:]

    /// The state of one collector: taken now, or already there.
    mutating func state<State: Sendable>(of owner: ObjectIdentifier, _ take: () -> State) -> State {
        // In two steps: where `State` is an optional, a missing entry could be cast to its nil.
        if let known = states[owner], let state = known as? State { return state }
        let taken = take()
        states[owner] = taken
        return taken
    }
}
