// Times short work: warmed up, repeated, the median of several measurements.

import Platform

enum Measuring {
    /// Nanoseconds a unit of work takes: the median of five measurements of at least `measurement` nanoseconds each.
    /// - Parameter body: does some work and returns how many units it was.
    static func nanoseconds(measurement: UInt64 = 200_000_000, _ body: () throws -> Int) rethrows -> Double {
        _ = try body()
        var values: [Double] = []
        for _ in 0..<5 {
            let start = MonotonicClock.nanoseconds()
            var units = 0
            var elapsed: UInt64 = 0
            repeat {
                units += try body()
                elapsed = MonotonicClock.nanoseconds() - start
            } while elapsed < measurement
            values.append(Double(elapsed) / Double(units))
        }
        return Runs(values).median
    }

    /// The same for work that waits.
    static func nanoseconds(measurement: UInt64 = 200_000_000, _ body: () async throws -> Int) async rethrows -> Double {
        _ = try await body()
        var values: [Double] = []
        for _ in 0..<5 {
            let start = MonotonicClock.nanoseconds()
            var units = 0
            var elapsed: UInt64 = 0
            repeat {
                units += try await body()
                elapsed = MonotonicClock.nanoseconds() - start
            } while elapsed < measurement
            values.append(Double(elapsed) / Double(units))
        }
        return Runs(values).median
    }
}

/// Keeps the optimizer from removing work whose result is unused.
@inline(never)
func consume<T>(_ value: T) {}
