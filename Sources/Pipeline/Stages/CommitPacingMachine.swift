// Decides when a lane that has just written begins its next transaction.

import Backpressure

/// A lane's rest between small transactions: half as long as the last one took.
///
/// A transaction costs about the same whether it carries one row or fifty. A lane that writes whatever has arrived the moment it is free
/// spends that cost hundreds of times a second on a handful of rows each, and takes the processor from those who produce the rows. With
/// the rest at most two thirds of a lane's time go into small transactions, the busier the server the fewer of them there are, and a record
/// waits no longer than it would have behind a transaction that was under way. Whoever finds the lane rested is written at once, and a
/// quarter of a full transaction, in records or bytes, waits for nothing.
struct CommitPacingMachine: ~Copyable {
    /// Longest rest, nanoseconds: after a slow transaction the next one is not put off for as long again.
    static let longest: UInt64 = 10_000_000

    private var restsUntil: UInt64 = 0

    /// A transaction has ended, however it ended.
    mutating func ended(started: UInt64, now: UInt64) {
        restsUntil = now + Swift.min(Self.longest, now > started ? (now - started) / 2 : 0)
    }

    /// The lane is free and something waits. Answers until when it rests; `nil`: write now.
    /// - Parameters:
    ///   - waiting: what waits.
    ///   - limit: what a transaction carries at most.
    func rest(waiting: Credits, limit: Credits, now: UInt64) -> UInt64? {
        let isSmall = waiting.records < (limit.records + 3) / 4 && waiting.bytes < (limit.bytes + 3) / 4
        return isSmall && now < restsUntil ? restsUntil : nil
    }
}
