// Decides when a partition that has long been without credits is paused in librdkafka, and when it is resumed.

/// Pauses one partition after it has been starved for a dwell time without a break, and resumes it at the high watermark.
///
/// Starved means: free credits below the low watermark. Usually it is enough not to read; a pause drops prefetched messages, which are
/// fetched again, so it must be rare. The dwell time and the gap between the watermarks limit how often a partition is paused. A pause
/// within ``Limits/window`` of the last resume is a flap. Each flap doubles the least time from a resume to the next pause, up to
/// ``Limits/longestHold``; each window without a pause takes one doubling back. So a database that is slow all the time costs about one
/// refetch a window, while the first pause comes after one dwell time. Putting a pause off costs no memory: nothing is read meanwhile,
/// and the prefetch is part of the budget.
public struct PauseDecisionMachine: ~Copyable {
    /// Watermarks and times.
    public struct Limits: Sendable, Equatable {
        /// How long a partition must be starved, nanoseconds.
        public var dwell: UInt64
        /// Starved below this share of the total, 0…1.
        public var low: Double
        /// Resumed at this share of the total, 0…1; not below `low`.
        public var high: Double

        /// Watermarks and times.
        public init(dwell: UInt64, low: Double, high: Double) {
            self.dwell = dwell
            self.low = low
            self.high = Swift.max(low, high)
        }

        /// A pause within this time of the last resume is a flap, nanoseconds.
        public var window: UInt64 { dwell.multipliedReportingOverflow(by: 20).partialValue }
        /// The longest least time from a resume to a pause, nanoseconds: less than the window, so that a further flap is still found.
        public var longestHold: UInt64 { dwell << UInt64(PauseDecisionMachine.mostDoublings) }
    }

    /// What to do with the partition.
    public enum Action: Equatable, Sendable {
        case none, pause, resume
    }

    private enum State: Equatable {
        case running
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

    /// A partition that runs.
    /// - Parameter starvedSince: since when the pipeline was starved before the partition came, monotonic nanoseconds; `nil`: it was not.
    public init(starvedSince: UInt64? = nil) {
        state = starvedSince.map { .starved(since: $0) } ?? .running
    }

    /// Whether the partition is paused for lack of credits.
    public var isPaused: Bool { state == .paused }
    /// Whether the partition was starved when the level was read last.
    public var isStarved: Bool { state != .running }

    /// The account's level was read at `now` (monotonic nanoseconds).
    /// - Parameter wasAvailable: the low watermark was free at some moment since the last reading, which ends a starvation.
    public mutating func levelRead(
        free: Credits, total: Credits, wasAvailable: Bool = false, now: UInt64, limits: Limits
    ) -> Action {
        decay(now: now, limits: limits)
        switch state {
        case .running:
            if isStarved(free, total, wasAvailable, limits) { state = .starved(since: now) }
            return .none
        case .starved(let since):
            guard isStarved(free, total, wasAvailable, limits) else {
                state = .running
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
            state = .running
            resumedAt = now
            calmSince = now
            return .resume
        }
    }

    private func isStarved(_ free: Credits, _ total: Credits, _ wasAvailable: Bool, _ limits: Limits) -> Bool {
        !wasAvailable && Self.isBelow(limits.low, free: free, total: total)
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
