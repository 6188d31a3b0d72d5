// Decides when the load waits because the worker is too far behind, with room between stop and go against flutter.

/// Stop and go by the worker's lag. Times are nanoseconds.
struct BacklogMachine: ~Copyable {
    private let limit: UInt64
    private var waitsSince: UInt64?
    private var lowest: UInt64 = .max
    private var lowestSince: UInt64 = 0

    /// - Parameter limit: events the worker may be behind.
    init(limit: UInt64) { self.limit = limit }

    /// The worker was found so far behind.
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

    /// How long the load has waited without the worker getting any further.
    func stuck(at now: UInt64) -> UInt64 { waitsSince == nil ? 0 : now - lowestSince }
}
