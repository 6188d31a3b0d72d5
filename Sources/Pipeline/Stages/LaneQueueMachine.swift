// Decides which batches make up a lane's next transaction, so that a partition with a long queue holds nobody else up.

import Backpressure
import Records

/// What waits at one lane, by partition, each partition in its order.
///
/// A transaction takes the next batch of the partition that has the fewest records in it so far; among equals, of the one that was served
/// longest ago. So a lane's partitions share every transaction equally, as far as they have something to write, and a record that
/// arrives behind another partition's backlog is in the next transaction: it waits for the one under way and no more.
struct LaneQueueMachine<Element>: ~Copyable {
    private struct Item {
        let element: Element
        let cost: Credits
    }

    private struct Line {
        let source: TopicPartition
        // A taken item leaves nil behind: its memory must not live on here.
        var items: [Item?] = []
        var head = 0
        /// Records in the transaction that is being put together.
        var taken = 0
        /// Number of the turn it was served at last.
        var served: UInt64

        init(source: TopicPartition, served: UInt64) {
            self.source = source
            self.served = served
        }

        var next: Item? { head < items.count ? items[head] : nil }

        mutating func drop() {
            items[head] = nil
            head += 1
            guard head == items.count || head >= 64 else { return }
            items.removeFirst(head)
            head = 0
        }
    }

    private var lines: [Line] = []
    private var turn: UInt64 = 0

    /// What waits.
    private(set) var level = Credits.zero

    /// Nothing waits.
    var isEmpty: Bool { level.records == 0 && lines.allSatisfy { $0.next == nil } }

    /// A batch arrived from a partition.
    mutating func arrived(_ element: Element, from source: TopicPartition, cost: Credits) {
        let item = Item(element: element, cost: cost)
        level += cost
        if let index = lines.firstIndex(where: { $0.source == source }) {
            lines[index].items.append(item)
            return
        }
        // Lines of partitions that have gone are few; they go when a new one comes.
        lines.removeAll { $0.next == nil }
        // As if it had been served just now: one that comes and goes must not overtake those who wait each time.
        var line = Line(source: source, served: turn)
        line.items.append(item)
        lines.append(line)
    }

    /// The lane is free: what it writes next, within `limit`; at least one batch where any waits.
    mutating func laneFreed(limit: Credits) -> [Element] {
        for index in lines.indices { lines[index].taken = 0 }
        var elements: [Element] = []
        var room = limit
        while room.isPositive, let index = leastServed(), let item = lines[index].next {
            guard elements.isEmpty || room.covers(item.cost) else { break }
            turn += 1
            lines[index].drop()
            lines[index].taken += item.cost.records
            lines[index].served = turn
            elements.append(item.element)
            room -= item.cost
            level -= item.cost
        }
        return elements
    }

    private func leastServed() -> Int? {
        var best: Int?
        for index in lines.indices where lines[index].next != nil {
            guard let known = best else {
                best = index
                continue
            }
            // In a tie the later line is the one that has just come, the other the one that was served last.
            if (lines[index].taken, lines[index].served) <= (lines[known].taken, lines[known].served) { best = index }
        }
        return best
    }
}
