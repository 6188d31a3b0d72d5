// Decides when the load waits because of the worker's lag, with two thresholds against flapping.

/// Stops the load at the limit and lets it continue at three quarters of it. Times are nanoseconds.
struct BacklogMachine: ~Copyable {
    private let limit: UInt64
    private var waitsSince: UInt64?
    private var lowest: UInt64 = .max
    private var lowestSince: UInt64 = 0

    /// - Parameter limit: the worker's lag, in events, at which the load waits.
    init(limit: UInt64) { self.limit = limit }

    /// The worker's lag was read.
    mutating func lagged(_ lag: UInt64, at now: UInt64) -> LoadRound {
        if let since = waitsSince {
            if lag < lowest { (lowest, lowestSince) = (lag, now) }
            guard lag < limit - limit / 4 else { return .wait }
            waitsSince = nil
            return .sendAgain(waitedSince: since)
        }
        guard lag >= limit else { return .send }
        waitsSince = now
        (lowest, lowestSince) = (lag, now)
        return .wait
    }

    /// How long the lag has not fallen while the load waits; 0 while it sends.
    func stuck(at now: UInt64) -> UInt64 { waitsSince == nil ? 0 : now - lowestSince }
}
