// Decides whether a dependency may be called: a circuit breaker with a half-open probe, as pure state.

/// A circuit breaker shared by all callers of one dependency.
///
/// Closed: all callers may call. After `threshold` failures in a row it opens: no caller may call until a back-off has passed. Then
/// exactly one caller probes (half-open); its success closes the circuit, its failure opens it for longer.
public struct CircuitBreakerMachine: ~Copyable {
    /// What a caller may do now.
    public enum Admission: Equatable, Sendable {
        /// Call.
        case proceed
        /// Wait until this monotonic instant, nanoseconds, and ask again.
        case wait(until: UInt64)
    }

    /// The circuit's state, for metrics and health.
    public enum State: Int, Sendable {
        case closed = 0
        case halfOpen = 1
        case open = 2
    }

    private var threshold: Int
    private let backoff: Backoff
    private let probeTimeout: UInt64
    private var failuresInRow = 0
    private var openings = 0
    private var openUntil: UInt64 = 0
    private var probeSince: UInt64?

    /// The circuit's state.
    public private(set) var state = State.closed

    /// - Parameters:
    ///   - threshold: failures in a row that open the circuit; at least 1.
    ///   - backoff: how long it stays open, by the number of openings in a row.
    ///   - probeTimeout: nanoseconds after which a probe that has not reported counts as lost and another caller may probe.
    public init(threshold: Int, backoff: Backoff, probeTimeout: UInt64) {
        precondition(threshold >= 1, "a circuit needs a positive threshold")
        self.threshold = threshold
        self.backoff = backoff
        self.probeTimeout = probeTimeout
    }

    /// The threshold was changed. Failures in a row stay counted; an open circuit stays open.
    public mutating func thresholdChanged(to threshold: Int) {
        precondition(threshold >= 1, "a circuit needs a positive threshold")
        self.threshold = threshold
    }

    /// A caller asks whether it may call at `now`, monotonic nanoseconds.
    public mutating func admissionAsked(now: UInt64) -> Admission {
        switch state {
        case .closed:
            return .proceed
        case .open:
            guard now >= openUntil else { return .wait(until: openUntil) }
            state = .halfOpen
            probeSince = now
            return .proceed
        case .halfOpen:
            // Not `now - since`: the caller that probes may have read its clock later than this one.
            if let since = probeSince, now < since + probeTimeout {
                return .wait(until: now + Swift.min(backoff.initial, probeTimeout))
            }
            probeSince = now
            return .proceed
        }
    }

    /// A call succeeded. Returns whether that closed the circuit.
    public mutating func succeeded() -> Bool {
        failuresInRow = 0
        openings = 0
        probeSince = nil
        defer { state = .closed }
        return state != .closed
    }

    /// A call failed at `now` because the dependency is out of order. Returns whether that opened the circuit.
    /// - Parameter random: a number in 0..<1, drawn by the caller.
    public mutating func failed(now: UInt64, random: Double) -> Bool {
        failuresInRow += 1
        switch state {
        case .closed where failuresInRow < threshold:
            return false
        case .open:
            // Calls that were under way when it opened.
            return false
        case .closed, .halfOpen:
            state = .open
            probeSince = nil
            openUntil = now + backoff.delay(attempt: openings, random: random)
            openings += 1
            return true
        }
    }
}
