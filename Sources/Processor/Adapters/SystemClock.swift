// The clocks of the machine behind the pipeline's port.

import Pipeline
import Platform

/// The machine's monotonic and wall clocks.
struct SystemClock: PipelineClock {
    var now: UInt64 { MonotonicClock.nanoseconds() }
    var wallMilliseconds: Int64 { WallClock.milliseconds() }

    func sleep(until deadline: UInt64) async throws {
        let now = self.now
        if deadline > now {
            try await Task.sleep(nanoseconds: deadline - now)
        } else {
            try Task.checkCancellation()
        }
    }

    func random() -> Double { Double.random(in: 0..<1) }
}
