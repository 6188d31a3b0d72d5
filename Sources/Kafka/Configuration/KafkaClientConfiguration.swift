// Owns the settings all clients share: brokers, client id, and the user's own librdkafka properties.

internal import CKafka
internal import Platform
public import Telemetry

/// Settings of the consumer, the producer and the metadata client.
public struct KafkaClientConfiguration: Sendable {
    /// `host:port`, comma-separated.
    public var bootstrapServers: String
    /// `client.id`, which brokers use in logs and quotas. Shorter than 32 characters (librdkafka 2.0.2 crashes on longer ones).
    public var clientID: String
    /// Pass-through properties; see ``KafkaProperties``. They override Sluice's defaults.
    public var properties: [String: String]
    /// A program and its arguments that prints the token of SASL/OAUTHBEARER; empty: none. See ``KafkaProperties/tokenFault(in:hasCommand:)``.
    public var tokenCommand: [String]
    /// Receives librdkafka's log lines.
    public var log: LogHandler

    /// Settings of the consumer, the producer and the metadata client.
    public init(
        bootstrapServers: String, clientID: String = "sluice", properties: [String: String] = [:], tokenCommand: [String] = [],
        log: @escaping LogHandler = { _, _ in }
    ) {
        self.bootstrapServers = bootstrapServers
        self.clientID = clientID
        self.properties = properties
        self.tokenCommand = tokenCommand
        self.log = log
    }

    /// The shared defaults; the caller adds its own, and then the user's properties.
    func makeConfiguration() throws(KafkaError) -> ConfigurationHandle {
        guard !bootstrapServers.isEmpty else {
            throw KafkaError(.configuration, "no Kafka broker is configured; set kafka.bootstrap_servers to host:port")
        }
        guard clientID.utf8.count < 32 else {
            throw KafkaError(.configuration, "the Kafka client id \(clientID) has 32 characters or more; choose a shorter one")
        }
        let configuration = ConfigurationHandle()
        try configuration.set("bootstrap.servers", bootstrapServers)
        try configuration.set("client.id", clientID)
        try configuration.set("socket.nagle.disable", "true")
        try configuration.set("socket.keepalive.enable", "true")
        try configuration.set("socket.timeout.ms", "10000")
        // librdkafka's default of 10 s would delay the recovery after an outage by as much.
        try configuration.set("reconnect.backoff.max.ms", "1000")
        try configuration.set("log.connection.close", "false")
        // As Java's consumers do (exclude.internal.topics): an expression would match them, and each offset commit would be a record.
        try configuration.set("topic.blacklist", TopicPattern.internalTopics.map { "^\($0)$" }.joined(separator: ","))
        return configuration
    }
}
