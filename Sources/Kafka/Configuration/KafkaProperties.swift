// Decides which librdkafka properties a user may set, and words the error where one is refused.

internal import CKafka

/// The rules for pass-through properties.
public enum KafkaProperties {
    /// Properties that Sluice sets itself, each with what to do instead. All of `queued.*` is refused, too.
    private static let owned: [String: String] = [
        "group.id": "set kafka.group_id",
        "group.instance.id": "set kafka.group_instance_id",
        "auto.offset.reset": "set kafka.auto_offset_reset",
        "enable.auto.commit": "offsets are committed with the rows they belong to",
        "enable.auto.offset.store": "offsets are committed with the rows they belong to",
        "partition.assignment.strategy": "all members of a group must use the same one; Sluice uses range",
        "acks": "an event is acknowledged once all in-sync replicas have it",
        "request.required.acks": "an event is acknowledged once all in-sync replicas have it",
        "enable.idempotence": "the producer is always idempotent",
        "partitioner": "keys must go to the partitions that Java producers choose (murmur2_random)",
        "partitioner_cb": "keys must go to the partitions that Java producers choose (murmur2_random)",
        "transactional.id": "the producer uses no transactions",
        "statistics.interval.ms": "the consumer reads the statistics each second",
        "bootstrap.servers": "set kafka.bootstrap_servers",
        "metadata.broker.list": "set kafka.bootstrap_servers",
    ]

    /// The errors of all pass-through properties that are refused, in the order of their names.
    public static func faults(in properties: [String: String]) -> [(name: String, error: KafkaError)] {
        let scratch = ConfigurationHandle()
        var faults: [(name: String, error: KafkaError)] = []
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) {
            do throws(KafkaError) {
                try apply(name, value, to: scratch)
            } catch {
                faults.append((name, error))
            }
        }
        return faults
    }

    /// Sets the user's properties; called after Sluice's defaults, so that they override them. Throws for the owned ones.
    static func apply(_ properties: [String: String], to configuration: borrowing ConfigurationHandle) throws(KafkaError) {
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) { try apply(name, value, to: configuration) }
    }

    private static func apply(
        _ name: String, _ value: String, to configuration: borrowing ConfigurationHandle
    ) throws(KafkaError) {
        if let instead = owned[name] {
            throw KafkaError(.configuration, "kafka.properties: \(name) is set by Sluice: \(instead)")
        }
        if name.hasPrefix("queued.") {
            throw KafkaError(
                .configuration, "kafka.properties: \(name) is set by Sluice: it follows from pipeline.memory_budget_bytes")
        }
        try configuration.set(name, value)
    }

    static func refusal(of name: String, value: String, isUnknown: Bool, text: String) -> KafkaError {
        if isUnknown {
            return KafkaError(
                .configuration,
                "kafka.properties: librdkafka \(String(cString: rd_kafka_version_str())) has no property \(name); "
                    + "its CONFIGURATION.md lists all")
        }
        // librdkafka quotes the value it refuses.
        let isSecret = ["password", "secret", ".pem", "oauthbearer.config", "jaas"].contains { name.contains($0) }
        let reason = isSecret ? "librdkafka refuses its value" : text
        return KafkaError(.configuration, "kafka.properties: \(name): \(reason); correct the value or remove the property")
    }
}
