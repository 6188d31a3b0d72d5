// Decides for one partition when librdkafka's broker thread has to be kicked awake.

/// Up to 2.2.0, librdkafka's broker thread sleeps up to 1 s once all queues it feeds are full, whatever is read meanwhile.
/// A kick is wanted from when a queue that was full has been drained below half until it is half full again, or nothing has come
/// for a second (the log's end).
struct FetchWakeUpMachine: ~Copyable {
    /// Without growth for as long, there is nothing to fetch.
    static let patience: UInt64 = 1_000_000_000

    private var wasFull = false
    private var kickingSince: UInt64?
    private var fetched = 0

    /// The queue was looked at.
    /// - Parameters:
    ///   - queued: records in it.
    ///   - consumed: records read from it since the assignment.
    ///   - capacity: records at which librdkafka stops fetching.
    ///   - now: monotonic nanoseconds.
    /// - Returns: whether kicks are wanted now.
    mutating func sampled(queued: Int, consumed: Int, capacity: Int, now: UInt64) -> Bool {
        // A little below the limit counts as full: the reader has taken something since librdkafka looked.
        if queued >= capacity - capacity / 8 {
            wasFull = true
            kickingSince = nil
            return false
        }
        guard wasFull else { return false }
        if queued > capacity / 2 {
            kickingSince = nil
            return false
        }
        let total = consumed + queued
        guard let since = kickingSince else {
            kickingSince = now
            fetched = total
            return true
        }
        if total > fetched {
            fetched = total
            kickingSince = now
            return true
        }
        if now &- since < FetchWakeUpMachine.patience { return true }
        wasFull = false
        kickingSince = nil
        return false
    }
}
