// Owns the order in which rows of clients may be evicted: a binary heap by instant.

/// Rows by the instant from which each may be evicted, the earliest first. The instant of an entry may be too early, never too late: the
/// caller checks a row before it evicts it, and postpones the entry otherwise. So a request of a known client need not change the heap.
struct EvictionQueue: ~Copyable {
    struct Entry {
        var instant: UInt64
        var row: UInt32
    }

    private var entries: [Entry] = []

    var first: Entry? { entries.first }

    mutating func push(_ row: Int, at instant: UInt64) {
        entries.append(Entry(instant: instant, row: UInt32(row)))
        var position = entries.count - 1
        while position > 0 {
            let parent = (position - 1) / 2
            guard entries[position].instant < entries[parent].instant else { return }
            entries.swapAt(position, parent)
            position = parent
        }
    }

    mutating func postponeFirst(to instant: UInt64) {
        entries[0].instant = instant
        siftDown()
    }

    mutating func removeFirst() {
        let last = entries.removeLast()
        guard !entries.isEmpty else { return }
        entries[0] = last
        siftDown()
    }

    private mutating func siftDown() {
        var position = 0
        while true {
            let left = 2 * position + 1
            guard left < entries.count else { return }
            let right = left + 1
            let least = right < entries.count && entries[right].instant < entries[left].instant ? right : left
            guard entries[least].instant < entries[position].instant else { return }
            entries.swapAt(position, least)
            position = least
        }
    }
}
