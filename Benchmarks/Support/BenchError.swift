// The error that ends a benchmark.

/// Why a benchmark cannot continue, in one sentence.
struct BenchError: Error, CustomStringConvertible {
    let description: String
    /// Whether the command line is wrong.
    let isUsage: Bool

    init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}
