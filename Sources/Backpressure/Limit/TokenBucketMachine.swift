// Decides how much a rate limit allows now: a token bucket in exact arithmetic, as one number.

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
/// It is kept as in the generic cell rate algorithm (ITU-T I.371): the theoretical arrival time, at which the bucket would be full again.
/// That time is stored as the tokens which the rate adds until then, `rate · time`, so
///
/// ```
/// level(t) = burst − max(0, arrival − rate · t)        used: arrival = max(arrival, rate · t) + n
/// ```
///
/// The unit is 10⁻¹⁵ tokens (millionths of a token per second, times nanoseconds) in 128 bits: nothing is rounded, however often the bucket
/// is asked. The limit is an argument, because many buckets share one. Memory that is all zero is a full bucket.
public struct TokenBucketMachine: ~Copyable {
    /// Rate and size of a bucket.
    public struct Limit: Sendable, Equatable {
        /// Tokens per second, to the millionth; 0: none are added. At most 10¹².
        public let rate: Double
        /// Tokens the bucket holds; at least 1, at most 10¹².
        public let burst: Int
        /// Millionths of a token per second.
        fileprivate let microRate: Int64

        /// Rate and size of a bucket, both clamped to their bounds.
        public init(rate: Double, burst: Int) {
            self.rate = Swift.min(Swift.max(0, rate), 1e12)
            self.burst = Swift.min(Swift.max(1, burst), 1_000_000_000_000)
            microRate = Int64((self.rate * 1e6).rounded())
        }

        /// What the rate has added since the clock's zero; below 2¹²⁴.
        fileprivate func added(until now: UInt64) -> Int128 { Int128(now) &* Int128(microRate) }
    }

    /// One token, in the unit of the arrival.
    private static let token: Int128 = 1_000_000_000_000_000
    /// A debt of 10¹⁸ tokens is never paid anyhow; the bound keeps the arithmetic within 128 bits.
    private static let mostUsed = 1_000_000_000_000_000_000 * token

    private var arrival: Int128 = 0

    /// A full bucket.
    public init() {}

    /// An empty bucket at `now`, monotonic nanoseconds, for a limit that is set while it is in use already.
    public init(emptyAt now: UInt64, _ limit: Limit) { arrival = limit.added(until: now) + Int128(limit.burst) * Self.token }

    /// What is missing until the bucket is full.
    private func used(_ limit: Limit, _ now: UInt64) -> Int128 { Swift.max(0, arrival - limit.added(until: now)) }

    /// Whole tokens that are there; below 0: a debt, rounded away from 0.
    public func availableTokens(_ limit: Limit, at now: UInt64) -> Int {
        let (whole, rest) = used(limit, now).quotientAndRemainder(dividingBy: Self.token)
        return limit.burst - Int(clamping: rest > 0 ? whole + 1 : whole)
    }

    /// Nanoseconds until `amount` tokens may be used; 0: now; `UInt64.max`: never. Takes nothing: with several limits all are asked before
    /// any is charged.
    public func retryDelay(for amount: Int, _ limit: Limit, at now: UInt64) -> UInt64 {
        let most = Int128(limit.burst - Swift.min(Swift.max(0, amount), limit.burst)) &* Self.token
        let missing = used(limit, now) - most
        guard missing > 0 else { return 0 }
        guard limit.microRate > 0 else { return .max }
        let rate = Int128(limit.microRate)
        return UInt64(clamping: (missing + rate - 1) / rate)
    }

    /// Tokens were used, whether they were there or not; what was lacking is a debt.
    public mutating func spent(_ amount: Int, _ limit: Limit, now: UInt64) {
        let used = Swift.min(used(limit, now) + Int128(Swift.max(0, amount)) &* Self.token, Self.mostUsed)
        arrival = limit.added(until: now) + used
    }

    /// Changes the limit. Tokens until `now` are added at the old rate; the level stays, a smaller burst cuts it.
    public mutating func update(from old: Limit, to new: Limit, now: UInt64) {
        let used = used(old, now) + Int128(new.burst - old.burst) * Self.token
        arrival = new.added(until: now) + Swift.max(0, used)
    }
}
