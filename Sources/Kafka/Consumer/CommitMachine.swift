// Decides which offsets may be committed: never backwards, and nothing beside a rebalance.

internal import Records

/// The mirror of the applied offsets in Kafka. Kafka accepts a commit that goes back; this does not.
struct CommitMachine: ~Copyable {
    private var submitted: [TopicPartition: Int64] = [:]
    private var acknowledged: [TopicPartition: Int64] = [:]
    /// Commits that have not been answered.
    private(set) var outstanding = 0

    /// Offsets are to be committed. Those that are not ahead of what was sent fall out.
    mutating func requested(_ offsets: [(TopicPartition, Int64)]) -> [(TopicPartition, Int64)] {
        offsets.filter { $0.1 > submitted[$0.0] ?? -1 }
    }

    /// A commit was handed to librdkafka.
    mutating func sent(_ offsets: [(TopicPartition, Int64)]) {
        outstanding += 1
        for (partition, offset) in offsets { submitted[partition] = max(offset, submitted[partition] ?? -1) }
    }

    /// A commit was answered. What failed may be sent again.
    mutating func answered(_ offsets: [(TopicPartition, Int64)], failed: Set<TopicPartition>) {
        outstanding -= 1
        for (partition, offset) in offsets {
            if failed.contains(partition) {
                if submitted[partition] == offset { submitted[partition] = acknowledged[partition] }
            } else {
                acknowledged[partition] = max(offset, acknowledged[partition] ?? -1)
            }
        }
    }

    /// The assignment is over: another member may have moved the offsets since.
    mutating func unassigned() {
        submitted = [:]
        acknowledged = [:]
    }
}
