// Decides how much may pass a quota of a sliding window: a hard cap, from counts of a few parts of the window, as pure state.

/// A sliding window: in no window of the span, wherever it begins, does more pass than the amount.
///
/// Time is cut into parts of a twentieth of the span. What passed is counted by part, and a part counts in full until no moment of it
/// lies within the span any more:
///
/// ```
/// counted(t) = sum of the parts ⌊t / part⌋ − 20 … ⌊t / part⌋ ≥ what passed in [t − span, t]
/// ```
///
/// The price of the whole oldest part: what has passed is forgotten after one span at least and 21/20 of it at most. So whoever takes all
/// there is as soon as it is there gets between `amount` in 1.05 spans and `amount` in one: nobody is ever admitted beyond the cap, and
/// nobody refused whose last 1.05 spans leave room. (Two counters and an estimate between them cost less memory and let through up to
/// twice the amount.)
public struct SlidingWindowMachine: ~Copyable {
    /// Parts of a span.
    public static let parts = 20
    /// Counters: the parts of a span, and one more, because a span touches that many.
    private static let counters = 21

    /// How much may pass in every window of a span.
    public struct Limit: Sendable, Equatable {
        /// What may pass; 1 to 10¹².
        public let amount: Int
        /// Nanoseconds; 1 ms to 30 days.
        public let span: UInt64

        /// How much may pass in every window of `span` nanoseconds; both are brought within their bounds.
        public init(amount: Int, span: UInt64) {
            self.amount = Swift.min(Swift.max(1, amount), 1_000_000_000_000)
            self.span = Swift.min(Swift.max(1_000_000, span), 30 * 86_400 * 1_000_000_000)
        }

        /// Nanoseconds of a part, rounded up: twenty of them cover the span.
        fileprivate var part: UInt64 { (span + UInt64(SlidingWindowMachine.parts) - 1) / UInt64(SlidingWindowMachine.parts) }
    }

    /// The limit in force.
    public private(set) var limit: Limit
    /// The number of the newest part that was looked at, since the clock's beginning.
    private var newest: UInt64
    private var sum = 0
    /// By part number, modulo their count.
    private var counts = InlineArray<21, Int>(repeating: 0)

    /// An empty window at the monotonic instant `now`, nanoseconds.
    public init(_ limit: Limit, now: UInt64) {
        self.limit = limit
        newest = now / limit.part
    }

    /// Somebody asks how much may pass now.
    public mutating func availableTokens(at now: UInt64) -> Int {
        advance(now)
        return Swift.max(0, limit.amount - sum)
    }

    /// Somebody who wants `amount` asks how long to wait, nanoseconds: 0: pass now; `UInt64.max`: it is more than ever passes. Nothing is
    /// taken. Where nobody else takes anything, `amount` passes after exactly that wait.
    public mutating func retryDelay(for amount: Int, at now: UInt64) -> UInt64 {
        advance(now)
        let wanted = Swift.max(0, amount)
        guard wanted <= limit.amount else { return .max }
        let most = limit.amount - wanted
        return sum <= most ? 0 : wait(untilAtMost: most, now: now)
    }

    /// Somebody asks when nothing will be counted any more if nothing passes: nanoseconds from now.
    public mutating func emptyDelay(at now: UInt64) -> UInt64 {
        advance(now)
        return sum == 0 ? 0 : wait(untilAtMost: 0, now: now)
    }

    /// So much passed, whether there was room for it or not.
    public mutating func spent(_ amount: Int, now: UInt64) {
        advance(now)
        add(amount, to: newest)
    }

    /// The limit was changed. What passed stays counted, at its latest possible time, as far back as the old span reached.
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
            let amount = before[Self.place(last - age)]
            guard amount > 0 else { continue }
            // The end of the part it was counted in, or now.
            let latest = Swift.min(now, Self.start(of: last - age + 1, part: old) - 1) / limit.part
            if newest - latest < Self.counters { add(amount, to: latest) }
        }
    }

    // MARK: Parts

    private static func place(_ part: UInt64) -> Int { Int(truncatingIfNeeded: part % UInt64(counters)) }

    private static func start(of number: UInt64, part: UInt64) -> UInt64 {
        let (instant, isBeyondTime) = number.multipliedReportingOverflow(by: part)
        return isBeyondTime ? .max : instant
    }

    private mutating func add(_ amount: Int, to part: UInt64) {
        // A quintillion stays counted either way; the bound keeps the sum of all parts within 64 bits.
        let place = Self.place(part)
        let added = Swift.min(Swift.max(0, amount), 100_000_000_000_000_000 - counts[place])
        counts[place] += added
        sum += added
    }

    /// How long until old parts have left that many.
    private func wait(untilAtMost most: Int, now: UInt64) -> UInt64 {
        var left = sum
        for age in (UInt64(0)..<UInt64(Self.counters)).reversed() where age <= newest {
            left -= counts[Self.place(newest - age)]
            guard left <= most else { continue }
            let instant = Self.start(of: newest - age + UInt64(Self.counters), part: limit.part)
            return instant > now ? instant - now : 0
        }
        return 0
    }

    /// A clock that stands or goes back changes nothing.
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
            let place = Self.place(gone)
            sum -= counts[place]
            counts[place] = 0
        }
    }
}
