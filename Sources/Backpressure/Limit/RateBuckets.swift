// Owns the pair of buckets that keep one pair of rates, records and bytes a second, either of which may be without a limit.

/// The buckets of one pair of rates. Each holds a tenth of a second's worth, at least one token; half of it is a turn.
struct RateBuckets: ~Copyable {
    /// What a turn takes where nothing is limited.
    static let unlimited = Credits(records: .max, bytes: .max)

    private var records: RateBucket
    private var bytes: RateBucket

    init(_ rates: ConsumeLimits.Rates, isFull: Bool, now: UInt64) {
        records = RateBucket(rates.events, isFull: isFull, now: now)
        bytes = RateBucket(rates.bytes, isFull: isFull, now: now)
    }

    /// What one turn takes.
    var turn: Credits { Credits(records: records.turn, bytes: bytes.turn) }

    /// How long until a turn is there in both units, nanoseconds.
    mutating func retryDelay(at now: UInt64) -> UInt64 { Swift.max(records.retryDelay(at: now), bytes.retryDelay(at: now)) }

    mutating func spent(_ amount: Credits, now: UInt64) {
        records.spent(amount.records, now: now)
        bytes.spent(amount.bytes, now: now)
    }

    mutating func update(_ rates: ConsumeLimits.Rates, now: UInt64) {
        records.update(rates.events, now: now)
        bytes.update(rates.bytes, now: now)
    }

    mutating func availableTokens(at now: UInt64) -> (records: Int?, bytes: Int?) {
        (records.availableTokens(at: now), bytes.availableTokens(at: now))
    }
}

/// One bucket, or none where the rate is 0.
private struct RateBucket: ~Copyable {
    private var bucket: TokenBucketMachine
    private var isLimited: Bool

    init(_ rate: Int, isFull: Bool, now: UInt64) {
        bucket = TokenBucketMachine(Self.limit(rate), isFull: isFull, now: now)
        isLimited = rate > 0
    }

    private static func limit(_ rate: Int) -> TokenBucketMachine.Limit {
        TokenBucketMachine.Limit(rate: Double(rate), burst: rate / 10 + (rate % 10 > 0 ? 1 : 0))
    }

    var turn: Int { isLimited ? Swift.max(1, bucket.limit.burst / 2) : .max }

    mutating func retryDelay(at now: UInt64) -> UInt64 { isLimited ? bucket.retryDelay(for: turn, at: now) : 0 }

    mutating func spent(_ amount: Int, now: UInt64) {
        if isLimited { bucket.spent(amount, now: now) }
    }

    mutating func update(_ rate: Int, now: UInt64) {
        if isLimited, rate > 0 {
            bucket.update(Self.limit(rate), now: now)
        } else {
            // A limit that was not there before begins empty: switching one off and on refills nothing.
            bucket = TokenBucketMachine(Self.limit(rate), isFull: false, now: now)
            isLimited = rate > 0
        }
    }

    mutating func availableTokens(at now: UInt64) -> Int? { isLimited ? bucket.availableTokens(at: now) : nil }
}
