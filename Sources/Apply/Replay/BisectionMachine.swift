// Owns the isolation of refused events: which range of a transaction is written next, and how.

/// Writes a transaction that was refused as a whole, without its refused events. Pure.
///
/// Events are written in sequence, after a savepoint that moves with them. A range known to hold a refused event is never tried whole
/// again: its left half is. A range of at most ``BisectionLimits/suspectEvents`` is replayed sequentially, which isolates the refused
/// events exactly; a refusal in bulk alone makes no dead letter. One refused event among n costs about log2(n / suspectEvents) attempts,
/// k of them k times as many.
struct BisectionMachine: ~Copyable {
    enum Action: Equatable {
        /// Write these events in bulk, with at most so many statements.
        case apply(Range<Int>, atMost: Int)
        /// Replay these events sequentially.
        case replay(Range<Int>)
        /// All events are written or refused.
        case finish
    }

    /// Statements kept for the end: ROLLBACK TO and the replay of a suspect range; a moved savepoint and the replay of everything after
    /// it; the check of the table's version, dead letters and COMMIT.
    private static let reserve = 3 + 4 + 3
    /// Statements that move the savepoint before an attempt.
    private static let savepointMove = 2

    private let count: Int
    private let limits: BisectionLimits
    private let suspectEvents: Int
    /// Events before this one are written or refused.
    private var position = 0
    /// Among the events from ``position`` up to this one at least one is refused; `nil`: unknown.
    private var suspectEnd: Int?
    /// Events of an unknown range to be tried together; `nil`: all that remain.
    private var stride: Int?
    /// Ranges known to hold a refused event so far, the present one included.
    private var suspectRanges = 1
    /// The end of the last range that was replayed.
    private var lastReplayEnd = 0
    private var refusals = 0
    private var remainingStatements: Int
    /// The present range needs more statements in bulk than it may cost.
    private var isTooExpensive = false
    private var replaysRest = false

    /// - Parameters:
    ///   - count: events of the transaction, which has been refused as a whole.
    ///   - spent: statements executed so far.
    init(count: Int, limits: BisectionLimits, spent: Int) {
        self.count = count
        self.limits = limits
        suspectEvents = max(1, limits.suspectEvents)
        suspectEnd = count
        remainingStatements = limits.statements - spent
    }

    /// What to do next.
    var action: Action {
        if position == count { return .finish }
        if replaysRest { return .replay(position..<count) }
        let end = suspectEnd ?? stride.map { min(count, position + $0) } ?? count
        if end - position <= suspectEvents { return .replay(position..<end) }
        let available = remainingStatements - Self.reserve - Self.savepointMove
        // More attempts follow after a half, none after the whole rest.
        let allowance = suspectEnd == nil ? available : available / 3
        if isTooExpensive || allowance < 1 { return .replay(position..<end) }
        return .apply(position..<(suspectEnd == nil ? end : position + (end - position) / 2), atMost: allowance)
    }

    /// Statements have been executed.
    mutating func spent(_ statements: Int) { remainingStatements -= statements }

    /// The range of ``action`` has been written in bulk.
    mutating func applied() {
        guard case .apply(let range, _) = action else { return }
        position = range.upperBound
        // The rest of a suspect range stays suspect.
        if suspectEnd == nil, let stride { self.stride = stride * 2 }
    }

    /// The range of ``action`` was refused in bulk.
    mutating func refused() {
        guard case .apply(let range, _) = action else { return }
        if suspectEnd == nil {
            suspectRanges += 1
            remainingStatements += limits.statementsForMore
        }
        suspectEnd = range.upperBound
    }

    /// The range of ``action`` would need more statements in bulk than it may cost. Halves would need nearly as many.
    mutating func didNotFit() { isTooExpensive = true }

    /// The range of ``action`` has been replayed sequentially, and so many of its events were refused.
    mutating func replayed(refusals found: Int) {
        guard case .replay(let range) = action else { return }
        position = range.upperBound
        // A suspect range counts even where the replay refuses nothing: it was as expensive.
        refusals += suspectEnd == nil ? found : max(1, found)
        suspectEnd = nil
        isTooExpensive = false
        // The next refused event is expected about as far away as this one was from the last.
        if suspectRanges > 1 { stride = max(2 * suspectEvents, position - lastReplayEnd) }
        lastReplayEnd = position
        if refusals >= limits.refusals { replaysRest = true }
    }
}
