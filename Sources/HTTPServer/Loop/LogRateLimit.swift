// Decides which messages that clients cause are logged, so that hostile ones cannot fill a log.

/// At most `limit` messages a second. Pure: time is passed in.
public struct LogRateLimit: ~Copyable {
    private let limit: Int
    private var second: UInt64 = 0
    private var passed = 0
    private var dropped = 0

    /// - Parameter limit: messages a second.
    public init(limit: Int) { self.limit = limit }

    /// A message is to be logged.
    /// - Parameter now: monotonic nanoseconds.
    /// - Returns: how many before it were not logged; `nil`: neither is this one.
    public mutating func messageLogged(now: UInt64) -> Int? {
        let current = now / 1_000_000_000
        if current != second { (second, passed) = (current, 0) }
        guard passed < limit else {
            dropped += 1
            return nil
        }
        passed += 1
        defer { dropped = 0 }
        return dropped
    }
}
