// Owns how long a record may wait for another row, by what former waits for the same constraint have led to.

/// Bounds the share of time that records spend waiting in vain. Pure; times and durations in nanoseconds.
///
/// The first record that a constraint refuses may wait for the whole timeout. If that led to a dead letter, later ones of the same
/// constraint wait for at most a quarter of the time since, and not at all as long as that is less than ``leastWait``. After a second wait
/// in vain it is an eighth, and from the third on a sixteenth. So at most a fifth of the time is spent waiting, and a seventeenth where no
/// row ever comes, however many records are refused for good. Where waits have also ended well of late, a wait may take four times as long
/// as they took.
struct ConstraintHistory {
    private struct Entry {
        /// When the last wait that led to a dead letter ended.
        var failed: UInt64?
        /// Waits that led to dead letters since the last that did not. Those of several partitions at the same time are one.
        var vain = 0
        /// When the last wait after which the record could be applied ended, and how long such waits take.
        var succeeded: (at: UInt64, took: UInt64)?
        /// A wait may take the time since ``failed``, divided by this.
        var divisor: UInt64 { 4 << UInt64(min(max(vain, 1), 3) - 1) }
    }

    /// How long a wait that ended well is taken into account, in timeouts.
    private static let remembered: UInt64 = 10

    /// Below this, claiming the partition again would cost more than the wait.
    private static let leastWait: UInt64 = 500_000_000

    private var entries: [String: Entry] = [:]

    /// How long a wait for a constraint that begins now may take, beside the timeout; 0: a refused record is a dead letter at once.
    func longestWait(for constraint: String, from now: UInt64, timeout: UInt64) -> UInt64 {
        guard let entry = entries[constraint], let failed = entry.failed else { return .max }
        var longest = now > failed ? (now - failed) / entry.divisor : 0
        if longest < Self.leastWait { longest = 0 }
        if let good = entry.succeeded, now < good.at + Self.remembered * timeout { longest = max(longest, good.took * 4) }
        return longest
    }

    /// The constraints for which a wait that begins now may take no time.
    func constraintsWithoutWait(from now: UInt64, timeout: UInt64) -> Set<String> {
        if entries.isEmpty { return [] }
        return Set(entries.keys.filter { longestWait(for: $0, from: now, timeout: timeout) == 0 })
    }

    /// A wait has led to a dead letter. Finding its record may have taken as long as it may wait.
    mutating func waitFailed(_ constraint: String, since: UInt64, at now: UInt64, timeout: UInt64) {
        // Failures this old no longer shorten a wait.
        entries = entries.filter { _, entry in
            entry.failed.map { now < $0 + entry.divisor * timeout } == true
                || entry.succeeded.map { now < $0.at + Self.remembered * timeout } == true
        }
        var entry = entries[constraint] ?? Entry()
        if entry.failed.map({ since >= $0 }) ?? true { entry.vain += 1 }
        entry.failed = now
        entries[constraint] = entry
    }

    /// A record could be applied after it had waited.
    mutating func waitSucceeded(_ constraint: String, after waited: UInt64, at now: UInt64) {
        var entry = entries[constraint] ?? Entry()
        entry.succeeded = (now, max(waited, (entry.succeeded?.took ?? 0) / 2))
        entry.vain = 0
        entries[constraint] = entry
    }
}
