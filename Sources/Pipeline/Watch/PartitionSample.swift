// One partition at one moment: what lag and rates are computed from.

import Backpressure
import Records

/// Offsets of one partition, as a worker's ledger or a group's committed offsets show them.
struct PartitionSample: Sendable, Equatable {
    /// The partition.
    let source: TopicPartition
    /// Generation of the assignment; offsets of different generations are not compared.
    var generation: UInt64 = 0
    /// Next offset to apply.
    let applied: Int64
    /// No record before this offset is left to apply; at least ``applied``.
    let settled: Int64
    /// One past the log's last record; `nil`: not known.
    let end: Int64?
    /// Records of it are under way.
    var isUnderWay = false
    /// Earliest timestamp under way, milliseconds since 1970; `nil`: nothing is under way, or it carries none.
    var oldestTimestamp: Int64?

    /// Offsets that may still hold something to apply, never negative; `nil` where the end is not known.
    var backlog: Int64? { end.map { Swift.max(0, $0 - settled) } }
}

extension OffsetLedgerMachine.Position {
    /// What lag and rates need of it.
    var sample: PartitionSample {
        PartitionSample(
            source: source, generation: entry.generation, applied: applied, settled: settled, end: end,
            isUnderWay: outstanding.records > 0, oldestTimestamp: oldestTimestamp)
    }
}
