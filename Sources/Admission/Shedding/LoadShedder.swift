// Owns the shedding machines with their locks: one thread evaluates inputs, the loop's thread admits requests.

import Synchronization

/// Load shedding. While nothing is shed, a request costs one relaxed load.
public final class LoadShedder: Sendable {
    private struct State: ~Copyable {
        var limits: SheddingLimits
        var levelMachine = SheddingLevelMachine()
        var machine = SheddingMachine()
        var levels = SheddingLevels()
    }

    private struct Sampler: ~Copyable {
        var decision = SheddingDecision.admitAll
        var machine = RequestSamplerMachine()
    }

    private let state: Mutex<State>
    private let isShedding = Atomic(false)
    /// Has a lock of its own, so that a request never waits for an evaluation.
    private let sampler = Mutex(Sampler())

    /// Nothing is shed before the first ``evaluate(_:now:)``.
    public init(_ limits: SheddingLimits) { state = Mutex(State(limits: limits)) }

    /// Other thresholds apply from the next evaluation on; the shed share is carried over.
    public func update(_ limits: SheddingLimits) { state.withLock { $0.limits = limits } }

    /// Decides how requests are shed from the inputs at `now`, monotonic nanoseconds. Called several times a second.
    @discardableResult
    public func evaluate(_ inputs: SheddingInputs, now: UInt64) -> SheddingDecision {
        let decision = state.withLock { state in
            state.levels = state.levelMachine.inputsRead(inputs, now: now)
            return state.machine.levelsRead(state.levels, now: now, limits: state.limits)
        }
        sampler.withLock { $0.decision = decision }
        isShedding.store(decision.cause != nil, ordering: .relaxed)
        return decision
    }

    /// Decides about a request. `nil`: it is admitted.
    public func admit() -> SheddingRefusal? {
        guard isShedding.load(ordering: .relaxed) else { return nil }
        return sampler.withLock { $0.machine.requested($0.decision) }
    }

    /// Whether bodies must not be read at `now`, monotonic nanoseconds.
    public func mustPauseReading(at now: UInt64) -> Bool {
        guard isShedding.load(ordering: .relaxed) else { return false }
        return sampler.withLock { !$0.decision.admitsReading(at: now) }
    }

    /// The current decision.
    public var decision: SheddingDecision { sampler.withLock { $0.decision } }

    /// The level of a cause at the last evaluation; `nil`: unknown.
    public func level(of cause: SheddingCause) -> Double? { state.withLock { $0.levels[cause]?.level } }
}
