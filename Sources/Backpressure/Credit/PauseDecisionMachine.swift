// Decides when the second brake is pulled: pausing a partition that has long been without credits, and letting it go.

/// The second brake of one partition: pause after it has been starved for a dwell time without a break, resume at the high watermark.
///
/// Starved means: free credits below the low watermark. The everyday brake is not to read; a pause throws prefetched messages away
/// and fetches them again, so it must be rare. The gap between the watermarks and the dwell time bound how often it can flap, and a
/// brake that flaps all the same waits longer each time: a pause that comes within ``Limits/window`` of the last resume is a flap, and
/// each flap doubles the least time from a resume to the next pause, up to ``Limits/longestHold``; each window without a pause takes
/// one doubling back. So a database that is slow for good costs about one refetch a window, while one that stands still once is
/// answered at once. Holding a pause back costs no memory: nothing is read meanwhile, and the prefetch is inside of the budget.
public struct PauseDecisionMachine: ~Copyable {
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

        /// A pause within so long of the last resume is a flap, nanoseconds.
        public var window: UInt64 { dwell.multipliedReportingOverflow(by: 20).partialValue }
        /// The longest time a brake that flaps is held released, nanoseconds: less than the window, so that it can be found again.
        public var longestHold: UInt64 { dwell << UInt64(PauseDecisionMachine.mostDoublings) }
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

    private static let mostDoublings = 4

    private var state: State
    private var resumedAt: UInt64?
    /// How often the dwell is doubled for the least time from a resume to a pause.
    private var doublings = 0
    private var calmSince: UInt64 = 0
    /// Pauses that came soon after a resume.
    public private(set) var flaps = 0

    /// A released brake, or that of a partition whose pipeline was starved before it came.
    /// - Parameter starvedSince: since when, monotonic nanoseconds; `nil`: it was not.
    public init(starvedSince: UInt64? = nil) {
        state = starvedSince.map { .starved(since: $0) } ?? .released
    }

    /// Whether the partition is paused by this brake.
    public var isPaused: Bool { state == .paused }
    /// Whether the partition was without credits when the level was read last.
    public var isStarved: Bool { state != .released }

    /// The account's level was read at `now` (monotonic nanoseconds).
    /// - Parameter hadRoom: the low watermark was free at some moment since the last reading, which breaks a starvation.
    public mutating func levelRead(
        free: Credits, total: Credits, hadRoom: Bool = false, now: UInt64, limits: Limits
    ) -> Action {
        decay(now: now, limits: limits)
        switch state {
        case .released:
            if isStarved(free, total, hadRoom, limits) { state = .starved(since: now) }
            return .none
        case .starved(let since):
            guard isStarved(free, total, hadRoom, limits) else {
                state = .released
                return .none
            }
            guard now >= since + limits.dwell, !isHeld(now: now, limits: limits) else { return .none }
            state = .paused
            if let resumedAt, now - resumedAt < limits.window {
                flaps += 1
                doublings = Swift.min(doublings + 1, Self.mostDoublings)
            }
            calmSince = now
            return .pause
        case .paused:
            guard !Self.isBelow(limits.high, free: free, total: total) else { return .none }
            state = .released
            resumedAt = now
            calmSince = now
            return .resume
        }
    }

    private func isStarved(_ free: Credits, _ total: Credits, _ hadRoom: Bool, _ limits: Limits) -> Bool {
        !hadRoom && Self.isBelow(limits.low, free: free, total: total)
    }

    private func isHeld(now: UInt64, limits: Limits) -> Bool {
        guard let resumedAt else { return false }
        return now < resumedAt + limits.dwell << UInt64(doublings)
    }

    private mutating func decay(now: UInt64, limits: Limits) {
        guard doublings > 0, state != .paused, now >= calmSince + limits.window else { return }
        doublings -= 1
        calmSince = now
    }

    private static func isBelow(_ share: Double, free: Credits, total: Credits) -> Bool {
        Double(free.records) < Double(total.records) * share || Double(free.bytes) < Double(total.bytes) * share
    }
}
