// Collects what a comparison found wrong: how often, and the first few by name.

/// Differences of one kind.
struct Findings: Sendable, Equatable {
    /// How many are named.
    static let named = 10
    /// What they have in common, as a report says it: `rows missing`.
    let title: String
    /// How many there are.
    private(set) var count = 0
    /// The first ones, without any payload.
    private(set) var examples: [String] = []

    /// No difference yet.
    init(_ title: String) { self.title = title }

    /// Notes one difference.
    mutating func add(_ example: @autoclosure () -> String) {
        count += 1
        if examples.count < Self.named { examples.append(example()) }
    }

    /// `3 rows missing: message_id 4, message_id 9, …`
    var line: String {
        "\(count) \(title): " + examples.joined(separator: ", ") + (count > examples.count ? ", …" : "")
    }
}
