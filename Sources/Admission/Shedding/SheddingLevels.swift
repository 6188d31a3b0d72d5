// Owns what the shedding decides by: the levels of the moment, and what is ordered on account of them.

/// One level.
public struct SheddingLevel: Sendable, Equatable {
    /// Records, seconds, or the used share of something.
    public let level: Double
    /// By how much it would fall in a second if nothing came in; 0: nothing drains.
    public let fall: Double

    /// One level. What is not a number counts as none.
    public init(level: Double, fall: Double) {
        self.level = level.isFinite ? Swift.max(0, level) : 0
        self.fall = fall.isFinite ? Swift.max(0, fall) : 0
    }
}

/// The levels of all causes; `nil`: not known, which is not zero.
public struct SheddingLevels: Sendable, Equatable {
    private var readings: [SheddingLevel?]

    /// Nothing is known.
    public init() { readings = Array(repeating: nil, count: SheddingCause.allCases.count) }

    /// The level of one cause.
    public subscript(cause: SheddingCause) -> SheddingLevel? {
        get { readings[cause.rawValue] }
        set { readings[cause.rawValue] = newValue }
    }
}

/// What to do with requests until further notice.
public struct SheddingDecision: Sendable, Equatable {
    /// Share of the requests to refuse, 0…1.
    public let share: Double
    /// What they are refused for; `nil`: none is.
    public let cause: SheddingCause?
    /// After how many seconds a refused caller may try again, without jitter; 0 where none is refused.
    public let retryAfter: Int

    /// All are admitted.
    public static let admitAll = SheddingDecision(share: 0, cause: nil, retryAfter: 0)

    /// The time a body that is being read goes on, or waits, in nanoseconds.
    static let slot: UInt64 = 10_000_000

    /// Whether a body that is being read may go on at `now`, monotonic nanoseconds: in slots of 10 ms, the admitted share of which is spread
    /// evenly (multiples of the golden ratio).
    func admitsReading(at now: UInt64) -> Bool {
        let phase = (now / Self.slot &* 0x9E37_79B9_7F4A_7C15) >> 33
        return Int64(phase) >= fixedShare
    }

    /// The share in 2³¹sts, exact at both ends.
    var fixedShare: Int64 { Int64((share * Double(RequestSamplerMachine.one)).rounded()) }
}

/// A request that is refused.
public struct SheddingRefusal: Sendable, Equatable {
    /// What for.
    public let cause: SheddingCause
    /// Whole seconds after which the caller may try again, jitter included.
    public let retryAfter: Int
}
