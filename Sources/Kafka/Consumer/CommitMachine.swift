// Decides which offsets are committed when: never backwards, and one request at a time.

internal import Records

/// Offset commits of one assignment. Kafka accepts a commit of a lower offset; this machine sends one only after the partition was set
/// back.
///
/// One request is in flight at a time; offsets that come meanwhile wait, merged, for its answer. A slow coordinator would
/// otherwise queue up requests until the heartbeats that follow them are late and the session ends.
struct CommitMachine: ~Copyable {
    private var acknowledged: [TopicPartition: Int64] = [:]
    private var inFlight: [TopicPartition: Int64] = [:]
    private var waiting: [TopicPartition: Int64] = [:]

    /// A request is in flight, or offsets wait for its answer.
    var isBusy: Bool { !inFlight.isEmpty || !waiting.isEmpty }

    /// Offsets are to be committed. Returns what to send now: empty where none is ahead of the last commit, or a request is in
    /// flight.
    mutating func requested(_ offsets: [(TopicPartition, Int64)]) -> [(TopicPartition, Int64)] {
        for (partition, offset) in offsets {
            let reached = max(acknowledged[partition] ?? -1, inFlight[partition] ?? -1, waiting[partition] ?? -1)
            if offset > reached { waiting[partition] = offset }
        }
        return inFlight.isEmpty ? sendWaiting() : []
    }

    /// The request was answered. Offsets that failed may be requested again. Returns what to send now.
    mutating func answered(failed: Set<TopicPartition>) -> [(TopicPartition, Int64)] {
        for (partition, offset) in inFlight where !failed.contains(partition) { acknowledged[partition] = offset }
        inFlight = [:]
        return sendWaiting()
    }

    /// Reading of a partition continues at another offset. Where that is lower than what was committed (its topic was made anew, or an
    /// operator has changed its row), the offset may be committed that follows from there.
    mutating func moved(_ partition: TopicPartition, to offset: Int64) {
        let reached = max(acknowledged[partition] ?? -1, inFlight[partition] ?? -1, waiting[partition] ?? -1)
        guard offset < reached else { return }
        waiting[partition] = nil
        acknowledged[partition] = nil
        // The request in flight cannot be taken back; its answer counts for less than what follows.
        if inFlight[partition] != nil { inFlight[partition] = offset - 1 }
    }

    /// The assignment is over: waiting offsets are dropped, and another member may move the committed ones from now on.
    mutating func unassigned() {
        waiting = [:]
        acknowledged = [:]
    }

    private mutating func sendWaiting() -> [(TopicPartition, Int64)] {
        swap(&inFlight, &waiting)
        waiting = [:]
        return inFlight.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
