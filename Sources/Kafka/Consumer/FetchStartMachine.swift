// Decides for one partition when librdkafka has not begun to fetch it as it was told.

/// With `enable.partition.eof` every assign, seek and resume is answered by a record, by the end of the log, or by an error. Where none
/// of them comes, librdkafka has stopped fetching the partition and nobody was told: a pause purges an error together with the records
/// before it (`rd_kafka_q_purge_toppar_version`; an offset out of range is queued with version 0 and leaves the partition in the fetch
/// state NONE), and a seek in that state, or while the partition is stopped, is refused without an answer. Only a new assignment starts
/// it again. Each one doubles the time until the next: it costs the prefetched records of all partitions, and a broker may be slow.
package struct FetchStartMachine: ~Copyable {
    /// Nanoseconds that an answer may take at first: many fetch waits, and longer than most brokers need for old records.
    package static let usualLimit: UInt64 = 5_000_000_000
    /// How often the limit doubles: to 20 minutes. An aborted transaction gives no sign of being fetched either, and it may be long.
    private static let doublings = 8

    private let firstLimit: UInt64
    private var orderedAt: UInt64?
    private var attempts = 0

    /// - Parameter limit: nanoseconds that an answer may take at first.
    init(limit: UInt64 = FetchStartMachine.usualLimit) { firstLimit = limit }

    /// An answer has not come yet.
    var isAwaited: Bool { orderedAt != nil }

    /// librdkafka was told to fetch: by an assign, a seek, or a resume.
    mutating func ordered(at now: UInt64) { orderedAt = now }

    /// A record, the end of the log or an error came.
    @inline(__always)
    mutating func answered() {
        orderedAt = nil
        attempts = 0
    }

    /// No answer is expected any more: the partition was paused, or is not in librdkafka's assignment.
    mutating func stopped() { orderedAt = nil }

    /// Nothing has come by `now`. Returns whether the partition must be assigned anew.
    /// - Parameter isReachable: the partition's leader is connected; without one no answer can come.
    mutating func isOverdue(at now: UInt64, isReachable: Bool) -> Bool {
        guard let since = orderedAt else { return false }
        guard isReachable else {
            orderedAt = now
            return false
        }
        guard now &- since >= firstLimit << UInt64(attempts) else { return false }
        attempts = Swift.min(attempts + 1, FetchStartMachine.doublings)
        orderedAt = now
        return true
    }
}
