// Decides which batches make up a lane's next transaction, so that a partition with a long queue does not delay others.

import Backpressure
import Records

/// The batches that wait at one lane, by partition, each partition in order.
///
/// A transaction takes the next batch of the partition that has the fewest records in it so far; of several, that of the one that was
/// served longest ago. So the lane's partitions share every transaction equally, as far as they have batches, and a record that arrives
/// after another partition's backlog is in the next transaction: it waits only for the one under way.
///
/// A transaction writes one table. The partition that was served longest ago decides which, so the tables take turns. A table whose
/// transaction failed may rest: its batches come back to the head of their queues, and the others go on meanwhile.
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

        mutating func putBack(_ item: Item) {
            guard head > 0 else { return items.insert(item, at: 0) }
            head -= 1
            items[head] = item
        }

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
    /// Until when tables rest, in monotonic nanoseconds.
    private var rests: [Int: UInt64] = [:]

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
        // Queues of partitions that were revoked are few; they are removed when a new one is added. Not those of the transaction under way,
        // which may come back.
        queues.removeAll { $0.next == nil && $0.taken == 0 }
        // As if it had been served just now: a queue that empties and fills again must not overtake those that wait.
        var queue = PartitionQueue(source: source, table: table, served: step)
        queue.items.append(item)
        queues.append(queue)
    }

    /// Whether batches of another table wait, which does not rest.
    func holdsOther(than table: Int, at now: UInt64) -> Bool {
        queues.contains { $0.next != nil && $0.table != table && !isResting($0.table, now) }
    }

    /// When the first of the resting tables goes on; `nil`: none rests.
    var nextRestEnd: UInt64? { rests.values.min() }

    private func isResting(_ table: Int, _ now: UInt64) -> Bool { rests[table].map { $0 > now } ?? false }

    /// A transaction failed, and is tried again at `end`.
    /// - Parameter batches: all of it, as ``laneFreed(limit:now:)`` returned them.
    mutating func putBack(
        _ batches: [(element: Element, source: TopicPartition, cost: Credits)], of table: Int, until end: UInt64
    ) {
        for batch in batches.reversed() {
            guard let index = queues.firstIndex(where: { $0.source == batch.source }) else {
                preconditionFailure("a batch of \(batch.source) comes back that was never taken")
            }
            queues[index].putBack(Item(element: batch.element, cost: batch.cost))
            level += batch.cost
        }
        rests[table] = end
    }

    /// The lane is free. Returns what it writes next, of one table and within `limit`; at least one batch where any waits whose table does
    /// not rest.
    mutating func laneFreed(limit: Credits, now: UInt64 = 0) -> [Element] {
        rests = rests.filter { $0.value > now }
        for index in queues.indices { queues[index].taken = 0 }
        var elements: [Element] = []
        var left = limit
        var table: Int?
        while left.isPositive, let index = leastServed(of: table, now), let item = queues[index].next {
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
    private func leastServed(of table: Int?, _ now: UInt64) -> Int? {
        var best: Int?
        for index in queues.indices
        where queues[index].next != nil && (table.map { queues[index].table == $0 } ?? !isResting(queues[index].table, now)) {
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
