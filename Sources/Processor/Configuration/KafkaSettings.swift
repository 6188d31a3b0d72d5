// Declares the section `kafka`: where events come from and go to.

import Admission
import Settings

/// What a first start without any offset does.
enum OffsetReset: String, Sendable, CaseIterable {
    case earliest, latest, error
}

/// What is done about a stored offset that the log does not hold any more, or not yet.
enum OutOfRange: String, Sendable, CaseIterable {
    case stop, earliest, latest
}

struct KafkaSettings: Sendable {
    var bootstrapServers = "127.0.0.1:9092"
    var groupID = "sluice"
    var groupInstanceID = ""
    var clientID = "sluice"
    var autoOffsetReset = OffsetReset.earliest
    var offsetOutOfRange = OutOfRange.stop
    var sessionTimeout = Duration.seconds(10)
    var fetchWakeUp = true
    var linger = Duration.zero
    var requestsInFlight = 2
    var messageTimeout = Duration.seconds(8)
    var properties: [String: String] = [:]

    static let section = Section<KafkaSettings>(
        "kafka", help: "Where events come from, and where POST /send puts them.",
        keys: [
            Key("bootstrap_servers", \.bootstrapServers, .string, help: "Brokers to ask first: host:port, comma-separated."),
            Key("group_id", \.groupID, .string, help: "Consumer group. It also names the offsets in sluice_offsets."),
            Key(
                "group_instance_id", \.groupInstanceID, .string,
                help: "Static membership: a name for this one process, so that a restart within the session timeout moves no "
                    + "partition. Empty: none. Two processes must never share one: the newer ends the older."),
            Key("client_id", \.clientID, .string, help: "Shown in the brokers' logs and quotas; shorter than 32 characters."),
            Key(
                "auto_offset_reset", \.autoOffsetReset, .choice,
                help: "First start of a partition that has no offset in PostgreSQL and none committed in Kafka. error: the "
                    + "partition stops and says so."),
            Key(
                "offset_out_of_range", \.offsetOutOfRange, .choice,
                help: "A stored offset outside of the log (retention has passed it, or the topic was created anew). stop: the "
                    + "partition stops and says so; earliest, latest: it goes on there, and the log says what was skipped."),
            Key(
                "session_timeout", \.sessionTimeout, .duration(in: .seconds(1) ... .seconds(300)),
                help: "A member that is silent for so long loses its partitions. The broker's own bounds apply, too."),
            Key(
                "fetch_wakeup", \.fetchWakeUp, .bool,
                help:
                    "Wake librdkafka's fetcher when drained queues wait for it: several times the throughput in the same memory "
                    + "with librdkafka before 2.2."),
            Key(
                "linger", \.linger, .duration(in: .zero ... .seconds(10)),
                help: "How long POST /send lets records gather before they are sent."),
            Key(
                "requests_in_flight", \.requestsInFlight, .int(in: 1...5),
                help: "Produce requests under way to one broker at once: what arrives meanwhile goes together."),
            Key(
                "message_timeout", \.messageTimeout, .duration(in: .milliseconds(100) ... .seconds(300)),
                help: "How long POST /send waits for the broker's acknowledgement before it answers 503."),
            Key(
                "properties", \.properties, .map,
                help: "Any librdkafka property, TLS and SASL included (librdkafka's CONFIGURATION.md lists them). The few that "
                    + "Sluice sets itself are refused by name."),
        ],
        rules: [
            Rule("bootstrap_servers", sentence: "must name at least one broker as host:port") { !$0.bootstrapServers.isEmpty },
            Rule("group_id", sentence: "must not be empty") { !$0.groupID.isEmpty },
            Rule("client_id", sentence: "must have 1 to 31 characters") { (1..<32).contains($0.clientID.utf8.count) },
        ])
}
