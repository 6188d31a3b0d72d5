// The figures of a finished run, as JSON and as text.

import Foundation

/// The figures of a run.
struct Summary: Sendable, Codable, Equatable {
    /// Latencies in microseconds, from the time an event was due.
    struct Latency: Sendable, Codable, Equatable {
        let mean, p50, p90, p99, p999, max: Double

        /// `nil` where nothing was acknowledged.
        init?(_ histogram: LatencyHistogram) {
            guard let mean = histogram.mean, let max = histogram.max else { return nil }
            func micros(_ percent: Double) -> Double { Double(histogram.percentile(percent) ?? 0) / 1000 }
            self.mean = mean / 1000
            p50 = micros(50)
            p90 = micros(90)
            p99 = micros(99)
            p999 = micros(99.9)
            self.max = Double(max) / 1000
        }
    }

    /// What the verification found.
    struct Verified: Sendable, Codable, Equatable {
        let isVerified: Bool
        let events, rows, capturedChanges, deadLetters, partitions, uncertainKeys: Int
        let waitedSeconds: Double
        let findings: [String]

        /// The result in the form of the summary.
        init(_ result: VerificationResult) {
            isVerified = result.isVerified
            events = result.events
            rows = result.rows
            capturedChanges = result.captured
            deadLetters = result.deadLetters
            partitions = result.partitions
            uncertainKeys = result.uncertainKeys
            waitedSeconds = result.waitedSeconds
            findings = result.findings
        }
    }

    let target: String
    let seed: UInt64
    let keys: Int
    let keyBase: Int
    /// Target rate in events a second; 0: as fast as possible.
    let targetRate: Double
    /// From the first event to the last response.
    let seconds: Double
    /// How long of that the schedule waited for the worker.
    let heldSeconds: Double
    /// Events that were due and were handed to the sender.
    let produced: UInt64
    let acknowledged, bad, badAccepted, failed, limited, shed, retryAfter, unknown, dropped: UInt64
    /// Good and bad events with the expected outcome, a second.
    let acknowledgedPerSecond: Double
    let latencyMicroseconds: Latency?
    let errors: [String]
    var verification: Verified?
    let samples: [Sample]

    /// The figures of a run whose responses are all there.
    init(
        _ options: Options, produced: UInt64, seconds: Double, heldSeconds: Double, samples: [Sample],
        state: borrowing RunState
    ) {
        let counts = state.counts
        target = options.target.rawValue
        seed = options.seed
        keys = options.keys
        keyBase = options.firstID
        targetRate = options.rate
        self.seconds = seconds
        self.heldSeconds = heldSeconds
        self.produced = produced
        acknowledged = counts.acknowledged
        bad = counts.bad
        badAccepted = counts.badAccepted
        failed = counts.failed
        limited = counts.limited
        shed = counts.shed
        retryAfter = counts.retryAfter
        unknown = counts.unknown
        dropped = counts.dropped
        acknowledgedPerSecond = seconds > 0 ? Double(counts.acknowledged + counts.bad) / seconds : 0
        latencyMicroseconds = Latency(state.latencies)
        errors = state.errors.lines
        self.samples = samples
    }

    /// The lines at the end of a run.
    var text: String {
        var lines = [
            "produced \(produced) events in \(fixed(seconds, 2)) s, acknowledged \(acknowledged) good and \(bad) bad: "
                + "\(Int(acknowledgedPerSecond))/s"
        ]
        if let latency = latencyMicroseconds {
            lines.append(
                "latency from due to acknowledged, ms: median \(fixed(latency.p50 / 1000, 2)), "
                    + "p90 \(fixed(latency.p90 / 1000, 2)), p99 \(fixed(latency.p99 / 1000, 2)), "
                    + "p99.9 \(fixed(latency.p999 / 1000, 2)), longest \(fixed(latency.max / 1000, 2))")
        }
        let others = [
            (badAccepted, "bad events accepted"), (failed, "failed"), (limited, "answered 429"),
            (shed, "answered 503, not written"),
            (unknown, "with an unknown outcome"), (dropped, "dropped unsent"),
        ].filter { $0.0 > 0 }
        if !others.isEmpty { lines.append(others.map { "\($0.0) \($0.1)" }.joined(separator: ", ")) }
        if heldSeconds > 0 { lines.append("waited \(fixed(heldSeconds, 1)) s for the backlog") }
        return (lines + errors).joined(separator: "\n")
    }

    /// The numbers as one JSON object, keys in snake case and in order.
    func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }
}
