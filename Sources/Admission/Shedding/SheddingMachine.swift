// Decides which share of the requests is shed, so that the ingress does not admit more than the pipeline can apply.

/// Linear load shedding with hysteresis for each cause; the cause with the largest share counts. Pure; times in monotonic nanoseconds.
///
/// The share is that of Random Early Detection (Floyd and Jacobson, 1993) without its random draw and its average: 0 up to the threshold
/// (`start`), 1 from twice the threshold on (`full`), linear in between. So a backlog that is not drained approaches twice the threshold and
/// never reaches it: d(lag)/dt = arrival rate · (1 − share).
///
/// The hysteresis is a backlash (play operator): while a level rises, the share follows the line from `start` to `full`; while it falls, the
/// parallel line from `low`, half a threshold lower; in between the share does not change. So noise of less than half a threshold has no
/// effect, and the share never jumps.
///
/// The share rises at once. It falls from 1 to 0 in ``recovery`` seconds at least: a lag in seconds can fall by a minute with one
/// transaction, an unknown level falls at once, and waiting clients must not all be admitted together.
struct SheddingMachine: ~Copyable {
    /// The least time in which the share falls from 1 to 0, seconds.
    static let recovery = 5.0

    private var shares = [Double](repeating: 0, count: SheddingCause.allCases.count)
    private var last: UInt64?

    /// The levels at `now` were read.
    ///
    /// An unknown level sheds nothing: its share falls over ``recovery``. The share of a cause that is turned off falls at once.
    /// - Returns: how requests are shed until the next call.
    mutating func levelsRead(_ levels: SheddingLevels, now: UInt64, limits: SheddingLimits) -> SheddingDecision {
        let elapsed = last.map { now > $0 ? Double(now - $0) / 1e9 : 0 } ?? 0
        last = Swift.max(now, last ?? now)
        var most: SheddingCause?
        var wait = 0.0
        for cause in SheddingCause.allCases {
            guard let threshold = limits.threshold(of: cause) else {
                shares[cause.rawValue] = 0
                continue
            }
            let level = levels[cause]
            let share = Self.share(level, threshold, from: shares[cause.rawValue], elapsed: elapsed)
            shares[cause.rawValue] = share
            guard share > 0 else { continue }
            wait = Swift.max(wait, Self.wait(level, threshold, share: share, longest: limits.longestRetry))
            if most.map({ share > shares[$0.rawValue] }) ?? true { most = cause }
        }
        guard let most else { return .admitAll }
        let seconds = Swift.min(Swift.max(1, wait.rounded(.up)), limits.longestRetry.rounded(.up))
        return SheddingDecision(share: shares[most.rawValue], cause: most, retryAfter: Int(seconds))
    }

    /// The share of one cause.
    func share(of cause: SheddingCause) -> Double { shares[cause.rawValue] }

    private static func share(_ level: SheddingLevel?, _ threshold: SheddingThreshold, from before: Double, elapsed: Double)
        -> Double
    {
        let wanted = level.map { Swift.max(threshold.rising($0.level), Swift.min(before, threshold.falling($0.level))) } ?? 0
        return Swift.max(wanted, before - elapsed / recovery)
    }

    /// Retry-After in seconds: max(share · recovery, (level − low) / fall).
    private static func wait(_ level: SheddingLevel?, _ threshold: SheddingThreshold, share: Double, longest: Double) -> Double {
        let following = share * recovery
        guard let level, level.level > threshold.low else { return following }
        guard level.fall > 0 else { return longest }
        return Swift.max(following, (level.level - threshold.low) / level.fall)
    }
}
