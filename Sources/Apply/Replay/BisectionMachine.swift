// Owns the search for refused events: which range of a transaction is written next, and how.

/// Decides how a transaction that was refused as a whole is written after all. Pure.
///
/// Events are written strictly from front to back, behind a savepoint that moves with them. A range known to hold a refused event
/// is never tried whole again: its left half is, and whether that is refused or not tells where to look on. What is small enough is
/// replayed in order, which finds the refused events for certain; a refusal in bulk alone blames nobody. So one refused event among
/// n costs about log2(n / ``BisectionLimits/suspectEvents``) tries, and k of them k times that.
struct BisectionMachine: ~Copyable {
    enum Action: Equatable {
        /// Try these events in bulk, with at most so many statements.
        case apply(Range<Int>, atMost: Int)
        /// Replay these events in order.
        case replay(Range<Int>)
        /// All events are written or refused.
        case finish
    }

    /// Statements that must be left for the end: back to the savepoint and the replay of a suspect range; a moved savepoint and
    /// the replay of everything behind it; dead letters and COMMIT.
    private static let reserve = 2 + 3 + 2
    /// Statements that move the savepoint before a try.
    private static let moving = 2

    private let count: Int
    private let limits: BisectionLimits
    private let suspectEvents: Int
    /// Events before this one are written or refused.
    private var at = 0
    /// The events from ``at`` up to this one hold one that is refused; `nil`: nothing is known.
    private var suspectEnd: Int?
    /// Events of an unknown range to be tried at once; `nil`: all of them.
    private var stride: Int?
    /// Ranges found to hold a refused event, and the end of the last one that was replayed.
    private var finds = 1
    private var lastFound = 0
    private var refusals = 0
    private var left: Int
    /// The range at hand is too expensive to be tried in bulk.
    private var fitsNoMore = false
    private var isGivingUp = false

    /// - Parameters:
    ///   - count: events of the transaction, which has been refused as a whole.
    ///   - spent: statements it has cost so far.
    init(count: Int, limits: BisectionLimits, spent: Int) {
        self.count = count
        self.limits = limits
        suspectEvents = max(1, limits.suspectEvents)
        suspectEnd = count
        left = limits.statements - spent
    }

    /// What to do now.
    var action: Action {
        if at == count { return .finish }
        if isGivingUp { return .replay(at..<count) }
        let end = suspectEnd ?? stride.map { min(count, at + $0) } ?? count
        if end - at <= suspectEvents { return .replay(at..<end) }
        let available = left - Self.reserve - Self.moving
        // Behind a half more tries will follow, behind the whole rest nothing does.
        let allowance = suspectEnd == nil ? available : available / 3
        if fitsNoMore || allowance < 1 { return .replay(at..<end) }
        return .apply(at..<(suspectEnd == nil ? end : at + (end - at) / 2), atMost: allowance)
    }

    /// Statements have been executed.
    mutating func spent(_ statements: Int) { left -= statements }

    /// The range of ``action`` has been written in bulk.
    mutating func applied() {
        guard case .apply(let range, _) = action else { return }
        at = range.upperBound
        // What is left of a suspect range is suspect still.
        if suspectEnd == nil, let stride { self.stride = stride * 2 }
    }

    /// The range of ``action`` was refused in bulk.
    mutating func refused() {
        guard case .apply(let range, _) = action else { return }
        if suspectEnd == nil {
            finds += 1
            left += limits.statementsForMore
        }
        suspectEnd = range.upperBound
    }

    /// The range of ``action`` would need more statements in bulk than it may cost. Halves would need nearly as many.
    mutating func didNotFit() {
        fitsNoMore = true
    }

    /// The range of ``action`` has been replayed in order, and so many of its events were refused.
    mutating func replayed(refusals found: Int) {
        guard case .replay(let range) = action else { return }
        at = range.upperBound
        // A range in which the replay finds nothing has been as expensive as one in which it does.
        refusals += suspectEnd == nil ? found : max(1, found)
        suspectEnd = nil
        fitsNoMore = false
        // Where refused events keep coming, the next one is expected about as far away as this one was.
        if finds > 1 { stride = max(2 * suspectEvents, at - lastFound) }
        lastFound = at
        if refusals >= limits.refusals { isGivingUp = true }
    }
}
