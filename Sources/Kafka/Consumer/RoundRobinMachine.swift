// Decides in which order partitions are visited, so that all get an equal part of a limited allowance.

/// One round over the slots of an assignment. The next round starts after the slot that was served last; where none was, at the
/// same slot as this one. Starting one slot further each round would be fair only while every slot is served: a rate limit that
/// serves one slot every few rounds can otherwise keep step with the rounds and serve the same slots each time.
struct RoundRobinMachine: ~Copyable {
    /// The slot at which the next round starts.
    private(set) var first: Int
    private let count: Int
    private let start: Int
    private var step = 0

    /// A round over `count` slots that starts at `first`, or at 0 where there is no such slot.
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
