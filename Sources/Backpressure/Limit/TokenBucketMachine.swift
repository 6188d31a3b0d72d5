// Decides how much a rate limit allows now: a token bucket in exact arithmetic, as pure state.

/// A token bucket: tokens are added at a rate, up to `burst`, and each use takes some out.
///
/// ```
/// level(t) = min(burst, level(t₀) + rate · (t − t₀))
/// ```
///
/// A use of `n` tokens is allowed when `min(n, burst)` of them are there, and takes all `n`: one larger than the bucket is allowed when the
/// bucket is full and leaves a debt, which the rate pays before the next use. So in every span of `w` seconds at most `burst + rate · w`
/// tokens are used, and beyond that at most what the last use took more than it found.
///
/// The level is kept in 10⁻¹⁵ tokens (millionths of a token per second, times nanoseconds) as a 128-bit integer: nothing is rounded,
/// however often the bucket is asked. A change of the limit keeps the level and never refills; a smaller burst cuts it.
public struct TokenBucketMachine: ~Copyable {
    /// Rate and size of a bucket.
    public struct Limit: Sendable, Equatable {
        /// Tokens per second, to the millionth; 0: none are added. At most 10¹².
        public let rate: Double
        /// Tokens the bucket holds; at least 1, at most 10¹².
        public let burst: Int

        /// Rate and size of a bucket, both clamped to their bounds.
        public init(rate: Double, burst: Int) {
            self.rate = Swift.min(Swift.max(0, rate), 1e12)
            self.burst = Swift.min(Swift.max(1, burst), 1_000_000_000_000)
        }

        /// Millionths of a token per second.
        fileprivate var microRate: Int128 { Int128((rate * 1e6).rounded()) }
        fileprivate var capacity: Int128 { Int128(burst) * TokenBucketMachine.token }
    }

    /// One token, in the unit of the level.
    fileprivate static let token: Int128 = 1_000_000_000_000_000

    /// The limit in force.
    public private(set) var limit: Limit
    private var level: Int128
    private var updated: UInt64

    /// A bucket at the monotonic instant `now`, nanoseconds.
    /// - Parameter isFull: false: empty, for a limit that is set while it is in use already.
    public init(_ limit: Limit, isFull: Bool = true, now: UInt64) {
        self.limit = limit
        level = isFull ? limit.capacity : 0
        updated = now
    }

    /// Whole tokens that are there; below 0: a debt, rounded away from 0.
    public mutating func availableTokens(at now: UInt64) -> Int {
        refill(now)
        let (whole, rest) = level.quotientAndRemainder(dividingBy: Self.token)
        return Int(clamping: rest < 0 ? whole - 1 : whole)
    }

    /// Nanoseconds until `amount` tokens may be used; 0: now; `UInt64.max`: never. Takes nothing: with several limits all are asked before
    /// any is charged.
    public mutating func retryDelay(for amount: Int, at now: UInt64) -> UInt64 {
        refill(now)
        let missing = Int128(Swift.min(Swift.max(0, amount), limit.burst)) * Self.token - level
        guard missing > 0 else { return 0 }
        guard limit.microRate > 0 else { return .max }
        return UInt64(clamping: (missing + limit.microRate - 1) / limit.microRate)
    }

    /// Tokens were used, whether they were there or not; what was lacking is a debt.
    public mutating func spent(_ amount: Int, now: UInt64) {
        refill(now)
        // A debt of 10¹⁸ tokens is never paid anyhow; the bound keeps the arithmetic within 128 bits.
        level = Swift.max(level - Int128(Swift.max(0, amount)) * Self.token, -1_000_000_000_000_000_000 * Self.token)
    }

    /// Changes the limit. Tokens until `now` are added at the old rate.
    public mutating func update(_ limit: Limit, now: UInt64) {
        refill(now)
        self.limit = limit
        level = Swift.min(level, limit.capacity)
    }

    /// A clock that does not advance adds nothing.
    private mutating func refill(_ now: UInt64) {
        guard now > updated else { return }
        level = Swift.min(limit.capacity, level + limit.microRate * Int128(now - updated))
        updated = now
    }
}
