// Decides in which order the partitions are visited, so that each has its turn where there is less than all could take.

/// One round over the slots of an assignment. The next round begins behind the last slot that was served; where none was, where this
/// one began. Beginning one further each round would do as long as all are served; where only some are, the rounds and what there is
/// to share out can fall into step, and the same partitions would go away empty each time.
struct RoundRobinMachine: ~Copyable {
    /// Where the next round begins.
    private(set) var first: Int
    private let count: Int
    private let start: Int
    private var step = 0

    /// A round over `count` slots, beginning with `first`; one that is not there begins with 0.
    init(first: Int, count: Int) {
        start = first < count ? first : 0
        self.first = start
        self.count = count
    }

    /// The next slot to visit; `nil` at the end of the round.
    mutating func next() -> Int? {
        guard step < count else { return nil }
        defer { step += 1 }
        return (start + step) % count
    }

    /// Records were read from a slot.
    mutating func served(_ slot: Int) { first = (slot + 1) % count }
}
