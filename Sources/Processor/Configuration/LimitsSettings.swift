// Declares the section `limits`: what may come in at the ingress, when it is refused, and how fast events may be read.

import Admission
import Backpressure
import Settings

struct LimitsSettings: Sendable {
    var policies = [
        PolicySettings(name: "burst", key: .client, unit: .requests, bucket: BucketSettings(rate: 25_000, burst: 50_000)),
        PolicySettings(name: "quota", key: .client, unit: .events, window: WindowSettings(limit: 3_000_000, seconds: 60)),
    ]
    var maxKeys = 100_000
    var keyIdle = Duration.seconds(300)
    var headers = true
    var retryJitter = 0.25
    var consume = ConsumeSettings()
    var shed = SheddingSettings()

    static let section = Section<LimitsSettings>(
        "limits", help: "Hard caps an operator sets.",
        keys: [
            .sections(
                "policies", \.policies, each: PolicySettings.section, fresh: PolicySettings(),
                help:
                    "What POST /send takes: each policy a token bucket or a sliding window. All are checked before any is charged; who "
                    + "is refused gets 429 and Retry-After. A policy keeps its levels over a reload as long as its name, key and unit "
                    + "stay.", reload: .live),
            Key(
                "max_keys", \.maxKeys, .int(in: 16...4_000_000), unit: "clients",
                help: "Clients that have quotas of their own; further ones share one. Each takes about 350 bytes.", reload: .live),
            Key(
                "key_idle", \.keyIdle, .duration(in: .seconds(1) ... .seconds(2_592_000)),
                help:
                    "A client that is not limited and was silent for so long is forgotten where there is no other room for a new one. "
                    + "No shorter than the longest window, nothing it has used is forgotten.", reload: .live),
            Key("headers", \.headers, .bool, help: "RateLimit and RateLimit-Policy beside Retry-After.", reload: .live),
            Key(
                "retry_jitter", \.retryJitter, .double(in: 0...4), unit: "share",
                help: "How much later than it could a refused client is told to come back at most, as a share of its wait.",
                reload: .live),
            .section(\.consume, ConsumeSettings.section),
            .section(\.shed, SheddingSettings.section),
        ])
}

/// Rates of reading from Kafka; they protect the database from a worker that could go faster.
struct ConsumeSettings: Sendable {
    var eventsPerSecond = 0
    var bytesPerSecond = 0
    var topics: [String: RateSettings] = [:]

    static let section = Section<ConsumeSettings>(
        "consume",
        help:
            "How fast a worker reads, all topics together and topic by topic; the least of all that apply counts. A tenth of a second's "
            + "worth may be read at once.",
        keys: [
            Key(
                "events_per_second", \.eventsPerSecond, .int(in: 0...1_000_000_000),
                help: "Events of all topics a second; 0: no limit.", reload: .live),
            Key(
                "bytes_per_second", \.bytesPerSecond, .bytes(in: 0...1 << 40),
                help: "Bytes of keys, payloads and headers of all topics a second; 0: no limit.", reload: .live),
            .namedSections(
                "topics", \.topics, each: RateSettings.section, fresh: RateSettings(),
                help: "The same for single topics, by name: {orders: {events_per_second: 100}}.", reload: .live),
        ])

    var limits: ConsumeLimits {
        ConsumeLimits(
            all: ConsumeLimits.Rates(events: eventsPerSecond, bytes: bytesPerSecond), topics: topics.mapValues(\.rates))
    }
}

/// The rates of one topic.
struct RateSettings: Sendable {
    var eventsPerSecond = 0
    var bytesPerSecond = 0

    static let section = Section<RateSettings>(
        "topic", help: "",
        keys: [
            Key(
                "events_per_second", \.eventsPerSecond, .int(in: 0...1_000_000_000), help: "Events a second; 0: no limit.",
                reload: .live),
            Key(
                "bytes_per_second", \.bytesPerSecond, .bytes(in: 0...1 << 40), help: "Bytes a second; 0: no limit.",
                reload: .live),
        ])

    var rates: ConsumeLimits.Rates { ConsumeLimits.Rates(events: eventsPerSecond, bytes: bytesPerSecond) }
}
