// Owns the two questions one can ask the system about time: how long, and when.

import Glibc

/// Time that only moves forward, for measuring how long something took.
public enum MonotonicClock {
    /// Nanoseconds since some fixed moment before the process started (`CLOCK_MONOTONIC`).
    public static func nanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
    }
}

/// The time of day, which an operator or NTP may set backwards.
public enum WallClock {
    /// Milliseconds since 1970-01-01T00:00:00Z (`CLOCK_REALTIME`), the unit of Kafka's timestamps.
    public static func milliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) &* 1_000 &+ Int64(now.tv_nsec) / 1_000_000
    }
}
