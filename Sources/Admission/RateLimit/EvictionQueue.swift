// Owns the order in which rows of clients may be given to others: a heap by the earliest moment.

/// Rows by the moment from which each may go, the earliest first. A moment may be too early: whoever takes a row looks again, and puts it
/// back with a later one. So nothing has to be done here when a known client asks.
struct EvictionQueue: ~Copyable {
    struct Entry {
        var instant: UInt64
        var row: UInt32
    }

    private var entries: [Entry] = []

    var first: Entry? { entries.first }

    mutating func pushed(_ row: Int, at instant: UInt64) {
        entries.append(Entry(instant: instant, row: UInt32(row)))
        var place = entries.count - 1
        while place > 0 {
            let parent = (place - 1) / 2
            guard entries[place].instant < entries[parent].instant else { return }
            entries.swapAt(place, parent)
            place = parent
        }
    }

    /// The first turned out to be due later.
    mutating func firstPostponed(to instant: UInt64) {
        entries[0].instant = instant
        sink()
    }

    mutating func firstRemoved() {
        let last = entries.removeLast()
        guard !entries.isEmpty else { return }
        entries[0] = last
        sink()
    }

    private mutating func sink() {
        var place = 0
        while true {
            let left = 2 * place + 1
            guard left < entries.count else { return }
            let right = left + 1
            let least = right < entries.count && entries[right].instant < entries[left].instant ? right : left
            guard entries[least].instant < entries[place].instant else { return }
            entries.swapAt(place, least)
            place = least
        }
    }
}
