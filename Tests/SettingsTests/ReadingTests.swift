// Checks what settings come out of a file, and every fault by its whole text.

import Settings
import Testing

@Suite struct ReadingTests {
    private let uri = "postgres_uri: postgres://sluice:pw@db/app\n"

    @Test func everyKindIsRead() throws {
        let (settings, faults) = Fixture.read(
            """
            kafka:
              bootstrap_servers: broker:9092
              password: 12345
              auto_offset_reset: latest
              properties:
                fetch.min.bytes: 1
                ssl.key.password: "hidden"
                check.crcs: true
            postgres_uri: host=/run/pg dbname=x
            connections: 1_6
            mappings: [./a.yaml, b/c.yaml, /etc/d.yaml]
            pipeline:
              memory_budget_bytes: 1.5GiB
              low_watermark: 1e-1
              dwell: 1.5
              watchdog:
                enabled: false
                after: 5m
            policies:
              - {name: burst, rate: 2.5}
              - name: "quota"
                burst: 20
            """)
        #expect(faults == [])
        let value = try #require(settings).value
        #expect(
            value
                == Fixture(
                    kafka: KafkaFixture(
                        servers: "broker:9092", password: "12345", reset: .latest,
                        properties: ["fetch.min.bytes": "1", "ssl.key.password": "hidden", "check.crcs": "true"]),
                    uri: "host=/run/pg dbname=x", connections: 16,
                    mappings: ["config/a.yaml", "config/b/c.yaml", "/etc/d.yaml"],
                    pipeline: PipelineFixture(
                        budget: 1_610_612_736, low: 0.1, high: 0.75, dwell: .milliseconds(1500),
                        watch: .init(isOn: false, after: .seconds(300))),
                    policies: [PolicyFixture(name: "burst", rate: 2.5), PolicyFixture(name: "quota", burst: 20)]))
    }

    @Test func emptySectionsSetNothing() throws {
        let (settings, faults) = Fixture.read(uri + "kafka:\npipeline: {}\npolicies:\n")
        #expect(faults == [])
        var expected = Fixture()
        expected.uri = "postgres://sluice:pw@db/app"
        expected.mappings = ["config/mappings/messages.yaml"]
        #expect(settings?.value == expected)
    }

    @Test func allFaultsComeAtOnceWithTheirLines() {
        let (_, faults) = Fixture.read(
            """
            kafka:
              bootstrap_server: x
              auto_offset_reset: earlest
              properties: {a: [1], b: }
            connections: 3
            pipeline:
              memory_budget_bytes: 12
              low_watermark: 2
              dwell: soon
              watchdog: {enabled: yes, after: 10ms, after_all: 1}
            mapings: []
            mappings: []
            memory_budget_bytes: 5
            policies:
              - {rate: -1}
              - {name: x, burst: 5, rate: 6}
              - text
            """)
        #expect(
            faults == [
                "config/sluice.yaml:11: mapings: is not a known key; did you mean mappings?",
                "config/sluice.yaml:13: memory_budget_bytes: is not a known key; did you mean pipeline.memory_budget_bytes?",
                "config/sluice.yaml:2: kafka.bootstrap_server: is not a known key; did you mean kafka.bootstrap_servers?",
                "config/sluice.yaml:3: kafka.auto_offset_reset: must be earliest, latest or error, is earlest; did you mean earliest?",
                "config/sluice.yaml:4: kafka.properties: the value of \"a\" must be one text, is a list",
                "config/sluice.yaml:4: kafka.properties: the value of \"b\" must be one text, is nothing; write \"\" for an empty text",
                "config/sluice.yaml: postgres_uri: is not set and has no default; set it here or as SLUICE_POSTGRES_URI",
                "config/sluice.yaml:5: connections: must be even, is 3",
                "config/sluice.yaml:12: mappings: must hold at least 1, holds 0",
                "config/sluice.yaml:7: pipeline.memory_budget_bytes: must be at least 1MiB, is 12",
                "config/sluice.yaml:8: pipeline.low_watermark: must be between 0 and 1, is 2",
                "config/sluice.yaml:9: pipeline.dwell: must be a duration such as 500ms, 20s, 5m or a number of seconds, is soon",
                "config/sluice.yaml:10: pipeline.watchdog.after_all: is not a known key; known here: enabled, after",
                "config/sluice.yaml:10: pipeline.watchdog.enabled: must be true or false, is yes",
                "config/sluice.yaml:10: pipeline.watchdog.after: must be between 1s and 1h, is 10ms",
                "config/sluice.yaml:15: policies[0].name: is not set and has no default; set it here",
                "config/sluice.yaml:15: policies[0].rate: must be at least 0, is -1",
                "config/sluice.yaml:16: policies[1].burst: must be at least rate; policies[1].burst is 5, policies[1].rate is 6",
                "config/sluice.yaml:17: policies[2]: must be a mapping with keys such as name, rate or burst, is a value",
            ])
    }

    @Test func rulesAreAskedWhereTheirKeysAreSound() {
        #expect(
            Fixture.read(uri + "pipeline:\n  high_watermark: 0.1\n").faults == [
                "config/sluice.yaml:3: pipeline.high_watermark: must be below high_watermark; "
                    + "pipeline.low_watermark is 0.25, pipeline.high_watermark is 0.1"
            ])
        #expect(
            Fixture.read(uri + "pipeline:\n  memory_budget_bytes: 1MiB\n").faults == [
                "config/sluice.yaml:3: pipeline.memory_budget_bytes: must leave each connection 1MiB; "
                    + "connections is 2, pipeline.memory_budget_bytes is 1MiB"
            ])
    }

    @Test(arguments: [
        ("connections: 010", "must be a whole number between 1 and 64, is 010"),
        ("connections: 0x10", "must be a whole number between 1 and 64, is 0x10"),
        ("connections: 1__0", "must be a whole number between 1 and 64, is 1__0"),
        ("connections: 99999999999999999999", "must be a whole number between 1 and 64, is 99999999999999999999"),
        ("connections: [1]", "must be a whole number between 1 and 64, is a list"),
        ("connections:", "must be a whole number between 1 and 64, is nothing; write a value or remove the key"),
        ("connections: \"\"", "must be a whole number between 1 and 64, is \"\""),
        ("mappings: a.yaml", "must be a list, is a value; write [a.yaml]"),
        ("mappings: [a.yaml, {b: c}]", "must be a path, is a mapping"),
        ("pipeline: {low_watermark: nan}", "must be a number between 0 and 1, is nan"),
        ("pipeline: {low_watermark: 0x1p-2}", "must be a number between 0 and 1, is 0x1p-2"),
        ("pipeline: {dwell: 5 minutes}", "must be a duration such as 500ms, 20s, 5m or a number of seconds, is \"5 minutes\""),
        ("pipeline: {dwell: -1s}", "must be at least 0s, is -1s"),
        ("pipeline: {dwell: 1e30s}", "must be a duration such as 500ms, 20s, 5m or a number of seconds, is 1e30s"),
        (
            "pipeline: {memory_budget_bytes: 64MB}",
            "must be a number of bytes such as 65536, 64KiB or 1GiB (units B, KiB, MiB, GiB), is 64MB"
        ),
        (
            "pipeline: {memory_budget_bytes: 9999999999GiB}",
            "must be a number of bytes such as 65536, 64KiB or 1GiB (units B, KiB, MiB, GiB), is 9999999999GiB"
        ),
        (
            "pipeline: [1]",
            "must be a mapping with keys such as memory_budget_bytes, low_watermark, high_watermark, dwell or watchdog, is a list"
        ),
        ("policies: {name: x}", "must be a list of mappings, is a mapping"),
        ("kafka: {properties: x}", "must be a mapping, is a value"),
    ])
    func wrongValuesAreNamedWithTheRemedy(line: String, message: String) throws {
        let faults = Fixture.read(uri + line + "\n").faults
        #expect(faults.count == 1)
        let fault = try #require(faults.first)
        #expect(fault.hasPrefix("config/sluice.yaml:2: ") && fault.hasSuffix(": " + message), "\(fault)")
    }

    @Test func secretsStayOutOfFaults() {
        let (_, faults) = Fixture.read("kafka: {password: [hunter2]}\npostgres_uri: {uri: hunter2}\n")
        #expect(
            faults == [
                "config/sluice.yaml:1: kafka.password: must be a text, is a list",
                "config/sluice.yaml:2: postgres_uri: must be a text, is a mapping",
            ])
        #expect(
            Fixture.read(nil, environment: ["SLUICE_KAFKA_PROPERTIES": "sasl.password=a,hunter2", "SLUICE_POSTGRES_URI": "x"])
                .faults
                == [
                    "SLUICE_KAFKA_PROPERTIES: kafka.properties: must be key=value pairs, one a line or separated by commas "
                        + "(\\, for a comma inside a value)"
                ])
    }

    @Test(arguments: [
        ("500ms", Duration.milliseconds(500)), ("0", .zero), ("0.25", .milliseconds(250)), ("2 h", .seconds(7200)),
        ("1d", .seconds(86_400)), ("7us", .microseconds(7)), ("9ns", .nanoseconds(9)), ("1e3", .seconds(1000)),
    ])
    func durationsHaveUnits(text: String, expected: Duration) {
        #expect(Fixture.read(uri, environment: ["SLUICE_PIPELINE_DWELL": text]).settings?.value.pipeline.dwell == expected)
    }
}
