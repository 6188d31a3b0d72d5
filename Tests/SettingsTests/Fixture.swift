// Owns a small program's settings with a key of every kind, and shorthands for reading them.

import Settings

enum Reset: String, Sendable, CaseIterable { case earliest, latest, error }

struct KafkaFixture: Sendable, Equatable {
    var servers = "127.0.0.1:9092"
    var password = ""
    var reset = Reset.earliest
    var properties: [String: String] = [:]

    static let section = Section<KafkaFixture>(
        "kafka", help: "Where events come from.",
        keys: [
            Key("bootstrap_servers", \.servers, .string, help: "Brokers to ask first."),
            Key("password", \.password, .string, help: "SASL password.", secrecy: .secret),
            Key("auto_offset_reset", \.reset, .choice, help: "Where a group without offsets begins."),
            .mergedMap("properties", \.properties, help: "Any librdkafka property."),
        ])
}

struct PipelineFixture: Sendable, Equatable {
    var budget = 67_108_864
    var low = 0.25
    var high = 0.75
    var dwell = Duration.milliseconds(500)
    var watch = Watch()

    struct Watch: Sendable, Equatable {
        var isOn = true
        var after = Duration.seconds(30)

        static let section = Section<Watch>(
            "watchdog", help: "Names what stands still.",
            keys: [
                Key("enabled", \.isOn, .bool, help: "Watch at all."),
                Key("after", \.after, .duration(in: .seconds(1) ... .seconds(3600)), help: "How long is too long."),
            ])
    }

    static let section = Section<PipelineFixture>(
        "pipeline", help: "What is in flight | held.",
        keys: [
            Key("memory_budget_bytes", \.budget, .bytes(in: 1_048_576 ... .max), help: "Most bytes held.", reload: .live),
            Key("low_watermark", \.low, .double(in: 0...1), unit: "share", help: "Resume at."),
            Key("high_watermark", \.high, .double(in: 0...1), unit: "share", help: "Pause at."),
            Key("dwell", \.dwell, .duration(), help: "How long a partition starves before it is paused.", reload: .live),
            .section(\.watch, Watch.section),
        ],
        rules: [
            Rule("low_watermark", "high_watermark", sentence: "must be below high_watermark") { $0.low < $0.high }
        ])
}

struct PolicyFixture: Sendable, Equatable {
    var name = ""
    var rate = 1.0
    var burst = 10

    static let section = Section<PolicyFixture>(
        "policy", help: "",
        keys: [
            Key("name", \.name, .string, help: "Its name.", isRequired: true),
            Key("rate", \.rate, .double(in: 0 ... .infinity), help: "A second."),
            Key("burst", \.burst, .int(in: 1...1000), help: "At once."),
        ],
        rules: [Rule("burst", "rate", sentence: "must be at least rate") { Double($0.burst) >= $0.rate }])
}

struct Fixture: Sendable, Equatable {
    var kafka = KafkaFixture()
    var uri = ""
    var connections = 2
    var mappings = ["mappings/messages.yaml"]
    var pipeline = PipelineFixture()
    var policies: [PolicyFixture] = []

    static let schema = SettingsSchema(
        schemaSection, defaults: Fixture(), renamed: ["pipeline.rest": "pipeline.dwell", "servers": "kafka.bootstrap_servers"],
        moved: ["pipeline.squeeze": "squeeze: in the other file (on, off)"])

    static let schemaSection =
        Section<Fixture>(
            "", help: "",
            keys: [
                .section(\.kafka, KafkaFixture.section),
                Key("postgres_uri", \.uri, .string, help: "The database.", secrecy: .connectionString, isRequired: true),
                Key(
                    "connections", \.connections, .int(in: 1...64).checked("must be even") { $0.isMultiple(of: 2) },
                    unit: "connections", help: "Apply lanes."),
                Key("mappings", \.mappings, .list(of: .path, atLeast: 1), help: "Mapping files."),
                .section(\.pipeline, PipelineFixture.section),
                .sections(
                    "policies", \.policies, each: PolicyFixture.section, fresh: PolicyFixture(), help: "Limits.", reload: .live),
            ],
            rules: [
                Rule("connections", "pipeline.memory_budget_bytes", sentence: "must leave each connection 1MiB") {
                    $0.pipeline.budget / $0.connections >= 1 << 20
                }
            ])

    /// What reading gives, or the faults one a line.
    static func read(
        _ yaml: String? = nil, file: String = "config/sluice.yaml", environment: [String: String] = [:], ignoring: [String] = []
    ) -> (settings: EffectiveSettings<Fixture>?, faults: [String]) {
        do {
            let node = try yaml.map { text throws(SettingsFaults) in try YAML.parse(text: text, file: file) }
            let source = SettingsSource(file: node, environment: environment, ignoredPrefixes: ignoring)
            return (try schema.read(source), [])
        } catch {
            return (nil, error.faults.map(\.description))
        }
    }
}

extension SettingsSchema {
    /// The settings, or all faults.
    func read(_ source: SettingsSource) throws(SettingsFaults) -> EffectiveSettings<Root> {
        let (effective, faults) = survey(source)
        guard faults.isEmpty else { throw SettingsFaults(faults) }
        return effective
    }
}
