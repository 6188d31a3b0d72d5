// Decides how much a sliding window admits: a hard limit, from counts of parts of the window.

/// A sliding window: at most `amount` is admitted in every interval of length `span`, wherever it begins. Pure; times in monotonic
/// nanoseconds.
///
/// Time is divided into parts of a twentieth of the span. Amounts are counted by part, and a part counts as a whole as long as any moment of
/// it lies within the span:
///
/// ```
/// counted(t) = sum of the parts ⌊t / part⌋ − 20 … ⌊t / part⌋ ≥ what was admitted in [t − span, t]
/// ```
///
/// So an amount stops counting after between 1 and 21/20 of a span: never more than `amount` is admitted in a span, and nothing is refused
/// that would fit the last 1.05 spans. A sliding window of two counters with an estimate between them needs less memory, but admits up to
/// twice the amount.
public struct SlidingWindowMachine: ~Copyable {
    /// Parts of a span.
    public static let parts = 20
    /// Counters: a span overlaps one part more than it has.
    private static let counters = 21

    /// How much is admitted in every interval of a span.
    public struct Limit: Sendable, Equatable {
        /// 1 to 10¹².
        public let amount: Int
        /// Nanoseconds; 1 ms to 30 days.
        public let span: UInt64

        /// Both are clamped to their bounds.
        public init(amount: Int, span: UInt64) {
            self.amount = Swift.min(Swift.max(1, amount), 1_000_000_000_000)
            self.span = Swift.min(Swift.max(1_000_000, span), 30 * 86_400 * 1_000_000_000)
        }

        /// Nanoseconds of a part, rounded up: twenty of them cover the span.
        fileprivate var part: UInt64 { (span + UInt64(SlidingWindowMachine.parts) - 1) / UInt64(SlidingWindowMachine.parts) }
    }

    /// The limit in force.
    public private(set) var limit: Limit
    /// The number of the newest part so far, from the clock's zero.
    private var newest: UInt64
    private var sum = 0
    /// By part number, modulo their count.
    private var counts = InlineArray<21, Int>(repeating: 0)

    /// An empty window.
    public init(_ limit: Limit, now: UInt64) {
        self.limit = limit
        newest = now / limit.part
    }

    /// How much is admitted now.
    public mutating func availableTokens(at now: UInt64) -> Int {
        advance(now)
        return Swift.max(0, limit.amount - sum)
    }

    /// Nanoseconds until `amount` is admitted, if nothing is spent meanwhile; 0: now; `UInt64.max`: never, it is above the limit. Spends
    /// nothing.
    public mutating func retryDelay(for amount: Int, at now: UInt64) -> UInt64 {
        advance(now)
        let wanted = Swift.max(0, amount)
        guard wanted <= limit.amount else { return .max }
        let most = limit.amount - wanted
        return sum <= most ? 0 : wait(untilAtMost: most, now: now)
    }

    /// An amount was admitted, also one above what is available.
    public mutating func spent(_ amount: Int, now: UInt64) {
        advance(now)
        add(amount, to: newest)
    }

    /// Puts another limit into force. What was spent stays counted, at its latest possible time, as far back as the old span reached.
    public mutating func update(_ limit: Limit, now: UInt64) {
        advance(now)
        let (old, last) = (self.limit.part, newest)
        self.limit = limit
        guard limit.part != old else { return }
        var before = InlineArray<21, Int>(repeating: 0)
        swap(&before, &counts)
        sum = 0
        newest = now / limit.part
        for age in UInt64(0)..<UInt64(Self.counters) where age <= last {
            let amount = before[Self.index(last - age)]
            guard amount > 0 else { continue }
            // The end of the part it was counted in, or now.
            let latest = Swift.min(now, Self.start(of: last - age + 1, part: old) - 1) / limit.part
            if newest - latest < Self.counters { add(amount, to: latest) }
        }
    }

    // MARK: Parts

    private static func index(_ part: UInt64) -> Int { Int(truncatingIfNeeded: part % UInt64(counters)) }

    private static func start(of number: UInt64, part: UInt64) -> UInt64 {
        let (instant, isOverflow) = number.multipliedReportingOverflow(by: part)
        return isOverflow ? .max : instant
    }

    private mutating func add(_ amount: Int, to part: UInt64) {
        // At most 10¹⁷ a part keep the sum of all parts within 64 bits; no limit is that large.
        let index = Self.index(part)
        let added = Swift.min(Swift.max(0, amount), 100_000_000_000_000_000 - counts[index])
        counts[index] += added
        sum += added
    }

    /// Nanoseconds until the sum is at most `most`, as old parts stop counting.
    private func wait(untilAtMost most: Int, now: UInt64) -> UInt64 {
        var left = sum
        for age in (UInt64(0)..<UInt64(Self.counters)).reversed() where age <= newest {
            left -= counts[Self.index(newest - age)]
            guard left <= most else { continue }
            let instant = Self.start(of: newest - age + UInt64(Self.counters), part: limit.part)
            return instant > now ? instant - now : 0
        }
        return 0
    }

    /// A clock that stands still or goes back changes nothing.
    private mutating func advance(_ now: UInt64) {
        let part = now / limit.part
        guard part > newest else { return }
        defer { newest = part }
        guard sum > 0 else { return }
        guard part - newest < Self.counters else {
            counts = InlineArray(repeating: 0)
            sum = 0
            return
        }
        for gone in newest + 1...part {
            let index = Self.index(gone)
            sum -= counts[index]
            counts[index] = 0
        }
    }
}
