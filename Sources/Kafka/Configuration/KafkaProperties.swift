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
        "group.protocol": "set kafka.group_protocol",
        "acks": "an event is acknowledged once all in-sync replicas have it",
        "request.required.acks": "an event is acknowledged once all in-sync replicas have it",
        "enable.idempotence": "the producer is always idempotent",
        "partitioner": "keys must go to the partitions that Java producers choose (murmur2_random)",
        "partitioner_cb": "keys must go to the partitions that Java producers choose (murmur2_random)",
        "transactional.id": "the producer uses no transactions",
        "statistics.interval.ms": "the consumer reads the statistics each second",
        "bootstrap.servers": "set kafka.bootstrap_servers",
        "metadata.broker.list": "set kafka.bootstrap_servers",
        "client.id": "set kafka.client_id",
        "session.timeout.ms": "set kafka.session_timeout",
        "message.timeout.ms": "set kafka.message_timeout",
        "delivery.timeout.ms": "set kafka.message_timeout",
        "delivery.report.only.error": "POST /send is answered when the report of its record arrives",
        "enable.partition.eof": "where a log ends in transaction markers, its end is known from these events only",
        "log.queue": "librdkafka's log lines go to Sluice's log",
        "topic.blacklist": "topics in the mappings name what is read; Kafka's own topics never are",
        "enable.sasl.callback.queue": "nothing serves that queue, so no token would be refreshed",
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

    /// What the properties ask for and the library in use does in a way that may surprise: a sentence each.
    public static func warnings(of properties: [String: String]) -> [String] {
        warnings(of: properties, isScramAcceptedByKafka4: KafkaLibrary.isScramAcceptedByKafka4)
    }

    static func warnings(of properties: [String: String], isScramAcceptedByKafka4: Bool) -> [String] {
        let mechanism = properties["sasl.mechanism"] ?? properties["sasl.mechanisms"] ?? ""
        guard mechanism.uppercased().hasPrefix("SCRAM"), !isScramAcceptedByKafka4 else { return [] }
        return [
            "brokers of Kafka 4 refuse \(mechanism) of librdkafka \(KafkaLibrary.version) with \"Authentication failed\", also with the "
                + "right password; use librdkafka 2.6.1 or newer, or PLAIN over TLS"
        ]
    }

    /// Why a group cannot be run by a protocol; `nil`: it can.
    public static func groupProtocolFault(_ groupProtocol: GroupProtocol, in properties: [String: String]) -> String? {
        guard groupProtocol == .consumer else { return nil }
        guard KafkaLibrary.hasConsumerProtocol else {
            return
                "consumer needs librdkafka 2.12.0 or newer, and \(KafkaLibrary.version) is in use; install a newer one, or set classic"
        }
        let classic = ["heartbeat.interval.ms", "group.protocol.type"].filter { properties[$0] != nil }
        return classic.isEmpty
            ? nil
            : "kafka.properties has \(classic.joined(separator: ", ")), which the protocol consumer does not know; remove it"
    }

    /// What is wrong with where the tokens of SASL/OAUTHBEARER come from; `nil`: nothing.
    /// - Parameter hasCommand: whether ``KafkaClientConfiguration/tokenCommand`` prints them.
    public static func tokenFault(in properties: [String: String], hasCommand: Bool) -> String? {
        func value(_ names: String...) -> String { names.lazy.compactMap { properties[$0] }.first?.lowercased() ?? "" }
        let isBearer =
            value("security.protocol").hasPrefix("sasl_") && value("sasl.mechanisms", "sasl.mechanism") == "oauthbearer"
        let others = [("sasl.oauthbearer.method", "oidc"), ("enable.sasl.oauthbearer.unsecure.jwt", "true")]
        let other = others.first { value($0.0) == $0.1 }
        switch (isBearer, hasCommand, other) {
        case (true, false, nil):
            return
                "OAUTHBEARER needs a source of tokens: set this, or in kafka.properties sasl.oauthbearer.method: oidc with the "
                + "properties of the token endpoint"
        case (false, true, _):
            return
                "its tokens are for OAUTHBEARER: set in kafka.properties security.protocol: SASL_SSL and sasl.mechanism: OAUTHBEARER, "
                + "or remove it"
        case (true, true, let other?):
            return "tokens come from this program or by \(other.0): \(other.1) of kafka.properties; remove one of them"
        default: return nil
        }
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
        // librdkafka quotes the value it refuses. One of several lines may be a whole file of properties, with a password in it.
        let isSecret =
            value.contains(where: \.isNewline)
            || ["password", "secret", ".pem", "oauthbearer.config", "jaas"].contains { name.contains($0) }
        let reason = isSecret ? "librdkafka refuses its value" : text
        return KafkaError(.configuration, "kafka.properties: \(name): \(reason); correct the value or remove the property")
    }
}
