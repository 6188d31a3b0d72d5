// Decides for one partition when librdkafka's broker thread has to be woken to fetch.

/// Up to 2.2.0, librdkafka's broker thread sleeps up to 1 s once all queues it feeds are full, whatever is read meanwhile. So
/// wake-ups are needed from when a queue that was full has been drained to half, until it is more than half full again or has not
/// grown for a second (the end of the log).
struct FetchWakeUpMachine: ~Copyable {
    /// Nanoseconds without growth after which there is nothing to fetch.
    static let idleLimit: UInt64 = 1_000_000_000

    private var wasFull = false
    private var lastGrowth: UInt64?
    private var fetched = 0

    /// The queue's length was read.
    /// - Parameters:
    ///   - queued: records in it.
    ///   - consumed: records read from it since the assignment.
    ///   - capacity: records at which librdkafka stops fetching.
    ///   - now: monotonic nanoseconds.
    /// - Returns: whether wake-ups are needed now.
    mutating func sampled(queued: Int, consumed: Int, capacity: Int, now: UInt64) -> Bool {
        // A little below the capacity counts as full: the reader has taken records since librdkafka stopped.
        if queued >= capacity - capacity / 8 {
            wasFull = true
            lastGrowth = nil
            return false
        }
        guard wasFull else { return false }
        if queued > capacity / 2 {
            lastGrowth = nil
            return false
        }
        let total = consumed + queued
        guard let since = lastGrowth, total <= fetched else {
            lastGrowth = now
            fetched = total
            return true
        }
        if now &- since < FetchWakeUpMachine.idleLimit { return true }
        wasFull = false
        lastGrowth = nil
        return false
    }
}
