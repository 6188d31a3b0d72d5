// Owns the levels that shedding is decided from, and its decisions.

/// The level of one cause.
struct SheddingLevel: Sendable, Equatable {
    /// Records, seconds, or a used share, by cause.
    let level: Double
    /// By how much it would fall in a second if nothing was admitted; 0: nothing drains.
    let fall: Double

    /// Infinite values and NaN count as 0.
    init(level: Double, fall: Double) {
        self.level = level.isFinite ? Swift.max(0, level) : 0
        self.fall = fall.isFinite ? Swift.max(0, fall) : 0
    }
}

/// The levels by cause; without an entry a level is unknown.
typealias SheddingLevels = [SheddingCause: SheddingLevel]

/// How requests are shed until the next decision.
public struct SheddingDecision: Sendable, Equatable {
    /// Share of the requests that is refused, 0…1.
    public let share: Double
    /// Why; `nil`: nothing is refused.
    public let cause: SheddingCause?
    /// Retry-After in seconds, without jitter; 0 where nothing is refused.
    public let retryAfter: Int

    /// Nothing is refused.
    public static let admitAll = SheddingDecision(share: 0, cause: nil, retryAfter: 0)

    /// Length of the intervals in which the reading of bodies is admitted or paused, in nanoseconds.
    static let readingInterval: UInt64 = 10_000_000

    /// Whether bodies may be read at `now`, monotonic nanoseconds. Interval n is admitted where frac(n · φ) ≥ share (φ: the golden ratio),
    /// which spreads the admitted share evenly.
    func admitsReading(at now: UInt64) -> Bool {
        let phase = (now / Self.readingInterval &* 0x9E37_79B9_7F4A_7C15) >> 33
        return Int64(phase) >= fixedShare
    }

    /// The share times 2³¹, exact for 0 and 1.
    var fixedShare: Int64 { Int64((share * Double(RequestSamplerMachine.one)).rounded()) }
}

/// A refused request.
public struct SheddingRefusal: Sendable, Equatable {
    /// Why.
    public let cause: SheddingCause
    /// Retry-After in seconds, jitter included.
    public let retryAfter: Int
}
