// Reads the monotonic clock and turns durations into the integers C wants.

internal import Glibc

enum MonotonicTime {
    /// Nanoseconds since an arbitrary start; never goes back.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension Duration {
    /// Whole nanoseconds; a duration beyond the range of `Int` (292 years) is cut to it, a negative one to 0.
    var nanoseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflow) = Int(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? Int.max : product.addingReportingOverflow(Int(attoseconds / 1_000_000_000)).partialValue
    }

    /// Whole milliseconds, at least 0, at most what an `Int32` holds.
    var milliseconds: Int32 { Int32(clamping: nanoseconds / 1_000_000) }
}
