// Collects differences and errors: how many there are, and the first few.

/// Differences of one kind.
struct Findings: Sendable, Equatable {
    /// How many examples are kept.
    static let named = 10
    /// What they have in common: `rows missing`.
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

/// Errors counted by their text.
struct ErrorCounts: Sendable, Equatable {
    /// How many there are.
    private(set) var count = 0
    private var kinds: [(text: String, count: Int)] = []

    /// Notes one error.
    mutating func add(_ text: String) {
        count += 1
        if let index = kinds.firstIndex(where: { $0.text == text }) {
            kinds[index].count += 1
        } else if kinds.count < Findings.named {
            kinds.append((text, 1))
        }
    }

    /// `100 × Couldn't connect to server`, the most frequent first; texts beyond ``Findings/named`` are counted together.
    var lines: [String] {
        let sorted = kinds.sorted { $0.count > $1.count }
        let others = count - sorted.map(\.count).reduce(0, +)
        return sorted.map { "\($0.count) × \($0.text)" } + (others > 0 ? ["\(others) × something else"] : [])
    }

    /// Kind by kind.
    static func == (a: ErrorCounts, b: ErrorCounts) -> Bool { a.lines == b.lines }
}
