// Declares the section `kafka`.

import Kafka
import Settings
import Telemetry

/// Where a partition without any offset starts.
enum OffsetReset: String, Sendable, CaseIterable {
    case earliest, latest, error
}

/// Where a partition starts of which nothing is stored, but an offset is committed in Kafka.
enum FirstStart: String, Sendable, CaseIterable {
    case committed, earliest
}

/// What happens where a stored offset is outside the log.
enum OutOfRange: String, Sendable, CaseIterable {
    case stop, earliest, latest
}

struct KafkaSettings: Sendable {
    var bootstrapServers = "127.0.0.1:9092"
    var groupID = "sluice"
    var groupInstanceID = ""
    var groupProtocol = GroupProtocol.classic
    var clientID = "sluice"
    var autoOffsetReset = OffsetReset.earliest
    var firstStart = FirstStart.committed
    var offsetOutOfRange = OutOfRange.stop
    var sessionTimeout = Duration.seconds(10)
    var waitForTopics = true
    var fetchWakeUp = true
    var linger = Duration.zero
    var requestsInFlight = 2
    var messageTimeout = Duration.seconds(8)
    var tokenCommand: [String] = []
    var properties: [String: String] = [:]

    /// The files that properties name, such as `ssl.certificate.location`. librdkafka reads them when a client is made, and never again.
    var files: [String] {
        properties.filter { $0.key.hasSuffix(".location") || $0.key.hasSuffix(".keytab") }.map(\.value).sorted()
    }

    static let section = Section<KafkaSettings>(
        "kafka",
        help:
            "Kafka: where events are read from, and where POST /send writes them.",
        keys: [
            Key(
                "bootstrap_servers", \.bootstrapServers, .string,
                help:
                    "Brokers for the first connection: host:port, comma-separated."),
            Key(
                "group_id", \.groupID, .string,
                help:
                    "Consumer group. The offsets in sluice_offsets are stored under its name, too."),
            Key(
                "group_instance_id", \.groupInstanceID, .string,
                help:
                    "Static membership: the name of this one process, so that a restart within session_timeout moves no "
                    + "partition. Empty: dynamic membership. Of two processes with one name the newer fences the older."),
            Key(
                "group_protocol", \.groupProtocol, .choice,
                help:
                    "classic: a rebalance stops all members. consumer: the broker decides (KIP-848, Kafka 4.0), and it stops the "
                    + "members whose partitions change; needs librdkafka 2.12 or newer, and the session timeout is the broker's."),
            Key(
                "client_id", \.clientID, .string,
                help:
                    "Client name in the brokers' logs and quotas; at most 31 characters."),
            Key(
                "auto_offset_reset", \.autoOffsetReset, .choice,
                help:
                    "Where the group starts a topic of which it has no offset in PostgreSQL and no committed offset in Kafka. "
                    + "error: the partition stops, also one that is added later; otherwise an added one is read from its beginning."
            ),
            Key(
                "first_start", \.firstStart, .choice,
                help:
                    "Where a partition starts of which PostgreSQL has no offset, but the group has committed one to Kafka: a new "
                    + "database under a group that has run before. committed: there, with a warning that counts the records "
                    + "before it; earliest: at the beginning of the log."),
            Key(
                "offset_out_of_range", \.offsetOutOfRange, .choice,
                help:
                    "What happens where the log does not fit a stored offset (retention has deleted it, or the topic was deleted "
                    + "and created again). stop: the partition stops; earliest, latest: it continues there, and the log says "
                    + "which offset was not used."),
            Key(
                "session_timeout", \.sessionTimeout, .duration(in: .seconds(1) ... .seconds(300)),
                help:
                    "A group member that sends no heartbeat for this time loses its partitions. The brokers' limits apply, "
                    + "too."),
            Key(
                "wait_for_topics", \.waitForTopics, .bool,
                help:
                    "A topic that does not exist at the start is waited for, and /readyz names it; the others are read meanwhile. "
                    + "false: the process ends with an error."),
            Key(
                "fetch_wakeup", \.fetchWakeUp, .bool,
                help:
                    "Wake librdkafka's fetcher when the queues are drained and it still waits: several times the throughput "
                    + "in the same memory with librdkafka before 2.2."),
            Key(
                "linger", \.linger, .duration(in: .zero ... .seconds(10)),
                help:
                    "How long POST /send waits for further records before it sends a batch to a broker."),
            Key(
                "requests_in_flight", \.requestsInFlight, .int(in: 1...5),
                help:
                    "The most produce requests in flight per broker; records that arrive meanwhile are sent in one batch."),
            Key(
                "message_timeout", \.messageTimeout, .duration(in: .milliseconds(100) ... .seconds(300)),
                help:
                    "How long POST /send waits for the broker's acknowledgement before it answers 503."),
            Key(
                "token_command", \.tokenCommand, .list(of: .string),
                help:
                    "A program and its arguments, run without a shell within 30 seconds, by each of the process's Kafka clients, "
                    + "whenever a token of SASL/OAUTHBEARER is needed. It prints a JSON Web Token, or "
                    + "{\"access_token\": \"...\", \"expires_in\": 900}, with \"extensions\" where the brokers want some. Empty: none."
            ),
            .mergedMap(
                "properties", \.properties,
                help:
                    "Any librdkafka property, TLS and SASL included (librdkafka's CONFIGURATION.md lists them), such as "
                    + "{security.protocol: SASL_SSL}. Properties that Sluice sets itself are refused by name. The environment adds "
                    + "to them or replaces single ones: SLUICE_KAFKA_PROPERTIES_SASL_PASSWORD for sasl.password, with _FILE a "
                    + "file that holds it; SLUICE_KAFKA_PROPERTIES_FILE a file with one property a line."),
        ],
        rules: [
            Rule("bootstrap_servers", sentence: "must name at least one broker as host:port") { !$0.bootstrapServers.isEmpty },
            Rule("group_id", sentence: "must not be empty") { !$0.groupID.isEmpty },
            Rule("token_command", sentence: "must begin with a program") { $0.tokenCommand.first != "" },
            Rule("client_id", sentence: "must have 1 to 31 characters") { (1..<32).contains($0.clientID.utf8.count) },
        ])
}

extension KafkaSettings {
    /// What all Kafka clients of the process share.
    func client(log: @escaping LogHandler) -> KafkaClientConfiguration {
        KafkaClientConfiguration(
            bootstrapServers: bootstrapServers, clientID: clientID, properties: properties, tokenCommand: tokenCommand, log: log)
    }
}

extension Logger {
    /// Writes what librdkafka's properties will surprise somebody with.
    func warn(of settings: KafkaSettings) {
        for warning in KafkaProperties.warnings(of: settings.properties) {
            self.warning("A Kafka property needs attention.", ["message": warning])
        }
    }
}
