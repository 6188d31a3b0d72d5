// Owns the isolation of refused events: which range of a transaction is written next, and how.

/// Writes a transaction that was refused as a whole, or in which refusals are expected, without its refused events. Pure.
///
/// Events are written in sequence, after a savepoint that moves with them. A range known to hold a refused event is never tried whole
/// again: its left half is. A range of at most ``BisectionLimits/suspectEvents`` is replayed sequentially, which isolates the refused
/// events exactly; a refusal in bulk alone makes no dead letter. One refused event among n costs about log2(n / suspectEvents) attempts,
/// k of them k times as many.
///
/// A range of which nothing is known is written in pieces once refusals are expected in it. They share a round trip, and what precedes the
/// refused piece stays written: so a refusal costs a piece and the search in it, and not everything.
struct BisectionMachine: ~Copyable {
    enum Action: Equatable {
        /// Write these ranges of events in bulk, each after a savepoint of its own and with at most so many statements.
        case apply([Range<Int>], atMost: Int)
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
    /// What a piece needs at least: a round, and two for the events that are in none.
    private static let leastForPiece = 3

    private let count: Int
    private let limits: BisectionLimits
    private let suspectEvents: Int
    /// Events before this one are written or refused.
    private var position = 0
    /// Among the events from ``position`` up to this one at least one is refused; `nil`: unknown.
    private var suspectEnd: Int?
    /// Events of an unknown range to be tried together; `nil`: all that remain.
    private var stride: Int?
    /// Pieces are larger where smaller ones together need too many statements.
    private var mostPieces = Int.max
    /// Ranges known to hold a refused event so far, the present one included.
    private var suspectRanges: Int
    /// The end of the last range that was replayed.
    private var lastReplayEnd = 0
    private var refusals = 0
    private var remainingStatements: Int
    /// The present range needs more statements in bulk than it may cost.
    private var isTooExpensive = false
    private var replaysRest = false

    /// - Parameters:
    ///   - count: events of the transaction.
    ///   - spent: statements executed so far.
    ///   - expected: refused events that it is expected to have; `nil`: it has been refused as a whole.
    init(count: Int, limits: BisectionLimits, spent: Int, expected: Double? = nil) {
        self.count = count
        self.limits = limits
        suspectEvents = max(1, limits.suspectEvents)
        remainingStatements = limits.statements - spent
        suspectRanges = expected == nil ? 1 : 0
        guard let expected else {
            suspectEnd = count
            return
        }
        stride = max(count / limits.pieces, suspectEvents)
        replaysRest = expected >= Double(limits.refusals)
    }

    /// What to do next.
    var action: Action {
        if position == count { return .finish }
        if replaysRest { return .replay(position..<count) }
        let end = suspectEnd ?? count
        if end - position <= suspectEvents { return .replay(position..<end) }
        let available = remainingStatements - Self.reserve
        if suspectEnd != nil {
            // More attempts follow after a half, none after the whole rest.
            let allowance = (available - Self.savepointMove) / 3
            if isTooExpensive || allowance < 1 { return .replay(position..<end) }
            return .apply([position..<position + (end - position) / 2], atMost: allowance)
        }
        let pieces = pieces(position..<end, available)
        let allowance = available / pieces.count - Self.savepointMove
        return isTooExpensive || allowance < 1 ? .replay(pieces[0]) : .apply(pieces, atMost: allowance)
    }

    /// A range of which nothing is known, in pieces of about ``stride`` events, as many as so many statements are enough for.
    private func pieces(_ range: Range<Int>, _ statements: Int) -> [Range<Int>] {
        let wanted = stride.map { (range.count - 1) / $0 + 1 } ?? 1
        let count = max(1, min(wanted, mostPieces, statements / (Self.savepointMove + Self.leastForPiece)))
        func bound(_ piece: Int) -> Int { range.lowerBound + range.count * piece / count }
        return (0..<count).map { bound($0)..<bound($0 + 1) }
    }

    /// Statements have been executed.
    mutating func spent(_ statements: Int) { remainingStatements -= statements }

    /// So many of the ranges of ``action`` have been written in bulk. Where `isRefused`, the next one was refused.
    mutating func applied(_ written: Int, isRefused: Bool) {
        guard case .apply(let ranges, _) = action else { return }
        // The rest of a suspect range stays suspect.
        if written > 0 { position = ranges[written - 1].upperBound }
        guard isRefused else { return }
        if suspectEnd == nil {
            if suspectRanges > 0 { remainingStatements += limits.statementsForMore }
            suspectRanges += 1
        }
        suspectEnd = ranges[written].upperBound
    }

    /// The first range of ``action`` would need more statements in bulk than it may cost. Halves would need nearly as many.
    mutating func didNotFit() {
        guard case .apply(let ranges, _) = action else { return }
        if ranges.count > 1 { mostPieces = ranges.count / 2 } else { isTooExpensive = true }
    }

    /// The range of ``action`` has been replayed sequentially, and so many of its events were refused.
    mutating func replayed(refusals found: Int) {
        guard case .replay(let range) = action else { return }
        position = range.upperBound
        // A suspect range counts even where the replay refuses nothing: it was as expensive.
        refusals += suspectEnd == nil ? found : max(1, found)
        suspectEnd = nil
        isTooExpensive = false
        mostPieces = .max
        // The next refused event is expected about as far away as this one was from the last.
        if suspectRanges > 1 { stride = max(2 * suspectEvents, min(stride ?? .max, position - lastReplayEnd)) }
        lastReplayEnd = position
        if refusals >= limits.refusals { replaysRest = true }
    }
}
