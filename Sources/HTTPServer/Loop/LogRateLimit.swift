// Decides which messages that clients cause are logged, so that hostile ones cannot fill a log.

/// At most `limit` messages a second. Pure: time is passed in.
public struct LogRateLimit: ~Copyable {
    /// What becomes of a message.
    public enum Action: Equatable {
        /// Log it; `dropped` messages before it were not logged.
        case pass(dropped: Int)
        case drop
    }

    private let limit: Int
    private var second: UInt64 = 0
    private var passed = 0
    private var dropped = 0

    /// - Parameter limit: messages a second.
    public init(limit: Int) { self.limit = limit }

    /// A message is to be logged.
    /// - Parameter now: monotonic nanoseconds.
    public mutating func messageLogged(now: UInt64) -> Action {
        let current = now / 1_000_000_000
        if current != second {
            second = current
            passed = 0
        }
        guard passed < limit else {
            dropped += 1
            return .drop
        }
        passed += 1
        defer { dropped = 0 }
        return .pass(dropped: dropped)
    }
}
