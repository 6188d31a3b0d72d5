// Decides how much librdkafka may prefetch for one partition within a given number of bytes.

/// One partition's share of the prefetch memory: its queue, librdkafka's own memory for each record in it, and one more fetch,
/// because librdkafka compares the queue with its limits only before a fetch.
public struct PrefetchShare: Equatable, Sendable {
    /// Bytes librdkafka 2.0.2 keeps for each queued record in addition to its payload (measured: 900 in all for records of 230).
    public static let overheadPerRecord = 670
    /// Least average size of records that the bounds hold for; of shorter ones a fetch brings more than is counted here.
    public static let shortestRecord = 64
    /// What a record is counted for when the queue's two limits are chosen: ``overheadPerRecord`` and some payload. With the
    /// fetch wake-up the number of records that follows is enough for full speed.
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
    ///   - properties: the user's own librdkafka properties, which may set the size of a fetch.
    /// - Returns: `nil` where `bytes` is too little.
    public init?(bytes: Int, partitions: Int, properties: [String: String] = [:]) {
        let share = bytes / Swift.max(1, partitions)
        // A twenty-fourth becomes a quarter with librdkafka's overhead for short records.
        let fetch = Swift.min(1 << 20, Swift.max(Self.leastFetch, share / 24))
        fetchBytes = Self.fetchBytes(of: fetch, properties: properties)
        let queue = share - Self.overshoot(fetchBytes)
        // The shortest records are bounded by their number alone, including those that the last fetch brings.
        let shortest = Self.shortestRecord + Self.overheadPerRecord
        let records = Swift.min(queue / Self.countedRecord, share / shortest - fetchBytes / Self.shortestRecord)
        // Beyond 4 MiB a partition gains nothing more.
        queuedRecords = Swift.min(10_000, records)
        queuedKibibytes = Swift.min(4096, (queue - records * Self.overheadPerRecord) / 1024)
        guard queuedRecords >= Self.leastRecords, queuedKibibytes >= Self.leastKibibytes, worstCase <= share else { return nil }
    }

    /// Least bytes a partition needs.
    public static func least(properties: [String: String]) -> Int {
        var bytes = overshoot(fetchBytes(of: leastFetch, properties: properties)) + leastRecords * countedRecord
        while PrefetchShare(bytes: bytes, partitions: 1, properties: properties) == nil { bytes += 1024 }
        return bytes
    }

    /// Bytes of one partition in one fetch where Sluice sets `fetch.message.max.bytes` to `standard` and the user sets
    /// `properties`: the partition's limit under either of its names, and the response's, which librdkafka raises to
    /// `message.max.bytes`. A single record may be larger all the same: brokers return at least one.
    public static func fetchBytes(of standard: Int, properties: [String: String]) -> Int {
        func value(_ name: String) -> Int? { properties[name].flatMap { Int($0) } }
        // Properties are set in the order of their names, and the last one counts.
        let partition = value("max.partition.fetch.bytes") ?? value("fetch.message.max.bytes") ?? standard
        guard let response = value("fetch.max.bytes") else { return partition }
        return Swift.min(partition, Swift.max(response, value("message.max.bytes") ?? 1_000_000))
    }

    /// Most bytes one fetch adds to a full queue, for records of 128 bytes.
    private static func overshoot(_ fetch: Int) -> Int { fetch + fetch / 128 * overheadPerRecord }

    /// Most bytes librdkafka holds for the partition, for any size of records from ``shortestRecord`` on: a queue at its limit of
    /// records or of bytes, and one more fetch.
    public var worstCase: Int {
        let bytes = queuedKibibytes * 1024
        func held(_ record: Int) -> Int {
            let queued = Swift.min(queuedRecords, bytes / record)
            return (queued + fetchBytes / record) * (record + Self.overheadPerRecord)
        }
        // Between these two sizes it is less, and beyond the second it falls.
        return Swift.max(held(Self.shortestRecord), held(Swift.max(Self.shortestRecord, bytes / queuedRecords)))
    }
}
