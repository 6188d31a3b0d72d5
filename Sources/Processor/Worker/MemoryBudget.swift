// Decides how the memory budget is split, and refuses one that is too small.

import Kafka
import Records

/// The split of `pipeline.memory_budget_bytes`, in eighths: three for librdkafka's prefetch, three for batches between the reader and
/// the commit (half of them as records, half decoded), two for the transactions in the lanes.
///
/// With 64 MiB that is what full speed takes with records of 230 bytes: 45,000 of them under way, which is three transactions of 5,000
/// on each of three lanes (one in the database, one that waits for it, one that is being read), or of 3,900 on four.
struct MemoryBudget: Equatable {
    /// All of it.
    let total: Int
    /// Connections that may each have a transaction under way.
    let lanes: Int

    /// Smaller transactions cost more in round trips than they save, charged bytes.
    private static let leastTransaction = 64 << 10

    /// The prefetch of the consumer that runs already, where there is one: it was given its share for life.
    private var running: Int?

    init(total: Int, lanes: Int) {
        self.total = total
        self.lanes = lanes
    }

    /// The split of another total while a consumer runs that was given its prefetch by this one.
    func resized(to total: Int) -> MemoryBudget {
        var changed = MemoryBudget(total: total, lanes: lanes)
        changed.running = prefetch
        return changed
    }

    /// For librdkafka's prefetch, its own memory for each record included.
    var prefetch: Int { running ?? planned }
    private var planned: Int { total / 8 * 3 }
    /// For record batches, charged as ``Footprint`` says: the credits.
    var records: Int { total / 16 * 3 }
    /// For change batches: as much again, since each record batch becomes one.
    var changes: Int { records }
    /// For parameter arrays and libpq's copies of them.
    var database: Int { total - planned - records - changes }

    /// Charged bytes a transaction may carry.
    var transaction: Int { database / lanes / Footprint.copiesInTransaction }

    /// Each partition's part of the prefetch.
    /// - Parameter partitions: of all topics together: what this member could come to own.
    /// - Throws: `CommandError` where the budget is too small for so many partitions and lanes, with the least that would do.
    func prefetchShare(partitions: Int, properties: [String: String]) throws(CommandError) -> PrefetchShare {
        let least = Self.least(partitions: partitions, lanes: lanes, properties: properties)
        if total >= least, let share = PrefetchShare(bytes: planned, partitions: partitions, properties: properties) {
            return share
        }
        let isFetchGiven =
            PrefetchShare.fetchBytes(of: PrefetchShare.leastFetch, properties: properties)
            > PrefetchShare.leastFetch
        throw CommandError(
            "pipeline.memory_budget_bytes: \(total) is too little for \(partitions) partitions and \(lanes) lanes: "
                + "set it to \(least) (\(least >> 20) MiB) at least"
                + (isFetchGiven ? ", or take the size of a fetch out of kafka.properties" : "")
                + (Self.leastForLanes(lanes) == least ? ", or lower postgres.connections." : "."))
    }

    /// The least budget that does, in whole MiB.
    static func least(partitions: Int, lanes: Int, properties: [String: String]) -> Int {
        // Prefetch is three eighths, with up to a byte lost to rounding for each division.
        let prefetch = PrefetchShare.least(properties: properties) * Swift.max(1, partitions)
        return Swift.max(roundedUp(prefetch / 3 * 8 + 64), leastForLanes(lanes))
    }

    private static func leastForLanes(_ lanes: Int) -> Int {
        roundedUp(leastTransaction * Footprint.copiesInTransaction * lanes * 4)
    }

    private static func roundedUp(_ bytes: Int) -> Int { (bytes / (1 << 20) + (bytes % (1 << 20) == 0 ? 0 : 1)) << 20 }
}
