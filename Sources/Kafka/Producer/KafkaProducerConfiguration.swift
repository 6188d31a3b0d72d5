// Owns a producer's settings and turns them into librdkafka's.

internal import CKafka

/// An idempotent producer's settings.
public struct KafkaProducerConfiguration: Sendable {
    /// Brokers, name, pass-through properties, log.
    public var client: KafkaClientConfiguration
    /// How long a record waits for others to share its request; fractions of a millisecond count.
    public var linger: Duration = .zero
    /// Requests on the way to one broker; at most 5 with idempotence.
    public var requestsInFlight: Int = 5
    /// How long a record may take to be acknowledged, retries included. Keep it below the patience of those who wait.
    public var messageTimeout: Duration = .seconds(8)
    /// Records taken and not reported yet; more are ``KafkaError/Code/queueFull``.
    public var inFlightRecords: Int = 50_000
    /// Bytes of keys and payloads taken and not reported yet.
    public var inFlightBytes: Int = 64 << 20

    /// An idempotent producer's settings.
    public init(client: KafkaClientConfiguration) { self.client = client }

    func makeConfiguration() throws(KafkaError) -> ConfigurationHandle {
        let configuration = try client.makeConfiguration()
        try configuration.set("acks", "all")
        try configuration.set("enable.idempotence", "true")
        // Java's choice of partition, so that a key's records share one whoever produces them.
        try configuration.set("partitioner", "murmur2_random")
        try configuration.set("linger.ms", "\(Double(linger.nanoseconds) / 1_000_000)")
        try configuration.set("max.in.flight.requests.per.connection", "\(requestsInFlight)")
        try configuration.set("message.timeout.ms", "\(messageTimeout.milliseconds)")
        // Our own bounds come first; librdkafka's only back them up, with room for one record larger than ours.
        try configuration.set("queue.buffering.max.messages", "\(max(1, min(inFlightRecords, 5_000_000) * 2))")
        try configuration.set("queue.buffering.max.kbytes", "\(min(inFlightBytes >> 9, 1_000_000) + (64 << 10))")
        // A topic that cannot be found must fail records before their time-out does.
        try configuration.set("topic.metadata.propagation.max.ms", "\(max(1, messageTimeout.milliseconds / 2))")
        try KafkaProperties.apply(client.properties, to: configuration)
        configuration.setEvents(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR)
        return configuration
    }
}
