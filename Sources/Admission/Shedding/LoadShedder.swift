// Shares the shedding between whoever looks at the levels and the thread that takes requests.

import Synchronization

/// The machines of shedding behind their locks. While nothing is shed, a request costs one relaxed load.
public final class LoadShedder: Sendable {
    private struct State: ~Copyable {
        var limits: SheddingLimits
        var sensor = SheddingLevelMachine()
        var machine = SheddingMachine()
        var readings = SheddingLevels()
        var order = SheddingDecision.admitAll
    }

    private struct Meter: ~Copyable {
        var order = SheddingDecision.admitAll
        var machine = RequestSamplerMachine()
    }

    private let state: Mutex<State>
    private let isShedding = Atomic(false)
    /// Apart from the state: a request never waits for a look.
    private let meter = Mutex(Meter())

    /// Nothing is shed until somebody has looked.
    public init(_ limits: SheddingLimits) { state = Mutex(State(limits: limits)) }

    /// Other thresholds hold from the next look on; what is being shed goes on from where it is.
    public func update(_ limits: SheddingLimits) { state.withLock { $0.limits = limits } }

    /// The facts of the moment `now`, monotonic nanoseconds; to be told some times a second.
    @discardableResult
    public func evaluate(_ facts: SheddingInputs, now: UInt64) -> SheddingDecision {
        let order = state.withLock { state in
            state.readings = state.sensor.inputsRead(facts, now: now)
            state.order = state.machine.levelsRead(state.readings, now: now, limits: state.limits)
            return state.order
        }
        meter.withLock { $0.order = order }
        isShedding.store(order.cause != nil, ordering: .relaxed)
        return order
    }

    /// A request has come. `nil`: it is admitted.
    public func admit() -> SheddingRefusal? {
        guard isShedding.load(ordering: .relaxed) else { return nil }
        return meter.withLock { $0.machine.requested($0.order) }
    }

    /// Whether a body that is being read has to wait at `now`, monotonic nanoseconds.
    public func mustPauseReading(at now: UInt64) -> Bool {
        guard isShedding.load(ordering: .relaxed) else { return false }
        return meter.withLock { !$0.order.admitsReading(at: now) }
    }

    /// What is done with requests now.
    public var decision: SheddingDecision { state.withLock { $0.order } }

    /// The level of a cause at the last look; `nil`: not known.
    public func level(of cause: SheddingCause) -> Double? { state.withLock { $0.readings[cause]?.level } }
}
