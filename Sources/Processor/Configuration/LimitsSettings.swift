// Declares the section `limits`: how fast events may be read.

import Backpressure
import Settings

struct LimitsSettings: Sendable {
    var consume = ConsumeSettings()

    static let section = Section<LimitsSettings>(
        "limits", help: "Hard caps an operator sets.", keys: [.section(\.consume, ConsumeSettings.section)])
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
