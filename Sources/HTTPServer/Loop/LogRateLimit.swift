// Decides which of libmicrohttpd's messages are passed on, so that hostile clients cannot fill a log.

/// At most `limit` messages a second. Pure: time is passed in.
struct LogRateLimit: ~Copyable {
    enum Verdict: Equatable {
        /// Pass it on; `missed` messages before it were not.
        case pass(missed: Int)
        case drop
    }

    private let limit: Int
    private var second: UInt64 = 0
    private var passed = 0
    private var missed = 0

    init(limit: Int) { self.limit = limit }

    /// - Parameter now: monotonic nanoseconds.
    mutating func messageCame(now: UInt64) -> Verdict {
        let current = now / 1_000_000_000
        if current != second {
            second = current
            passed = 0
        }
        guard passed < limit else {
            missed += 1
            return .drop
        }
        passed += 1
        defer { missed = 0 }
        return .pass(missed: missed)
    }
}
