// Decides which batches make up a lane's next transaction, so that a partition with a long queue does not delay others.

import Backpressure
import Records

/// The batches that wait at one lane, by partition, each partition in order.
///
/// A transaction takes the next batch of the partition that has the fewest records in it so far; of several, that of the one that was
/// served longest ago. So the lane's partitions share every transaction equally, as far as they have batches, and a record that arrives
/// after another partition's backlog is in the next transaction: it waits only for the one under way.
///
/// A transaction writes one table. The partition that was served longest ago decides which, so the tables take turns.
struct LaneQueueMachine<Element>: ~Copyable {
    private struct Item {
        let element: Element
        let cost: Credits
    }

    private struct PartitionQueue {
        let source: TopicPartition
        let table: Int
        // A taken item is replaced by nil, so that its memory is freed.
        var items: [Item?] = []
        var head = 0
        /// Records in the transaction that is being made up.
        var taken = 0
        /// The step at which it was served last.
        var served: UInt64

        init(source: TopicPartition, table: Int, served: UInt64) {
            self.source = source
            self.table = table
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

    private var queues: [PartitionQueue] = []
    private var step: UInt64 = 0

    /// Records and bytes that wait.
    private(set) var level = Credits.zero

    /// No batch waits.
    var isEmpty: Bool { level.records == 0 && queues.allSatisfy { $0.next == nil } }

    /// A batch arrived from a partition.
    /// - Parameter table: which table its events are for; always the same for a partition.
    mutating func arrived(_ element: Element, from source: TopicPartition, table: Int = 0, cost: Credits) {
        let item = Item(element: element, cost: cost)
        level += cost
        if let index = queues.firstIndex(where: { $0.source == source }) {
            queues[index].items.append(item)
            return
        }
        // Queues of partitions that were revoked are few; they are removed when a new one is added.
        queues.removeAll { $0.next == nil }
        // As if it had been served just now: a queue that empties and fills again must not overtake those that wait.
        var queue = PartitionQueue(source: source, table: table, served: step)
        queue.items.append(item)
        queues.append(queue)
    }

    /// The lane is free. Returns what it writes next, of one table and within `limit`; at least one batch where any waits.
    mutating func laneFreed(limit: Credits) -> [Element] {
        for index in queues.indices { queues[index].taken = 0 }
        var elements: [Element] = []
        var left = limit
        var table: Int?
        while left.isPositive, let index = leastServed(of: table), let item = queues[index].next {
            guard elements.isEmpty || left.covers(item.cost) else { break }
            table = queues[index].table
            step += 1
            queues[index].drop()
            queues[index].taken += item.cost.records
            queues[index].served = step
            elements.append(item.element)
            left -= item.cost
            level -= item.cost
        }
        return elements
    }

    /// - Parameter table: `nil`: any.
    private func leastServed(of table: Int?) -> Int? {
        var best: Int?
        for index in queues.indices where queues[index].next != nil && (table == nil || queues[index].table == table) {
            guard let known = best else {
                best = index
                continue
            }
            // In a tie the later queue is the one that was just added, the other the one that was served last.
            if (queues[index].taken, queues[index].served) <= (queues[known].taken, queues[known].served) { best = index }
        }
        return best
    }
}
