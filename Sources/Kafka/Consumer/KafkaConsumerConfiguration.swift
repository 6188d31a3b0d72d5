// Owns a consumer's settings and turns them into librdkafka's.

internal import CKafka
internal import Platform

/// How a group is run.
public enum GroupProtocol: String, Sendable, CaseIterable {
    /// The members agree among themselves; a rebalance stops all of them.
    case classic
    /// The broker decides (KIP-848); a rebalance stops the members whose partitions change.
    case consumer
}

/// A group member's settings.
public struct KafkaConsumerConfiguration: Sendable {
    /// Brokers, client id, pass-through properties, log.
    public var client: KafkaClientConfiguration
    /// The consumer group.
    public var groupID: String
    /// Static membership: a restart within the session timeout keeps the partitions. Empty: none.
    public var groupInstanceID: String = ""
    /// How the group is run. `consumer` needs ``KafkaLibrary/hasConsumerProtocol``.
    public var groupProtocol = GroupProtocol.classic
    /// Topics to subscribe to. Kafka reports no error for one that does not exist: ask ``KafkaMetadata`` first.
    public var topics: [String]
    /// `session.timeout.ms` of the protocol `classic`: how long the group waits for a member without heartbeats.
    public var sessionTimeout: Duration = .seconds(10)
    /// `fetch.wait.max.ms`: how long a broker holds an empty fetch open. Seeks and fetch wake-ups wait for its end. The embedded
    /// broker always waits the full time.
    public var fetchWait: Duration = .milliseconds(50)
    /// `queued.min.messages`: records librdkafka prefetches per partition.
    public var queuedMinimumRecords: Int = 5000
    /// `queued.max.messages.kbytes`: KiB librdkafka prefetches per partition; one fetch may exceed it.
    public var queuedMaximumKibibytes: Int = 2048
    /// `fetch.message.max.bytes`: bytes of one partition in one fetch.
    public var fetchMaximumBytes: Int = 1 << 20
    /// Wakes librdkafka's broker thread while drained queues wait for records (see ``FetchWakeUp``). Not used where librdkafka
    /// has the property `fetch.queue.backoff.ms`.
    public var fetchWakeUp = true
    /// Records read from one partition in one visit.
    public var visitLimit = 1024

    /// A group member's settings.
    public init(client: KafkaClientConfiguration, groupID: String, topics: [String]) {
        self.client = client
        self.groupID = groupID
        self.topics = topics
    }

    /// The part that the reader needs.
    func readerLimits(needsWakeUps: Bool) -> ReaderMachine<LibrdkafkaPort>.Limits {
        ReaderMachine<LibrdkafkaPort>.Limits(
            visit: visitLimit, queuedRecords: queuedMinimumRecords, queuedBytes: queuedMaximumKibibytes * 1024,
            needsWakeUps: needsWakeUps)
    }

    /// Sets the values that suit the embedded broker: it always waits the full fetch wait, and its groups form faster with short
    /// sessions.
    public mutating func adaptToEmbeddedBroker() {
        fetchWait = .milliseconds(10)
        sessionTimeout = .seconds(6)
    }

    /// librdkafka's configuration for the fetching client.
    /// - Parameter needsWakeUp: set to whether ``FetchWakeUp`` has to run.
    func makeConfiguration(needsWakeUp: inout Bool) throws(KafkaError) -> ConfigurationHandle {
        guard !groupID.isEmpty else { throw KafkaError(.configuration, "the consumer group has no name; set kafka.group_id") }
        guard !topics.isEmpty else { throw KafkaError(.configuration, "no topic to consume; a mapping names its topics") }
        let configuration = try client.makeConfiguration()
        try configuration.set("group.id", groupID)
        if !groupInstanceID.isEmpty { try configuration.set("group.instance.id", groupInstanceID) }
        try configuration.set("enable.auto.commit", "false")
        try configuration.set("enable.auto.offset.store", "false")
        try configuration.set("auto.offset.reset", "error")
        switch groupProtocol {
        case .classic:
            try configuration.set("partition.assignment.strategy", "range")
            try configuration.set("session.timeout.ms", "\(sessionTimeout.milliseconds)")
            // A member learns of a rebalance by the answer to a heartbeat, and the partitions of all members wait for the last one.
            try configuration.set("heartbeat.interval.ms", "\(min(1000, max(1, sessionTimeout.milliseconds / 3)))")
        case .consumer:
            // librdkafka refuses these three here: they are the broker's.
            if let fault = KafkaProperties.groupProtocolFault(.consumer, in: client.properties) {
                throw KafkaError(.configuration, "kafka.group_protocol: \(fault)")
            }
            try configuration.set("group.protocol", groupProtocol.rawValue)
        }
        try configuration.set("max.poll.interval.ms", "\(max(60_000, sessionTimeout.milliseconds))")
        try configuration.set("queued.min.messages", "\(queuedMinimumRecords)")
        try configuration.set("queued.max.messages.kbytes", "\(queuedMaximumKibibytes)")
        try configuration.set("fetch.message.max.bytes", "\(fetchMaximumBytes)")
        try configuration.set("fetch.wait.max.ms", "\(fetchWait.milliseconds)")
        try configuration.set("fetch.error.backoff.ms", "100")
        // How soon added partitions are noticed; librdkafka's default is five minutes.
        try configuration.set("topic.metadata.refresh.interval.ms", "20000")
        // Reports the end of the log, also where it ends in transaction markers or compacted records.
        try configuration.set("enable.partition.eof", "true")
        // What the queues hold, and which brokers are connected: ``FetchStatistics``.
        try configuration.set("statistics.interval.ms", "1000")
        let hasQueueBackoff = configuration.setIfKnown("fetch.queue.backoff.ms", "5")
        try KafkaProperties.apply(client.properties, to: configuration)
        configuration.setEvents(
            RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_STATS)
        needsWakeUp = fetchWakeUp && !hasQueueBackoff
        return configuration
    }
}
