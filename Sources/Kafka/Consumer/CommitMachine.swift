// Decides which offsets are committed when: never backwards, and one request at a time.

internal import Records

/// The mirror of the applied offsets in Kafka. Kafka accepts a commit that goes back; this does not.
///
/// One request is on the way at a time, and what comes meanwhile waits, merged, for its answer: a coordinator that is slow would
/// otherwise collect requests until heartbeats behind them are late and the session ends.
struct CommitMachine: ~Copyable {
    private var acknowledged: [TopicPartition: Int64] = [:]
    private var onTheWay: [TopicPartition: Int64] = [:]
    private var waiting: [TopicPartition: Int64] = [:]

    /// A request has not been answered, or offsets wait for their turn.
    var isBusy: Bool { !onTheWay.isEmpty || !waiting.isEmpty }

    /// Offsets are to be committed. Returns what to send now; nothing where that is not ahead, or has to wait.
    mutating func requested(_ offsets: [(TopicPartition, Int64)]) -> [(TopicPartition, Int64)] {
        for (partition, offset) in offsets {
            let reached = max(acknowledged[partition] ?? -1, onTheWay[partition] ?? -1, waiting[partition] ?? -1)
            if offset > reached { waiting[partition] = offset }
        }
        return onTheWay.isEmpty ? sendWaiting() : []
    }

    /// The request was answered. What failed may be requested again. Returns what to send now.
    mutating func answered(failed: Set<TopicPartition>) -> [(TopicPartition, Int64)] {
        for (partition, offset) in onTheWay where !failed.contains(partition) { acknowledged[partition] = offset }
        onTheWay = [:]
        return sendWaiting()
    }

    /// The assignment is over: what waits is dropped, and another member may move the offsets from now on.
    mutating func unassigned() {
        waiting = [:]
        acknowledged = [:]
    }

    private mutating func sendWaiting() -> [(TopicPartition, Int64)] {
        swap(&onTheWay, &waiting)
        waiting = [:]
        return onTheWay.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
