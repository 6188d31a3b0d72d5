// Owns a consumer's settings and turns them into librdkafka's.

internal import CKafka

/// A group member's settings.
public struct KafkaConsumerConfiguration: Sendable {
    /// Brokers, name, pass-through properties, log.
    public var client: KafkaClientConfiguration
    /// The consumer group.
    public var groupID: String
    /// Static membership: a restart within the session timeout keeps the partitions. Empty: none.
    public var groupInstanceID: String = ""
    /// Topics to subscribe to. Subscribing to one that does not exist is silent: ask ``KafkaMetadata`` first.
    public var topics: [String]
    /// How long the group waits for a silent member.
    public var sessionTimeout: Duration = .seconds(10)
    /// How long a broker holds an empty fetch open. Seeks and kicks wait behind it. The embedded broker sleeps it out in full.
    public var fetchWait: Duration = .milliseconds(50)
    /// Records librdkafka prefetches per partition (`queued.min.messages`).
    public var queuedMinimumRecords: Int = 5000
    /// KiB librdkafka prefetches per partition (`queued.max.messages.kbytes`); one fetch may overshoot it.
    public var queuedMaximumKibibytes: Int = 2048
    /// Bytes of one partition in one fetch (`fetch.message.max.bytes`): the overshoot.
    public var fetchMaximumBytes: Int = 1 << 20
    /// Wakes librdkafka's broker thread while drained queues wait for it (see ``FetchWakeUp``). Not used where librdkafka knows
    /// `fetch.queue.backoff.ms`.
    public var kicker = true
    /// Records read from one partition before the next one has its turn.
    public var visitLimit = 1024

    /// A group member's settings.
    public init(client: KafkaClientConfiguration, groupID: String, topics: [String]) {
        self.client = client
        self.groupID = groupID
        self.topics = topics
    }

    /// Suits the embedded broker: it sleeps out the whole fetch wait, and its groups form best with short sessions.
    public mutating func adaptToEmbeddedBroker() {
        fetchWait = .milliseconds(10)
        sessionTimeout = .seconds(6)
    }

    /// Bytes librdkafka 2.0.2 keeps for each record in a queue besides its payload (measured: 900 in all for records of 230).
    public static let bytesBesideEachRecord = 670

    /// Most bytes of payloads librdkafka may hold for one partition: the queue's limit and the overshoot of one fetch. A pass-through
    /// property for the size of a fetch counts.
    public var prefetchBytesPerPartition: Int {
        queuedMaximumKibibytes * 1024 + Self.fetchBytes(of: fetchMaximumBytes, properties: client.properties)
    }

    /// Bytes of one partition in one fetch where ``fetchMaximumBytes`` is `standard` and the user has properties of their own: the
    /// partition's limit under either of its names, and the whole response's, which librdkafka raises to a message's limit.
    /// A single record may be larger all the same: brokers answer with at least one.
    public static func fetchBytes(of standard: Int, properties: [String: String]) -> Int {
        func given(_ name: String) -> Int? { properties[name].flatMap { Int($0) } }
        // Properties are set in the order of their names, and the last one counts.
        let partition = given("max.partition.fetch.bytes") ?? given("fetch.message.max.bytes") ?? standard
        guard let response = given("fetch.max.bytes") else { return partition }
        return min(partition, max(response, given("message.max.bytes") ?? 1_000_000))
    }

    /// librdkafka's configuration for the fetching handle.
    /// - Parameter needsKicker: set to whether the kicker has to run.
    func makeConfiguration(needsKicker: inout Bool) throws(KafkaError) -> ConfigurationHandle {
        guard !groupID.isEmpty else { throw KafkaError(.configuration, "the consumer group has no name; set kafka.group_id") }
        guard !topics.isEmpty else { throw KafkaError(.configuration, "no topic to consume; a mapping names its topics") }
        let configuration = try client.makeConfiguration()
        try configuration.set("group.id", groupID)
        if !groupInstanceID.isEmpty { try configuration.set("group.instance.id", groupInstanceID) }
        try configuration.set("enable.auto.commit", "false")
        try configuration.set("enable.auto.offset.store", "false")
        try configuration.set("auto.offset.reset", "error")
        try configuration.set("partition.assignment.strategy", "range")
        try configuration.set("session.timeout.ms", "\(sessionTimeout.milliseconds)")
        try configuration.set("heartbeat.interval.ms", "\(min(3000, max(1, sessionTimeout.milliseconds / 3)))")
        try configuration.set("max.poll.interval.ms", "\(max(60_000, sessionTimeout.milliseconds))")
        try configuration.set("queued.min.messages", "\(queuedMinimumRecords)")
        try configuration.set("queued.max.messages.kbytes", "\(queuedMaximumKibibytes)")
        try configuration.set("fetch.message.max.bytes", "\(fetchMaximumBytes)")
        try configuration.set("fetch.wait.max.ms", "\(fetchWait.milliseconds)")
        try configuration.set("fetch.error.backoff.ms", "100")
        // Says how far was read where the log ends in records that nobody is given: markers of transactions, compacted ones.
        try configuration.set("enable.partition.eof", "true")
        let knowsBackoff = configuration.setIfKnown("fetch.queue.backoff.ms", "5")
        try KafkaProperties.apply(client.properties, to: configuration)
        configuration.setEvents(RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_OFFSET_COMMIT)
        needsKicker = kicker && !knowsBackoff
        return configuration
    }
}
