// Decides how much a reader may take from one partition at once, so that read rates hold and partitions share them equally.

/// The token buckets of a reader: one for each rate that is limited, of all topics together and of single ones.
///
/// A bucket holds a tenth of a second's worth, at least one token; half of it is the quantum. A partition may read when one quantum is in
/// each bucket that applies to it, and at most that: so batches do not shrink to single records, the next partition finds the other half,
/// and partitions that are visited round robin share a rate equally. A record larger than the quantum passes and leaves a debt of bytes.
///
/// So in every span of `w` seconds at most `rate · w` records and the tenth of a second's worth (or the one) are read; of bytes the same,
/// and what the last record took beyond what was there.
public struct ConsumeLimitMachine: ~Copyable {
    /// Buckets in a box, because neither arrays nor dictionaries hold non-copyable values.
    private final class Topic {
        var buckets: RateBuckets
        init(_ buckets: consuming RateBuckets) { self.buckets = buckets }
    }

    private var all: RateBuckets
    private var topics: [String: Topic]
    private var names: [String] = []
    /// The buckets of each slot's topic.
    private var slots: [Topic?] = []
    private var opening: UInt64?

    /// Whether there is any limit.
    public private(set) var isLimited: Bool

    /// Full buckets at the monotonic instant `now`, nanoseconds.
    public init(_ limits: ConsumeLimits, now: UInt64) {
        isLimited = Self.isLimited(limits)
        all = RateBuckets(limits.all, isFull: true, now: now)
        topics = limits.topics.mapValues { Topic(RateBuckets($0, isFull: true, now: now)) }
    }

    private static func isLimited(_ limits: ConsumeLimits) -> Bool {
        limits.all != ConsumeLimits.Rates() || limits.topics.values.contains { $0 != ConsumeLimits.Rates() }
    }

    /// Partitions were assigned: the topic of each, by slot.
    public mutating func assigned(topics names: [String]) {
        self.names = names
        slots = names.map { topics[$0] }
    }

    /// The reader asks what it may take from a slot now; zero: nothing yet. Units without a limit are `Int.max`.
    public mutating func allowanceAsked(slot: Int, now: UInt64) -> Credits {
        let topic = slots.indices.contains(slot) ? slots[slot] : nil
        let wait = Swift.max(all.retryDelay(at: now), topic?.buckets.retryDelay(at: now) ?? 0)
        guard wait == 0 else {
            let instant = now.addingReportingOverflow(wait)
            opening = Swift.min(opening ?? .max, instant.overflow ? .max : instant.partialValue)
            return .zero
        }
        let (whole, own) = (all.quantum, topic?.buckets.quantum ?? RateBuckets.unlimited)
        return Credits(records: Swift.min(whole.records, own.records), bytes: Swift.min(whole.bytes, own.bytes))
    }

    /// The reader read this from a slot.
    public mutating func spent(slot: Int, _ amount: Credits, now: UInt64) {
        all.spent(amount, now: now)
        if slots.indices.contains(slot) { slots[slot]?.buckets.spent(amount, now: now) }
    }

    /// The reader asks when the first slot that was refused since it last asked may be read: monotonic nanoseconds; `nil`: none was refused.
    public mutating func openingAsked() -> UInt64? {
        defer { opening = nil }
        return opening
    }

    /// Changes the limits. Levels and debts are kept; a new limit begins with an empty bucket.
    public mutating func update(_ limits: ConsumeLimits, now: UInt64) {
        isLimited = Self.isLimited(limits)
        all.update(limits.all, now: now)
        for (name, rates) in limits.topics {
            if let known = topics[name] {
                known.buckets.update(rates, now: now)
            } else {
                topics[name] = Topic(RateBuckets(rates, isFull: false, now: now))
            }
        }
        for name in topics.keys where limits.topics[name] == nil { topics[name] = nil }
        slots = names.map { topics[$0] }
    }

    /// Whole tokens in the buckets: of all topics together, or of one. `nil`: no limit.
    public mutating func availableTokens(topic: String? = nil, at now: UInt64) -> (records: Int?, bytes: Int?) {
        guard let topic else { return all.availableTokens(at: now) }
        return topics[topic]?.buckets.availableTokens(at: now) ?? (nil, nil)
    }
}
