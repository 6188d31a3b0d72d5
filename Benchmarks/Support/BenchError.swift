// What goes wrong in a benchmark, as one sentence for a person.

/// A benchmark that cannot go on.
struct BenchError: Error, CustomStringConvertible {
    let description: String
    /// The command line is at fault.
    let isUsage: Bool

    init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}
