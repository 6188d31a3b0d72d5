// Decides how much librdkafka may prefetch for one partition within its share of the memory.

/// One partition's part of the memory for librdkafka's prefetch: its queue, what librdkafka keeps for each record in it, and the
/// overshoot of one fetch, because the queue is only looked at before a fetch.
public struct PrefetchShare: Equatable, Sendable {
    /// Records are at least so long on average; of shorter ones a fetch brings more than is counted here.
    public static let shortestRecord = 64
    /// What each record is counted for in the queue when its two limits are chosen: ``KafkaConsumerConfiguration/bytesBesideEachRecord``
    /// and some payload. With the kicker the records that follow are enough for full speed.
    private static let countedRecord = 1024
    /// Smaller fetches and queues cost more in requests than they save.
    public static let leastFetch = 16 << 10
    private static let leastKibibytes = 32
    private static let leastRecords = 64

    /// `queued.max.messages.kbytes`.
    public let queuedKibibytes: Int
    /// `queued.min.messages`.
    public let queuedRecords: Int
    /// `fetch.message.max.bytes`.
    public let fetchBytes: Int

    /// - Parameters:
    ///   - bytes: for all partitions.
    ///   - properties: the user's own, which may fix the size of a fetch.
    /// - Returns: `nil` where that is too little.
    public init?(bytes: Int, partitions: Int, properties: [String: String] = [:]) {
        let share = bytes / Swift.max(1, partitions)
        // A twenty-fourth comes to a quarter with what librdkafka keeps for short records.
        let fetch = Swift.min(1 << 20, Swift.max(Self.leastFetch, share / 24))
        fetchBytes = KafkaConsumerConfiguration.fetchBytes(of: fetch, properties: properties)
        let queue = share - Self.overshoot(fetchBytes)
        // The shortest records are bounded by their number alone, those that the last fetch brings included.
        let shortest = Self.shortestRecord + KafkaConsumerConfiguration.bytesBesideEachRecord
        let records = Swift.min(queue / Self.countedRecord, share / shortest - fetchBytes / Self.shortestRecord)
        // Beyond 4 MiB a partition gains nothing more.
        queuedRecords = Swift.min(10_000, records)
        queuedKibibytes = Swift.min(4096, (queue - records * KafkaConsumerConfiguration.bytesBesideEachRecord) / 1024)
        guard queuedRecords >= Self.leastRecords, queuedKibibytes >= Self.leastKibibytes, worstCase <= share else { return nil }
    }

    /// Least bytes a partition needs.
    public static func least(properties: [String: String]) -> Int {
        let fetch = KafkaConsumerConfiguration.fetchBytes(of: leastFetch, properties: properties)
        var bytes = overshoot(fetch) + leastRecords * countedRecord
        while PrefetchShare(bytes: bytes, partitions: 1, properties: properties) == nil { bytes += 1024 }
        return bytes
    }

    /// Most bytes one fetch adds to a full queue, of records of 128 bytes.
    private static func overshoot(_ fetch: Int) -> Int { fetch + fetch / 128 * KafkaConsumerConfiguration.bytesBesideEachRecord }

    /// Most bytes librdkafka holds for the partition, whatever the length of its records from ``shortestRecord`` on: a queue that ends
    /// at its number of records, or at its bytes, and one fetch more.
    public var worstCase: Int {
        let beside = KafkaConsumerConfiguration.bytesBesideEachRecord
        let bytes = queuedKibibytes * 1024
        func held(_ record: Int) -> Int {
            let queued = Swift.min(queuedRecords, bytes / record)
            return (queued + fetchBytes / record) * (record + beside)
        }
        // Between these two it is less, and beyond it falls.
        return Swift.max(held(Self.shortestRecord), held(Swift.max(Self.shortestRecord, bytes / queuedRecords)))
    }
}
