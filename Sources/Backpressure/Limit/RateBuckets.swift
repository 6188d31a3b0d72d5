// Owns the token buckets of one pair of rates, records and bytes per second, either of which may be unlimited.

/// The buckets of one pair of rates. Each holds a tenth of a second's worth, at least one token; half of it is the quantum.
struct RateBuckets: ~Copyable {
    /// The quantum without a limit.
    static let unlimited = Credits(records: .max, bytes: .max)

    private var records: RateBucket
    private var bytes: RateBucket

    init(_ rates: ConsumeLimits.Rates, isFull: Bool, now: UInt64) {
        records = RateBucket(rates.events, isFull: isFull, now: now)
        bytes = RateBucket(rates.bytes, isFull: isFull, now: now)
    }

    /// What one read takes at most.
    var quantum: Credits { Credits(records: records.quantum, bytes: bytes.quantum) }

    /// Nanoseconds until a quantum is there in both units.
    func retryDelay(at now: UInt64) -> UInt64 { Swift.max(records.retryDelay(at: now), bytes.retryDelay(at: now)) }

    mutating func spent(_ amount: Credits, now: UInt64) {
        records.spent(amount.records, now: now)
        bytes.spent(amount.bytes, now: now)
    }

    mutating func update(_ rates: ConsumeLimits.Rates, now: UInt64) {
        records.update(rates.events, now: now)
        bytes.update(rates.bytes, now: now)
    }

    func availableTokens(at now: UInt64) -> (records: Int?, bytes: Int?) {
        (records.availableTokens(at: now), bytes.availableTokens(at: now))
    }
}

/// One bucket, or none where the rate is 0.
private struct RateBucket: ~Copyable {
    private var bucket = TokenBucketMachine()
    private var limit: TokenBucketMachine.Limit
    private var isLimited: Bool

    init(_ rate: Int, isFull: Bool, now: UInt64) {
        limit = Self.limit(rate)
        isLimited = rate > 0
        if !isFull { bucket = TokenBucketMachine(emptyAt: now, limit) }
    }

    private static func limit(_ rate: Int) -> TokenBucketMachine.Limit {
        TokenBucketMachine.Limit(rate: Double(rate), burst: rate / 10 + (rate % 10 > 0 ? 1 : 0))
    }

    var quantum: Int { isLimited ? Swift.max(1, limit.burst / 2) : .max }

    func retryDelay(at now: UInt64) -> UInt64 { isLimited ? bucket.retryDelay(for: quantum, limit, at: now) : 0 }

    mutating func spent(_ amount: Int, now: UInt64) {
        if isLimited { bucket.spent(amount, limit, now: now) }
    }

    mutating func update(_ rate: Int, now: UInt64) {
        let changed = Self.limit(rate)
        if isLimited, rate > 0 {
            bucket.update(from: limit, to: changed, now: now)
        } else {
            // A new limit begins empty: switching one off and on must not refill it.
            bucket = TokenBucketMachine(emptyAt: now, changed)
        }
        limit = changed
        isLimited = rate > 0
    }

    func availableTokens(at now: UInt64) -> Int? { isLimited ? bucket.availableTokens(limit, at: now) : nil }
}
