// Samples of a run, one a second, and the progress line.

/// The run at one moment.
struct Sample: Sendable, Codable, Equatable {
    /// Seconds since the start.
    let seconds: Double
    /// Events issued so far.
    let produced: UInt64
    /// Events acknowledged so far, including bad ones with the expected outcome.
    let acknowledged: UInt64
    /// Acknowledged a second since the last sample.
    let rate: Double
    /// The worker's lag in events; `nil` if it is not known.
    let lag: UInt64?
    /// Errors so far.
    let errors: UInt64
    /// Responses 429 and 503 so far.
    let refused: UInt64

    /// `  12.0 s  produced 240000  acknowledged 239871  19998/s  lag 1250  errors 0`
    var line: String {
        "\(fixed(seconds, 1)) s  produced \(produced)  acknowledged \(acknowledged)  \(Int(rate))/s"
            + (lag.map { "  lag \($0)" } ?? "") + (refused > 0 ? "  refused \(refused)" : "") + "  errors \(errors)"
    }
}

/// Takes a sample each second.
struct ProgressMachine: ~Copyable {
    /// All samples so far.
    private(set) var samples: [Sample] = []
    private let start: UInt64
    private var next: UInt64
    private var last: (at: UInt64, acknowledged: UInt64)

    /// - Parameter start: nanoseconds.
    init(start: UInt64) {
        self.start = start
        next = start + 1_000_000_000
        last = (start, 0)
    }

    /// Whether a second has passed since the last sample.
    func isDue(at now: UInt64) -> Bool { now >= next }

    /// Takes a sample.
    mutating func sampled(issued: UInt64, counts: EventCounts, lag: UInt64?, at now: UInt64) -> Sample {
        let acknowledged = counts.acknowledged + counts.bad
        let rate = now > last.at ? Double(acknowledged - last.acknowledged) * 1e9 / Double(now - last.at) : 0
        let sample = Sample(
            seconds: Double(now - start) / 1e9, produced: issued, acknowledged: acknowledged, rate: rate, lag: lag,
            errors: counts.errors, refused: counts.limited + counts.shed)
        samples.append(sample)
        last = (now, acknowledged)
        while next <= now { next += 1_000_000_000 }
        return sample
    }
}

/// A number with `digits` decimal places.
func fixed(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard value.isFinite, abs(value) * scale < 1e18 else { return "\(value)" }
    let scaled = Int64((abs(value) * scale).rounded())
    let whole = scaled / Int64(scale)
    let rest = String(scaled % Int64(scale))
    return (value < 0 && scaled > 0 ? "-" : "") + "\(whole)"
        + (digits > 0 ? "." + String(repeating: "0", count: digits - rest.count) + rest : "")
}
