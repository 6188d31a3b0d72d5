// Decides when a lane that has just written begins its next transaction.

import Backpressure

/// The pause of a lane between small transactions: half as long as the last one took, and at least the configured interval.
///
/// A transaction costs about the same whether it carries one row or fifty. A lane that writes what has arrived as soon as it is free
/// pays that cost hundreds of times per second for a few rows each, and takes processor time from the producers. With the pause at most
/// two thirds of a lane's time are spent on small transactions, the fewer the busier the server is, and a record waits no longer than it
/// would have for a transaction under way. A record that finds the lane idle for as long is written at once, and so is a quarter of a
/// full transaction, in records or bytes.
struct CommitPacingMachine: ~Copyable {
    /// Longest pause, nanoseconds: after a slow transaction the next one is not delayed by half as much.
    static let longest: UInt64 = 10_000_000

    private var pausedUntil: UInt64 = 0

    /// A transaction has ended, whatever its result.
    /// - Parameter interval: the least pause, nanoseconds.
    mutating func ended(started: UInt64, now: UInt64, interval: UInt64 = 0) {
        pausedUntil = now + Swift.max(interval, Swift.min(Self.longest, now > started ? (now - started) / 2 : 0))
    }

    /// The lane is free and batches wait. Returns when the next transaction may begin; `nil`: now.
    /// - Parameters:
    ///   - waiting: records and bytes that wait.
    ///   - limit: the largest transaction.
    func nextStart(waiting: Credits, limit: Credits, now: UInt64) -> UInt64? {
        let isSmall = waiting.records < (limit.records + 3) / 4 && waiting.bytes < (limit.bytes + 3) / 4
        return isSmall && now < pausedUntil ? pausedUntil : nil
    }
}
