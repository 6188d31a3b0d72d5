// Decides when the second brake is pulled: pausing a partition that has long been without credits, and letting it go.

/// The second brake of one partition: pause after it has been starved for a dwell time without a break, resume at the high watermark.
///
/// Starved means: free credits below the low watermark. The everyday brake is not to read; a pause throws prefetched messages away
/// and fetches them again, so it must be rare. The gap between the watermarks and the dwell time bound how often it can flap.
public struct BrakeMachine: ~Copyable {
    /// When the brake is pulled and released.
    public struct Limits: Sendable, Equatable {
        /// How long a partition must be starved, nanoseconds.
        public var dwell: UInt64
        /// Starved below this share of the total, 0…1.
        public var low: Double
        /// Released at this share of the total, 0…1; not below `low`.
        public var high: Double

        /// When the brake is pulled and released.
        public init(dwell: UInt64, low: Double, high: Double) {
            self.dwell = dwell
            self.low = low
            self.high = Swift.max(low, high)
        }
    }

    /// What to do with the partition.
    public enum Action: Equatable, Sendable {
        case none, pause, resume
    }

    private enum State: Equatable {
        case released
        case starved(since: UInt64)
        case paused
    }

    private var state = State.released

    /// A released brake.
    public init() {}

    /// Whether the partition is paused by this brake.
    public var isPaused: Bool { state == .paused }

    /// The account's level was read at `now` (monotonic nanoseconds).
    public mutating func levelRead(free: Credits, total: Credits, now: UInt64, limits: Limits) -> Action {
        let isStarved = Self.isBelow(limits.low, free: free, total: total)
        switch state {
        case .released:
            if isStarved { state = .starved(since: now) }
            return .none
        case .starved(let since):
            guard isStarved else {
                state = .released
                return .none
            }
            guard now - since >= limits.dwell else { return .none }
            state = .paused
            return .pause
        case .paused:
            guard !Self.isBelow(limits.high, free: free, total: total) else { return .none }
            state = .released
            return .resume
        }
    }

    private static func isBelow(_ share: Double, free: Credits, total: Credits) -> Bool {
        Double(free.records) < Double(total.records) * share || Double(free.bytes) < Double(total.bytes) * share
    }
}
