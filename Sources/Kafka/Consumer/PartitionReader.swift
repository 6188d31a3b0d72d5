// Owns one assigned partition: its queue in librdkafka and what is known of its position.

package import Records

/// One partition of the current assignment. Used by the poll thread only.
package final class PartitionReader<Queue: AnyObject> {
    package let partition: TopicPartition
    let queue: Queue
    /// Assignment generation of the batches read from now on.
    var generation: UInt64
    var position: OffsetGuardMachine
    /// The last record before the position, and whether it is to be compared.
    var last: LastRecordMachine
    var start: FetchStartMachine
    var wakeUp = FetchWakeUpMachine()
    var needsWakeUp = false
    /// librdkafka was told to pause the partition. Resuming one that is not paused would rewind it.
    package internal(set) var isPaused = false
    /// An error was reported, or it has no offset yet: nothing is read until a seek or a new assignment.
    package internal(set) var hasFailed: Bool
    /// librdkafka fetches the partition, also where it has failed: a seek is enough to continue.
    var isFetched = false
    /// A record was taken from the queue while none might be read; it is read first.
    var hasKept = false
    /// Records read since the assignment.
    var consumed = 0
    /// Estimate, to reserve memory for a batch and to tell when librdkafka's queue is full.
    private(set) var bytesPerRecord = 256

    init(
        _ partition: TopicPartition, _ queue: Queue, offset: Int64, lastApplied: Int64?, generation: UInt64, startLimit: UInt64
    ) {
        self.partition = partition
        self.queue = queue
        self.generation = generation
        position = OffsetGuardMachine(expected: offset)
        last = Self.last(before: offset, lastApplied)
        hasFailed = offset < 0
        start = FetchStartMachine(limit: startLimit)
    }

    /// Where reading begins: at the record before the position, if it is to be compared.
    var begin: Int64 { last.begin(before: position.expected) }

    /// Reading continues at another offset.
    /// - Parameter lastApplied: the fingerprint of the record before it.
    func moved(to offset: Int64, lastApplied: Int64?) {
        position.moved(to: offset)
        last = Self.last(before: offset, lastApplied)
    }

    /// Reading begins anew where it is.
    func restarted() {
        position.moved(to: position.expected)
        last.restarted()
    }

    private static func last(before offset: Int64, _ fingerprint: Int64?) -> LastRecordMachine {
        LastRecordMachine(fingerprint.map { LastRecordMachine.Record(offset: offset - 1, fingerprint: $0) })
    }

    /// A batch was read. Its mean moves the estimate by a factor of two at most, so that one large record does not distort it.
    func read(bytes: Int, records: Int) {
        bytesPerRecord = max(16, bytesPerRecord / 2, min(bytesPerRecord * 2, bytes / records))
    }

    /// Records at which librdkafka stops fetching this partition.
    func capacity(records: Int, bytes: Int) -> Int { max(1, min(records, bytes / max(1, bytesPerRecord))) }
}
