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
///
/// `Count` is as narrow as the limit allows, because a client has a window for each policy. The limit is an argument, because many windows
/// share one. Memory that is all zero is an empty window.
struct SlidingWindowMachine<Count: FixedWidthInteger & UnsignedInteger & Sendable>: ~Copyable {
    /// The number of the newest part so far, from the clock's zero.
    private var newest: UInt64 = 0
    /// By part number, modulo their count.
    private var counts = InlineArray<21, Count>(repeating: 0)

    init() {}

    /// The same window with counts of another width. A count that does not fit is the largest one, which no limit of that width exceeds.
    init<Other>(_ other: borrowing SlidingWindowMachine<Other>) {
        newest = other.newest
        for index in 0..<21 { counts[index] = Count(clamping: other.counts[index]) }
    }

    /// How much is admitted now.
    mutating func availableTokens(_ limit: SlidingWindowLimit, at now: UInt64) -> Int {
        advance(limit, now)
        return Swift.max(0, limit.amount - sum)
    }

    /// Nanoseconds until `amount` is admitted, if nothing is spent meanwhile; 0: now; `UInt64.max`: never, it is above the limit. Spends
    /// nothing.
    mutating func retryDelay(for amount: Int, _ limit: SlidingWindowLimit, at now: UInt64) -> UInt64 {
        advance(limit, now)
        let most = limit.amount - Swift.max(0, amount)
        guard most >= 0 else { return .max }
        var left = sum
        guard left > most else { return 0 }
        for age in (UInt64(0)..<21).reversed() where age <= newest {
            left -= Int(counts[Self.index(newest - age)])
            guard left <= most else { continue }
            let instant = Self.start(of: newest - age + 21, limit)
            return instant > now ? instant - now : 0
        }
        return 0
    }

    /// An amount was admitted, also one above what is available.
    mutating func spent(_ amount: Int, _ limit: SlidingWindowLimit, now: UInt64) {
        advance(limit, now)
        add(amount, to: newest)
    }

    /// Puts another limit into force. What was spent stays counted, at its latest possible time, as far back as the old span reached.
    mutating func update(from old: SlidingWindowLimit, to new: SlidingWindowLimit, now: UInt64) {
        advance(old, now)
        guard new.part != old.part else { return }
        let (before, last) = (counts, newest)
        counts = InlineArray(repeating: 0)
        newest = now / new.part
        for age in UInt64(0)..<21 where age <= last {
            let amount = before[Self.index(last - age)]
            guard amount > 0 else { continue }
            // The end of the part it was counted in, or now.
            let latest = Swift.min(now, Self.start(of: last - age + 1, old) - 1) / new.part
            if newest - latest < 21 { add(Int(amount), to: latest) }
        }
    }

    // MARK: Parts

    private static func index(_ part: UInt64) -> Int { Int(truncatingIfNeeded: part % 21) }

    private static func start(of number: UInt64, _ limit: SlidingWindowLimit) -> UInt64 {
        let (instant, isOverflow) = number.multipliedReportingOverflow(by: limit.part)
        return isOverflow ? .max : instant
    }

    /// All counts are within the window once it was advanced.
    private var sum: Int {
        var sum = 0
        for index in 0..<21 { sum &+= Int(truncatingIfNeeded: counts[index]) }
        return sum
    }

    private mutating func add(_ amount: Int, to part: UInt64) {
        // At most 10¹⁷ a part keep the sum of all parts within 64 bits; no limit is that large.
        let index = Self.index(part)
        let sum = Int(counts[index]).addingReportingOverflow(Swift.max(0, amount))
        counts[index] = Count(
            clamping: sum.overflow ? 100_000_000_000_000_000 : Swift.min(sum.partialValue, 100_000_000_000_000_000))
    }

    /// A clock that stands still or goes back changes nothing.
    private mutating func advance(_ limit: SlidingWindowLimit, _ now: UInt64) {
        let part = now / limit.part
        guard part > newest else { return }
        if part - newest < 21 {
            for gone in newest + 1...part { counts[Self.index(gone)] = 0 }
        } else {
            counts = InlineArray(repeating: 0)
        }
        newest = part
    }
}

/// How much a sliding window admits in every interval of a span.
public struct SlidingWindowLimit: Sendable, Equatable {
    /// 1 to 10¹².
    public let amount: Int
    /// Nanoseconds; 1 ms to 30 days.
    public let span: UInt64
    /// Nanoseconds of a part, rounded up: twenty of them cover the span.
    let part: UInt64

    /// Both are clamped to their bounds.
    public init(amount: Int, span: UInt64) {
        self.amount = Swift.min(Swift.max(1, amount), 1_000_000_000_000)
        self.span = Swift.min(Swift.max(1_000_000, span), 30 * 86_400 * 1_000_000_000)
        part = (self.span + 19) / 20
    }
}
