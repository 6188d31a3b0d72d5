// Declares what the reader asks of librdkafka, so that the simulation runs the same reader on a model of librdkafka.

package import Records

/// The element that was taken from a partition's queue.
package enum Fetched: Equatable, Sendable {
    /// None: the queue is empty.
    case nothing
    /// A record.
    case record(offset: Int64)
    /// The end of the log at this offset.
    case end(offset: Int64)
    /// An error.
    case error
}

/// librdkafka, as far as ``ReaderMachine`` uses it. Calls return at once, and are made on one thread.
///
/// Elements of a queue that are older than the last assign, seek, pause or resume of its partition are stale: librdkafka drops them
/// itself when the queue is read.
package protocol FetchPort: AnyObject {
    /// The queue of one partition, with room for one record that was taken and kept.
    associatedtype Queue: AnyObject

    /// Monotonic nanoseconds.
    var now: UInt64 { get }

    /// Separates a partition's queue from the main queue. Must happen before ``assign(_:)``: only then does the start of fetching keep
    /// it separate.
    func open(_ partition: TopicPartition) throws(KafkaError) -> Queue
    /// Takes the record that was kept, or the next element. It is the current one until the next call.
    func take(from queue: Queue) -> Fetched
    /// Appends the current record to a batch.
    func copyRecord(to batch: RecordBatch)
    /// The current record's fingerprint (see ``Record/fingerprint(timestamp:key:value:)``).
    var fingerprint: Int64 { get }
    /// Keeps the current record: it will be taken first.
    func keepRecord(in queue: Queue)
    /// Drops the record that was kept.
    func dropKept(in queue: Queue)
    /// The current error, of a partition that is read at this offset.
    func error(of partition: TopicPartition, at offset: Int64) -> KafkaError
    /// Number of elements in the queue, including stale ones.
    func length(of queue: Queue) -> Int

    /// Starts fetching these partitions at these offsets, and no others. A pause is kept.
    /// - Returns: why librdkafka refused.
    func assign(_ partitions: [(TopicPartition, Int64)]) -> KafkaError?
    /// Stops fetching.
    func unassign()
    /// Fetches from other offsets. Has no effect, and says nothing, where librdkafka does not fetch the partition.
    func seek(_ offsets: [(TopicPartition, Int64)])
    /// Stops fetching, and drops what is queued, errors included.
    func pause(_ partitions: [TopicPartition])
    /// Fetches again. A partition that is not paused is rewound.
    func resume(_ partitions: [TopicPartition])
    /// The partition has a leader that is connected, as far as is known.
    func isReachable(_ partition: TopicPartition) -> Bool

    /// Hands an event to the consumer's user.
    func report(_ event: ConsumerEvent)
    /// The counters have changed.
    func publish(_ statistics: KafkaConsumerStatistics)
}
