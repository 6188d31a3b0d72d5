// Tells which librdkafka is in use.

internal import CKafka

/// librdkafka, as it was loaded.
public enum KafkaLibrary {
    /// Its version, such as `2.0.2`.
    public static var version: String { String(cString: rd_kafka_version_str()) }

    /// Whether it has the group protocol `consumer` (KIP-848): 2.12.0 is the first release in which it is finished (its INTRODUCTION.md).
    public static var hasConsumerProtocol: Bool { rd_kafka_version() >= 0x020c_0000 }

    /// Whether its SCRAM is accepted by brokers of Kafka 4.
    ///
    /// Before 2.6.1 librdkafka puts the client's part of the nonce into its final message twice (its CHANGELOG, 2.6.1; RFC 5802, section 3).
    /// Kafka 4 compares the nonce strictly.
    static var isScramAcceptedByKafka4: Bool { rd_kafka_version() >= 0x0206_0100 }
}
