// Splits the memory budget, and refuses one that is too small.

import Kafka
import Records

/// The split of `pipeline.memory_budget_bytes`, in eighths: three for librdkafka's prefetch, three for batches between the reader and
/// the commit (half of them as records, half decoded), two for the transactions in the lanes.
///
/// 64 MiB hold 45,000 records of 230 bytes, which full throughput needs: three transactions of 5,000 records on each of three lanes
/// (one in the database, one waiting for it, one being read), or of 3,900 on four.
struct MemoryBudget: Equatable {
    /// Bytes of the whole budget.
    let total: Int
    /// Connections, each with one transaction at a time.
    let lanes: Int

    /// Charged bytes; smaller transactions cost more in round trips than they save in memory.
    private static let leastTransaction = 64 << 10

    /// The prefetch of the running consumer, which is fixed for its life; `nil`: none runs.
    private var running: Int?

    init(total: Int, lanes: Int) {
        self.total = total
        self.lanes = lanes
    }

    /// The split of another total while a consumer runs with the prefetch of this one.
    func resized(to total: Int) -> MemoryBudget {
        var changed = MemoryBudget(total: total, lanes: lanes)
        changed.running = prefetch
        return changed
    }

    /// Bytes for librdkafka's prefetch, librdkafka's own memory per record included.
    var prefetch: Int { running ?? planned }
    private var planned: Int { total / 8 * 3 }
    /// Bytes for record batches, charged by ``Footprint``: the credits.
    var records: Int { total / 16 * 3 }
    /// Bytes for change batches: the same again, since each record batch becomes one.
    var changes: Int { records }
    /// Bytes for parameter arrays and libpq's copies of them.
    var database: Int { total - planned - records - changes }

    /// Charged bytes a transaction may carry.
    var transaction: Int { database / lanes / Footprint.copiesInTransaction }

    /// The prefetch of each partition.
    /// - Parameter partitions: of all topics together: what this member could be assigned.
    /// - Throws: `CommandError` where the budget is too small for the partitions and lanes; it names the least sufficient budget.
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
                + (isFetchGiven ? ", or remove the fetch size from kafka.properties" : "")
                + (Self.leastForLanes(lanes) == least ? ", or lower postgres.connections." : "."),
            exitCode: ExitCode.configuration)
    }

    /// The least sufficient budget in bytes, a whole number of MiB.
    static func least(partitions: Int, lanes: Int, properties: [String: String]) -> Int {
        // Prefetch is three eighths; each division may lose a byte to rounding.
        let prefetch = PrefetchShare.least(properties: properties) * Swift.max(1, partitions)
        return Swift.max(roundedUp(prefetch / 3 * 8 + 64), leastForLanes(lanes))
    }

    private static func leastForLanes(_ lanes: Int) -> Int {
        roundedUp(leastTransaction * Footprint.copiesInTransaction * lanes * 4)
    }

    private static func roundedUp(_ bytes: Int) -> Int { (bytes / (1 << 20) + (bytes % (1 << 20) == 0 ? 0 : 1)) << 20 }
}
