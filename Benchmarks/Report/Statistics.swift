// The statistics of a list of runs.

/// Measured values.
struct Runs: Codable, Sendable {
    let values: [Double]
    let median: Double
    let lowest: Double
    let highest: Double

    init(_ values: [Double]) {
        precondition(!values.isEmpty, "a median of nothing")
        let sorted = values.sorted()
        let middle = sorted.count / 2
        self.values = values
        median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        lowest = sorted[0]
        highest = sorted[sorted.count - 1]
    }

    /// The median of the ratios of both values of each round, because the machine's speed changes from round to round.
    func ratio(to others: Runs) -> Double { Runs(zip(values, others.values).map { $0 / $1 }).median }
}

extension Double {
    /// With thousands separated, or with three digits if it is small.
    var shown: String {
        let hundredths = Int((self * 100).rounded())
        if hundredths < 1000 { return "\(hundredths / 100).\(String(100 + hundredths % 100).dropFirst())" }
        var text = ""
        for (index, digit) in String(Int(self.rounded())).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(" ") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}
