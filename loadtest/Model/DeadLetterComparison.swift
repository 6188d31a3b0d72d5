// Compares the dead letters of the run's keys with the bad events that were produced, by their coordinates.

/// The position of a record in its topic.
struct Coordinate: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The partition's number.
    let partition: Int32
    /// The position in the partition.
    let offset: Int64

    /// By partition, then by offset.
    static func < (a: Coordinate, b: Coordinate) -> Bool { (a.partition, a.offset) < (b.partition, b.offset) }

    /// `3@1200`
    var description: String { "\(partition)@\(offset)" }
}

/// Compares the expected dead letters with those of the table, both in ascending order.
struct DeadLetterComparison: ~Copyable {
    /// Bad events without a dead letter.
    private(set) var missing = Findings("dead letters missing")
    /// Dead letters of events that were not bad.
    private(set) var extra = Findings("dead letters that should not be there")
    /// Dead letters that agree.
    private(set) var agreeing = 0
    private let expected: [Coordinate]
    private var next = 0

    /// - Parameter expected: the positions of the bad events, in any order.
    init(expected: [Coordinate]) { self.expected = expected.sorted() }

    /// A dead letter with a key of the run.
    mutating func deadLetter(_ coordinate: Coordinate) {
        while next < expected.count, expected[next] < coordinate {
            missing.add("\(expected[next])")
            next += 1
        }
        if next < expected.count, expected[next] == coordinate {
            agreeing += 1
            next += 1
        } else {
            extra.add("\(coordinate)")
        }
    }

    /// There are no more dead letters.
    mutating func finished() {
        while next < expected.count {
            missing.add("\(expected[next])")
            next += 1
        }
    }

    /// What is wrong, by kind.
    var findings: [Findings] { [missing, extra].filter { $0.count > 0 } }
}
