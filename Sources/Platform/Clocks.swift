// Reads the two clocks of the system: monotonic time for durations, wall-clock time for timestamps.

import Glibc

/// Time that never goes back, for measuring how long something takes.
public enum MonotonicClock {
    /// Nanoseconds since an arbitrary moment before the process started (`CLOCK_MONOTONIC`).
    public static func nanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
    }
}

/// The time of day, which an operator or NTP may set back.
public enum WallClock {
    /// Milliseconds since 1970-01-01T00:00:00Z (`CLOCK_REALTIME`), the unit of Kafka's timestamps.
    public static func milliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) &* 1_000 &+ Int64(now.tv_nsec) / 1_000_000
    }
}

extension Duration {
    /// Whole nanoseconds, from 0 (also for a negative duration) to `Int64.max` (292 years), so it fits `Int64` too.
    public var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, sumOverflow) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return UInt64(overflow || sumOverflow ? .max : sum)
    }

    /// Whole milliseconds, rounded up; 0 for a negative duration.
    public var milliseconds: Int64 { Int64((nanoseconds + 999_999) / 1_000_000) }

    /// Seconds with a fraction; 0 for a negative duration.
    public var inSeconds: Double { Double(nanoseconds) / 1e9 }
}
