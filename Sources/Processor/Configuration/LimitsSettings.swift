// Declares the section `limits`: rate limits of the ingress and of reading; its part `shed` has a file of its own.

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
    var consume = ConsumeLimits()
    var shed = SheddingSettings()

    static let section = Section<LimitsSettings>(
        "limits",
        help:
            "Rate limits of the ingress and of reading, and load shedding.",
        keys: [
            .sections(
                "policies", \.policies, each: PolicySettings.section, fresh: PolicySettings(),
                help:
                    "Rate limits of POST /send: each policy is a token bucket or a sliding window; [] is no limit. All "
                    + "policies are checked before any is charged. A client over a limit gets 429 with Retry-After; a request "
                    + "that could never pass gets 413. The levels of a policy survive a reload while its name, key and unit "
                    + "stay.", reload: .live),
            Key(
                "max_keys", \.maxKeys, .int(in: 16...4_000_000), unit: "clients",
                help:
                    "Clients with quotas of their own; all further clients share one. Each takes about 160 bytes.", reload: .live),
            Key(
                "key_idle", \.keyIdle, .duration(in: .seconds(1) ... .seconds(2_592_000)),
                help:
                    "A client that is not limited and has sent nothing for this time may be evicted when a new client needs "
                    + "its place. At no less than the longest window, an eviction forgets no usage.", reload: .live),
            Key(
                "headers", \.headers, .bool,
                help:
                    "Send the header fields RateLimit and RateLimit-Policy in addition to Retry-After.", reload: .live),
            Key(
                "retry_jitter", \.retryJitter, .double(in: 0...4), unit: "share",
                help:
                    "Random addition to Retry-After, as a share of the wait, so that refused clients do not return all at "
                    + "once.",
                reload: .live),
            .section(\.consume, ConsumeLimits.section),
            .section(\.shed, SheddingSettings.section),
        ])
}

extension ConsumeLimits {
    static let section = Section<ConsumeLimits>(
        "consume",
        help:
            "How fast a worker reads from Kafka: all topics together, and each topic. The lowest applicable limit "
            + "holds; a tenth of a second's amount may be read at once.",
        keys: [
            Key(
                "events_per_second", \.all.events, .int(in: 0...1_000_000_000),
                help: "Events per second of all topics; 0: no limit.", reload: .live),
            Key(
                "bytes_per_second", \.all.bytes, .bytes(in: 0...1 << 40),
                help:
                    "Bytes per second of keys, payloads and headers of all topics; 0: no limit.", reload: .live),
            .namedSections(
                "topics", \.topics, each: Rates.section, fresh: Rates(),
                help:
                    "Limits of single topics by name, such as {orders: {events_per_second: 100}}.", reload: .live),
        ])
}

extension ConsumeLimits.Rates {
    static let section = Section<ConsumeLimits.Rates>(
        "topic", help: "",
        keys: [
            Key(
                "events_per_second", \.events, .int(in: 0...1_000_000_000), help: "Events per second; 0: no limit.",
                reload: .live),
            Key("bytes_per_second", \.bytes, .bytes(in: 0...1 << 40), help: "Bytes per second; 0: no limit.", reload: .live),
        ])
}
