// Owns one assigned partition: its queue in librdkafka and what is known of its position.

package import Records

/// One partition of the current assignment. Used by the poll thread only.
package final class PartitionReader<Queue: AnyObject> {
    package let partition: TopicPartition
    let queue: Queue
    /// Assignment generation of the batches read from now on.
    var generation: UInt64
    var position: OffsetGuardMachine
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

    init(_ partition: TopicPartition, _ queue: Queue, offset: Int64, generation: UInt64, startLimit: UInt64) {
        self.partition = partition
        self.queue = queue
        self.generation = generation
        position = OffsetGuardMachine(expected: offset)
        hasFailed = offset < 0
        start = FetchStartMachine(limit: startLimit)
    }

    /// A batch was read. Its mean moves the estimate by a factor of two at most, so that one large record does not distort it.
    func read(bytes: Int, records: Int) {
        bytesPerRecord = max(16, bytesPerRecord / 2, min(bytesPerRecord * 2, bytes / records))
    }

    /// Records at which librdkafka stops fetching this partition.
    func capacity(records: Int, bytes: Int) -> Int { max(1, min(records, bytes / max(1, bytesPerRecord))) }
}
