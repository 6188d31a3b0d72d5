// Decides which share of the requests is refused, so that what is behind the ingress is not promised more than it can carry.

/// Linear shedding with backlash, one line for each cause; the cause that asks for most counts.
///
/// The law is that of Random Early Detection (Floyd and Jacobson, 1993) without its random draw and its average: nothing is refused up to a
/// threshold, everything from twice the threshold on, and in between a share in proportion. So a backlog that nobody drains comes
/// nearer and nearer to twice the threshold and never there: d(lag)/dt = arrival · (1 − share).
///
/// The hysteresis is backlash (the play operator): while a level rises, the share follows the line from `start` to `full`; while it falls,
/// the line from `low`, half a threshold further down; in between the share stays as it is. So noise of less than half a threshold moves
/// nothing, there is no jump at either end, and who is over the threshold a little is let in again only at the low mark.
///
/// The share rises at once. It falls from 1 to 0 in ``recovery`` seconds at least: an age falls by a minute within one transaction, a level
/// that is not known any more falls at once, and those who wait must not all be let in together.
public struct SheddingMachine: ~Copyable {
    /// The least time from refusing everything to refusing nothing, seconds.
    public static let recovery = 5.0

    private var shares = [Double](repeating: 0, count: SheddingCause.allCases.count)
    private var last: UInt64?

    /// Nothing is refused.
    public init() {}

    /// The levels were read at `now`, monotonic nanoseconds. Answers what to do with requests until the next look.
    ///
    /// A level that is not known asks for nothing: what was refused on account of it is let in again step by step. So does one that is
    /// turned off, at once.
    public mutating func levelsRead(_ readings: SheddingLevels, now: UInt64, limits: SheddingLimits) -> SheddingDecision {
        let elapsed = last.map { now > $0 ? Double(now - $0) / 1e9 : 0 } ?? 0
        last = Swift.max(now, last ?? now)
        var most: SheddingCause?
        var wait = 0.0
        for cause in SheddingCause.allCases {
            guard let band = limits.band(of: cause) else {
                shares[cause.rawValue] = 0
                continue
            }
            let reading = readings[cause]
            let share = Self.share(reading, band, from: shares[cause.rawValue], elapsed: elapsed)
            shares[cause.rawValue] = share
            guard share > 0 else { continue }
            wait = Swift.max(wait, Self.wait(reading, band, share: share, longest: limits.longestRetry))
            if most.map({ share > shares[$0.rawValue] }) ?? true { most = cause }
        }
        guard let most else { return .admitAll }
        let seconds = Swift.min(Swift.max(1, wait.rounded(.up)), limits.longestRetry.rounded(.up))
        return SheddingDecision(share: shares[most.rawValue], cause: most, retryAfter: Int(seconds))
    }

    /// The share refused on account of one cause.
    public func share(of cause: SheddingCause) -> Double { shares[cause.rawValue] }

    private static func share(_ reading: SheddingLevel?, _ band: SheddingThreshold, from before: Double, elapsed: Double)
        -> Double
    {
        let wanted = reading.map { Swift.max(band.rising($0.level), Swift.min(before, band.falling($0.level))) } ?? 0
        return Swift.max(wanted, before - elapsed / recovery)
    }

    /// Seconds until the level is back at the low mark at the measured rate, and the share has followed.
    private static func wait(_ reading: SheddingLevel?, _ band: SheddingThreshold, share: Double, longest: Double) -> Double {
        let following = share * recovery
        guard let reading, reading.level > band.low else { return following }
        guard reading.fall > 0 else { return longest }
        return Swift.max(following, (reading.level - band.low) / reading.fall)
    }
}
