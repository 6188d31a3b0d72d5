// Owns a producer's settings and turns them into librdkafka's.

internal import CKafka
internal import Platform

/// An idempotent producer's settings.
public struct KafkaProducerConfiguration: Sendable {
    /// Brokers, client id, pass-through properties, log.
    public var client: KafkaClientConfiguration
    /// `linger.ms`: how long a record waits for others to share its request; fractions of a millisecond count.
    public var linger: Duration = .zero
    /// Requests in flight to one broker; at most 5 with idempotence.
    public var requestsInFlight: Int = 5
    /// How long a record may take to be acknowledged, retries included. Keep it below the timeout of the clients that wait for
    /// it.
    public var messageTimeout: Duration = .seconds(8)
    /// The largest batch that the topics' brokers take (the topic's `max.message.bytes`); `nil`: not known. A record that alone is larger
    /// is sent all the same.
    public var batchBytes: Int?
    /// Most records in flight (accepted and not reported yet); further ones are refused as ``KafkaError/Code/queueFull``.
    public var inFlightRecords: Int = 50_000
    /// Most bytes of keys and payloads in flight.
    public var inFlightBytes: Int = 64 << 20

    /// An idempotent producer's settings.
    public init(client: KafkaClientConfiguration) { self.client = client }

    /// librdkafka's default of `batch.size`.
    private static let standardBatchBytes = 1_000_000

    func makeConfiguration() throws(KafkaError) -> ConfigurationHandle {
        let configuration = try client.makeConfiguration()
        try configuration.set("acks", "all")
        try configuration.set("enable.idempotence", "true")
        // As Java producers do, so that the records of a key are in one partition whichever client produces them.
        try configuration.set("partitioner", "murmur2_random")
        try configuration.set("linger.ms", "\(Double(linger.nanoseconds) / 1_000_000)")
        try configuration.set("max.in.flight.requests.per.connection", "\(requestsInFlight)")
        try configuration.set("message.timeout.ms", "\(messageTimeout.milliseconds)")
        // librdkafka does not split a batch that the broker finds too large.
        if let batchBytes { try configuration.set("batch.size", "\(min(Self.standardBatchBytes, max(1, batchBytes)))") }
        // Sluice's own bounds are reached first; librdkafka's are larger, with space for one record beyond ours.
        try configuration.set("queue.buffering.max.messages", "\(max(1, min(inFlightRecords, 5_000_000) * 2))")
        try configuration.set("queue.buffering.max.kbytes", "\(min(inFlightBytes >> 9, 1_000_000) + (64 << 10))")
        // Records of a topic that does not exist must fail before their timeout.
        try configuration.set("topic.metadata.propagation.max.ms", "\(max(1, messageTimeout.milliseconds / 2))")
        try KafkaProperties.apply(client.properties, to: configuration)
        configuration.setEvents(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR)
        return configuration
    }
}
